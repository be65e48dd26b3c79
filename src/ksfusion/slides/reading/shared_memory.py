"""Memory that processes share, so that what one writes is not copied to the other."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from typing import Any, Self

import numpy as np


class SharedMemory:
    """Pieces of memory that the processes to which it is handed see too; a context manager.

    It has no name, so that nothing of it stays behind a process that is killed, and grows as pieces are asked for. On
    Linux it is no file on any disk, and needs no room in ``/dev/shm``.
    """

    def __init__(self, file: int | None = None):
        self._file = _nameless_file() if file is None else file
        self._maps: dict[tuple[int, int], mmap.mmap] = {}
        self._free: dict[int, list[int]] = {}  # offsets, by the pieces' size
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        self._maps.clear()

    def __reduce__(self) -> tuple[Callable[..., SharedMemory], tuple[Any]]:
        return _attach, (DupFd(self._file),)

    def take(self, n_bytes: int, on_new: Callable[[np.ndarray], None] | None = None) -> int:
        """Return the offset of a piece that nobody uses.

        Parameters
        ----------
        n_bytes
            Its size; it is the same for all pieces of a kind.
        on_new
            What is called with a piece, as (n_bytes,) uint8, before it is used for the first time.
        """
        free = self._free.setdefault(n_bytes, [])
        if free:
            return free.pop()
        offset, pages = self._end, -(-n_bytes // mmap.ALLOCATIONGRANULARITY)
        self._end += pages * mmap.ALLOCATIONGRANULARITY
        os.ftruncate(self._file, self._end)
        if on_new:
            on_new(self.array(offset, n_bytes))
        return offset

    def give_back(self, offset: int, n_bytes: int) -> None:
        """Let a piece be taken again."""
        self._free[n_bytes].append(offset)

    def array(self, offset: int, n_bytes: int, used: int = -1) -> np.ndarray:
        """Return a piece, or the first bytes of it that are used, as uint8."""
        place = (offset, n_bytes)
        if place not in self._maps:
            self._maps[place] = mmap.mmap(self._file, n_bytes, offset=offset)
        return np.frombuffer(self._maps[place], np.uint8, used)

    def lend(self, offset: int, n_bytes: int, used: int) -> np.ndarray:
        """Return the first bytes of a piece, as (used,) uint8; it is given back once nothing refers to them."""
        lent = self.array(offset, n_bytes, used)
        # NumPy's views of this array refer to it, not to what it is made of.
        weakref.finalize(lent, self.give_back, offset, n_bytes).atexit = False
        return lent


def _attach(file: Any) -> SharedMemory:
    return SharedMemory(file.detach())


def _nameless_file() -> int:
    """Open a file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ksfusion")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
