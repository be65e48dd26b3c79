"""Slide libraries in processes of their own, so that one that hangs or crashes can be cut off."""

from __future__ import annotations

import multiprocessing.process
import signal
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Self

from ksfusion.core.errors import UserError
from ksfusion.core.machine_errors import MORE_MEMORY
from ksfusion.core.malloc import keep_freed_memory
from ksfusion.slides.reading.errors import Reason, SlideError

STARTING_SECONDS, STOPPING_SECONDS = 300, 10


class WorkerCrashed(SlideError):
    """The process that read a slide is gone."""

    def __init__(
        self,
        reason: Reason = "unreadable",
        message: str = "the process that read it crashed",
        known: dict[str, Any] | None = None,
    ):
        super().__init__(reason, message, known)


def _serve(connection: Connection, make_answer: Callable[..., Callable[..., Any]], options: tuple[Any, ...]) -> None:
    """Answer calls until the other end closes."""
    keep_freed_memory()  # else a quarter of the time of tissue goes into asking for it again
    answer_to = make_answer(*options)
    connection.send(("ready", None))
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        try:
            kind, value = "value", answer_to(*arguments)
        except SlideError as error:
            kind, value = "slide_error", error
        except MemoryError:
            kind, value = "slide_error", SlideError("too_large", f"it takes more memory than there is; {MORE_MEMORY}")
        except UserError as error:
            kind, value = "user_error", error
        except Exception:
            kind, value = "bug", traceback.format_exc()
        try:
            connection.send((kind, value))
        except ConnectionError:  # the other end is gone: nobody waits for the answer
            return


class Worker:
    """A process that answers calls, one at a time.

    Parameters
    ----------
    make_answer
        A function of a module that is called once in the process, with ``options``, and returns what answers the calls;
        arguments and answers can be pickled.
    options
        Its arguments.
    """

    def __init__(self, make_answer: Callable[..., Callable[..., Any]], *options: Any):
        # A fresh interpreter: a fork would inherit the locks of this one's threads.
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make_answer, options), daemon=True)
        self._process.start()
        theirs.close()

    def await_start(self) -> None:
        """Wait until it is ready.

        Raises
        ------
        UserError
            If it is killed, which the system does for its memory.
        RuntimeError
            If it does not start otherwise.
        """
        try:
            started = self.connection.poll(STARTING_SECONDS) and self.connection.recv()
        except (EOFError, ConnectionError):
            started = None
            self._process.join(STOPPING_SECONDS)
        if not started:
            killed = self._process.exitcode == -signal.SIGKILL
            self.stop()
            if killed:
                raise UserError(f"the process that reads slides was killed: memory ran out; {MORE_MEMORY}")
            raise RuntimeError("the worker process for reading slides did not start")

    def call(self, *arguments: Any) -> None:
        """Send a call; its answer is read with `answer` once ``connection`` has it."""
        try:
            self.connection.send(arguments)
        except ConnectionError:
            raise self._crash() from None

    def _crash(self) -> WorkerCrashed:
        """Return why the process is gone: nothing but the system kills it, and that for its memory."""
        self._process.join(STOPPING_SECONDS)
        if self._process.exitcode == -signal.SIGKILL:
            return WorkerCrashed("too_large", f"the process that read it was killed: memory ran out; {MORE_MEMORY}")
        return WorkerCrashed()

    def answer(self) -> Any:
        """Return the answer to the last call.

        Raises
        ------
        SlideError
            The function's own; ``too_large`` where memory did not suffice.
        UserError
            The function's own.
        WorkerCrashed
            If the process died, as ``too_large`` where it was killed; the worker is of no more use.
        RuntimeError
            If the function failed otherwise, with its traceback.
        """
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionError):
            raise self._crash() from None
        if kind in ("slide_error", "user_error"):
            raise value
        if kind == "bug":
            raise RuntimeError(f"in the worker process:\n{value}")
        return value

    def stop(self) -> None:
        """Kill the process; one that waits for a disk that does not answer is left to its fate.

        Whoever started it stops it when all is done, also where it had to be stopped before.
        """
        if self.connection.closed:
            return
        self._process.kill()
        self._process.join(STOPPING_SECONDS)
        if self._process.is_alive():
            # Else the interpreter would wait for it when it ends.
            multiprocessing.process._children.discard(self._process)  # type: ignore[attr-defined]
        else:
            self._process.close()
        self.connection.close()


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


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
        self._worker: Worker | None = None

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
        UserError
            The function's own.
        RuntimeError
            If the function failed otherwise, with its traceback.
        """
        if self._worker is None:
            self._worker = Worker(_same, self._function)
            self._worker.await_start()
        try:
            self._worker.call(*arguments)
            if not self._worker.connection.poll(self._timeout):
                self._stop()
                raise SlideError("timeout", f"not done after {self._timeout:g} s")
            return self._worker.answer()
        except WorkerCrashed:
            self._stop()
            raise

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
