"""Patches of slide after slide, read and decoded by processes of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from typing import NamedTuple, Self

import cv2
import numpy as np

from ksfusion.slides.config import Reading
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.image_backend import is_plain_image
from ksfusion.slides.reading.shared_memory import SharedMemory
from ksfusion.slides.reading.slide import Slide, open_source
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.strips import SlideStrips, Strip, next_strip
from ksfusion.slides.reading.workers import Worker, WorkerCrashed


class PatchGroup(NamedTuple):
    """Consecutive patches of a slide.

    Attributes
    ----------
    slide : int
        The slide's position in what was asked for.
    start : int
        The position of the first among the slide's patches.
    rgb : numpy.ndarray of shape (n, px, px, 3), uint8, or None
        None where the slide failed. It lies in memory that is used again once nothing refers to it.
    last : bool
        Whether this is the last group of the slide to come.
    failure : SlideError or None
    """

    slide: int
    start: int
    rgb: np.ndarray | None
    last: bool
    failure: SlideError | None = None


def make_patch_reader(settings: Reading, memory: SharedMemory) -> Callable[[SlideSource, np.ndarray, int, int], float]:
    """Return a function that reads patches of a slide and keeps that slide open; runs in a worker process.

    Parameters
    ----------
    settings
        The settings of reading: how slides are opened, and the scale and side of a patch.
    memory
        The place of the patches.

    Returns
    -------
    callable
        From a slide, (n, 2) level-0 corners, and offset and size of a piece of the memory to the seconds that reading
        took; the patches are in that piece then, as (n, px, px, 3) uint8.
    """
    cv2.setNumThreads(1)
    current: list[tuple[SlideSource, Slide]] = []
    side = settings.patch_px

    def read(source: SlideSource, corners: np.ndarray, offset: int, n_bytes: int) -> float:
        started = time.monotonic()
        if current and current[0][0] != source:
            current.pop()[1].close()
        if not current:
            current.append((source, open_source(source, settings)))
        slide = current[0][1]
        patches = memory.array(offset, n_bytes, len(corners) * side * side * 3).reshape(-1, side, side, 3)
        for patch, (x, y) in zip(patches, corners.tolist(), strict=True):
            patch[:] = slide.read(x, y, side, settings.mpp)
        return time.monotonic() - started

    return read


class _Reading(NamedTuple):
    """A group of patches that a worker reads."""

    strip: Strip
    corners: slice
    offset: int
    since: float


class PatchReaders:
    """Processes that read patches; a context manager.

    They start at once, so that the caller can prepare its encoder meanwhile. Each reads consecutive patches of a slide,
    so that what these share is decoded once.

    Parameters
    ----------
    settings
        The settings of reading; ``timeout`` is the seconds that reading a slide may take, waiting for the caller not
        counted.
    processes
        The number of processes.
    """

    def __init__(self, settings: Reading, processes: int):
        self.processes = processes
        self._settings = settings
        self._memory = SharedMemory()
        self._workers = [Worker(make_patch_reader, settings, self._memory) for _ in range(processes)]
        self._ready = False
        self._n_bytes = 0
        self._on_new: Callable[[np.ndarray], None] | None = None
        self._busy: dict[Worker, _Reading] = {}
        self._strips: dict[Worker, Strip] = {}  # of each worker that has one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        self._memory.__exit__()

    def read(
        self,
        slides: Iterable[tuple[SlideSource, np.ndarray]],
        group: int,
        on_new: Callable[[np.ndarray], None] | None = None,
    ) -> Iterator[PatchGroup]:
        """Read the patches of slides; the slides begin in order, and their groups come as they are ready.

        A slide that cannot be read, takes too long or crashes its reader yields one last group with its failure; the
        others are not touched by it.

        Parameters
        ----------
        slides
            For each slide its source, and the (n, 2) upper left corners of its patches in px of level 0.
        group
            The number of patches that are handed on at a time.
        on_new
            What is called with each piece of memory, as (bytes,) uint8, before groups lie in it.

        Raises
        ------
        RuntimeError
            If reading failed in a way that is no slide's fault.
        """
        if not self._ready:
            for worker in self._workers:
                worker.await_start()
            self._ready = True
        self._strips.clear()
        self._n_bytes, self._on_new = group * self._settings.patch_px**2 * 3, on_new
        plan = self._plan(slides, group)
        under_way: list[SlideStrips] = []
        while True:
            self._assign(plan, under_way)
            for slide in [slide for slide in under_way if slide.failure and not slide.pending]:
                under_way.remove(slide)
                yield PatchGroup(slide.position, 0, None, True, slide.failure)
            if self._busy:
                yield from self._collect()
                under_way[:] = [slide for slide in under_way if slide.failure or slide.pending]
            elif not under_way:
                return

    def _plan(self, slides: Iterable[tuple[SlideSource, np.ndarray]], group: int) -> Iterator[SlideStrips]:
        for position, (source, corners) in enumerate(slides):
            # Of a plain image, each reader would decode the whole.
            readers = 1 if is_plain_image(source.path, self._settings.reader) else len(self._workers)
            yield SlideStrips(position, source, corners, group, readers)

    def _assign(self, plan: Iterator[SlideStrips], under_way: list[SlideStrips]) -> None:
        """Give idle workers something to do."""
        for worker in [worker for worker in self._workers if worker not in self._busy]:
            strip = self._strips.get(worker)
            if strip is None or not strip.left:
                strip = next_strip(plan, under_way)
            if strip is None:
                self._strips.pop(worker, None)
                continue
            self._strips[worker] = strip
            slide, corners = strip.slide, strip.take()
            offset = self._memory.take(self._n_bytes, self._on_new)
            self._busy[worker] = _Reading(strip, corners, offset, time.monotonic())
            try:
                worker.call(slide.source, slide.corners[corners], offset, self._n_bytes)
            except WorkerCrashed as error:
                self._lose(worker, error)

    def _collect(self) -> Iterator[PatchGroup]:
        """Wait for answers, hand them on, and cut off what takes too long."""
        now = time.monotonic()
        left = {
            worker: self._settings.timeout - reading.strip.slide.seconds - (now - reading.since)
            for worker, reading in self._busy.items()
        }
        ready = wait([worker.connection for worker in self._busy], timeout=max(0.0, min(left.values())))
        for worker, reading in list(self._busy.items()):
            slide = reading.strip.slide
            if worker.connection in ready:
                try:
                    slide.seconds += worker.answer()
                except WorkerCrashed as error:
                    self._lose(worker, error)
                    continue
                except SlideError as error:
                    slide.fail(error)
                del self._busy[worker]
                slide.pending -= 1
                if slide.failure:
                    self._memory.give_back(reading.offset, self._n_bytes)
                else:
                    yield PatchGroup(slide.position, reading.corners.start, self._lent(reading), not slide.pending)
            elif not ready and left[worker] <= time.monotonic() - now:
                self._lose(worker, SlideError("timeout", f"not read after {self._settings.timeout:g} s"))

    def _lent(self, reading: _Reading) -> np.ndarray:
        side, n = self._settings.patch_px, len(reading.strip.slide.corners[reading.corners])
        return self._memory.lend(reading.offset, self._n_bytes, n * side * side * 3).reshape(n, side, side, 3)

    def _lose(self, worker: Worker, failure: SlideError) -> None:
        """Replace a worker whose slide failed with it."""
        reading = self._busy.pop(worker)
        self._strips.pop(worker, None)
        worker.stop()
        reading.strip.slide.fail(failure)
        reading.strip.slide.pending -= 1
        self._memory.give_back(reading.offset, self._n_bytes)
        self._workers.remove(worker)
        replacement = Worker(make_patch_reader, self._settings, self._memory)
        self._workers.append(replacement)
        replacement.await_start()
