"""An iterator that runs ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()
# Items that are ready before they are asked for.
AHEAD = 3


def prefetch(items: Iterator[T], ahead: int = AHEAD) -> Generator[T, None, None]:
    """Run an iterator in a thread, at most ``ahead`` items before they are asked for; an error in it is raised here."""
    waiting: queue.Queue[Any] = queue.Queue(maxsize=ahead)
    cancelled = threading.Event()

    def put(value: object) -> None:
        while not cancelled.is_set():
            try:
                waiting.put(value, timeout=0.2)
                return
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item)
                if cancelled.is_set():
                    return
            put(_END)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        cancelled.set()
        thread.join()
