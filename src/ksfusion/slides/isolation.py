"""Calls to slide libraries in a process of their own, so that one that hangs or crashes can be cut off."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Self

from ksfusion.slides.backends import SlideError

STARTING_SECONDS = 300


def _serve(connection: Connection, function: Callable[..., Any]) -> None:
    """Answer calls until the other end closes."""
    connection.send(("ready", None))
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = ("value", function(*arguments))
        except SlideError as error:
            answer = ("slide_error", error)
        except Exception:
            answer = ("bug", traceback.format_exc())
        connection.send(answer)


class IsolatedCalls:
    """A function that runs in a worker process, with a time limit for each call; a context manager.

    Parameters
    ----------
    function
        A function of a module; its arguments and result can be pickled.
    timeout
        Seconds that a call may take; then its process is killed and the next call gets a new one.
    """

    def __init__(self, function: Callable[..., Any], timeout: float):
        self._function, self._timeout = function, timeout
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, *arguments: Any) -> Any:
        """Call the function.

        Raises
        ------
        SlideError
            The function's own; or with reason ``timeout``; or ``unreadable`` where the process died.
        RuntimeError
            If the function failed otherwise, with its traceback.
        """
        if self._process is None:
            self._start()
        self._connection.send(arguments)
        try:
            if not self._connection.poll(self._timeout):
                raise SlideError("timeout", f"not done after {self._timeout:g} s")
            kind, value = self._connection.recv()
        except (EOFError, ConnectionError):
            self._stop()
            raise SlideError("unreadable", "the process that read it crashed") from None
        except SlideError:
            self._stop()
            raise
        if kind == "slide_error":
            raise value
        if kind == "bug":
            raise RuntimeError(f"in the worker process:\n{value}")
        return value

    def _start(self) -> None:
        # A fresh interpreter: a fork would inherit the locks of this one's threads.
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._function), daemon=True)
        self._process.start()
        theirs.close()
        try:
            started = self._connection.poll(STARTING_SECONDS) and self._connection.recv()
        except (EOFError, ConnectionError):
            started = None
        if not started:
            self._stop()
            raise RuntimeError("the worker process for reading slides did not start")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._connection.close()
            self._process = None
