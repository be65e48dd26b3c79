"""Patches of slide after slide, read and decoded by processes of their own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import NamedTuple, Self

import cv2
import numpy as np

from ksfusion.slides.config import Reading
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.image_backend import is_plain_image
from ksfusion.slides.reading.slide import Slide, open_source
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.workers import Worker, WorkerCrashed

# Beyond those being read, how many groups of patches may wait for one that is slower.
GROUPS_AHEAD = 2


class PatchGroup(NamedTuple):
    """Consecutive patches of a slide.

    Attributes
    ----------
    slide : int
        The slide's position in what was asked for.
    rgb : numpy.ndarray of shape (n, px, px, 3), uint8, or None
        None where the slide failed.
    last : bool
        Whether the slide ends here.
    failure : SlideError or None
    """

    slide: int
    rgb: np.ndarray | None
    last: bool
    failure: SlideError | None = None


def make_patch_reader(settings: Reading) -> Callable[[SlideSource, np.ndarray], tuple[np.ndarray, float]]:
    """Return a function that reads patches of a slide and keeps that slide open; runs in a worker process.

    Parameters
    ----------
    settings
        The settings of reading: how slides are opened, and the scale and side of a patch.

    Returns
    -------
    callable
        From a slide and (n, 2) level-0 corners to (n, px, px, 3) uint8 and the seconds that they took.
    """
    cv2.setNumThreads(1)
    current: list[tuple[SlideSource, Slide]] = []

    def read(source: SlideSource, corners: np.ndarray) -> tuple[np.ndarray, float]:
        started = time.monotonic()
        if current and current[0][0] != source:
            current.pop()[1].close()
        if not current:
            current.append((source, open_source(source, settings)))
        slide = current[0][1]
        patches = np.empty((len(corners), settings.patch_px, settings.patch_px, 3), dtype=np.uint8)
        for patch, (x, y) in zip(patches, corners.tolist(), strict=True):
            patch[:] = slide.read(x, y, settings.patch_px, settings.mpp)
        return patches, time.monotonic() - started

    return read


@dataclass
class _Task:
    """A group of patches that a worker is to read."""

    number: int
    slide: int
    source: SlideSource
    corners: np.ndarray
    last: bool


@dataclass
class _Progress:
    """What is known of a slide while it is read."""

    seconds: float = 0.0  # that its readers have spent on it
    failure: SlideError | None = None
    reader: Worker | None = None  # the only one, of a plain image: each would decode the whole of it


@dataclass
class _State:
    """The groups on their way."""

    tasks: Iterator[_Task]
    busy: dict[Worker, tuple[_Task, float]] = field(default_factory=dict)
    idle: deque[Worker] = field(default_factory=deque)
    waiting: list[_Task] = field(default_factory=list)  # for the reader of their slide
    done: dict[int, tuple[_Task, np.ndarray | None]] = field(default_factory=dict)
    slides: dict[int, _Progress] = field(default_factory=dict)
    next_out: int = 0


class PatchReaders:
    """Processes that read patches; a context manager.

    They start at once, so that the caller can prepare its encoder meanwhile.

    Parameters
    ----------
    settings
        The settings of reading; ``timeout`` is the seconds that reading a slide may take, waiting for the caller not
        counted.
    processes
        The number of processes.
    """

    def __init__(self, settings: Reading, processes: int):
        self._settings = settings
        self._workers = [Worker(make_patch_reader, settings) for _ in range(processes)]
        self._ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()

    def read(self, slides: Iterable[tuple[SlideSource, np.ndarray]], group: int) -> Iterator[PatchGroup]:
        """Read the patches of slides, in order.

        A slide that cannot be read, takes too long or crashes its reader yields one last group with its failure; the
        others are not touched by it.

        Parameters
        ----------
        slides
            For each slide its source, and the (n, 2) upper left corners of its patches in px of level 0.
        group
            The number of patches that are handed on at a time.

        Raises
        ------
        RuntimeError
            If reading failed in a way that is no slide's fault.
        """
        if not self._ready:
            for worker in self._workers:
                worker.await_start()
            self._ready = True
        state = _State(_tasks(slides, group), idle=deque(self._workers))
        more = True
        while more or state.waiting or state.busy or state.done:
            more = self._assign(state)
            while state.next_out in state.done:
                yield from self._hand_out(state)
            if state.busy:
                self._collect(state)

    def _assign(self, state: _State) -> bool:
        """Give idle workers something to do; False once there is nothing left."""
        waiting, state.waiting = state.waiting, []
        for held in waiting:
            self._give(state, held)
        while state.idle and len(state.busy) + len(state.waiting) + len(state.done) < len(self._workers) + GROUPS_AHEAD:
            task = next(state.tasks, None)
            if task is None:
                return False
            state.slides.setdefault(task.slide, _Progress())
            self._give(state, task)
        return True

    def _give(self, state: _State, task: _Task) -> None:
        """Give a task to a worker, or let it wait for the one that reads its slide."""
        progress = state.slides[task.slide]
        if progress.failure:
            state.done[task.number] = (task, None)
            return
        if progress.reader is not None and progress.reader not in state.idle:
            state.waiting.append(task)
            return
        worker = progress.reader or state.idle[0]
        state.idle.remove(worker)
        if is_plain_image(task.source.path, self._settings.reader):
            progress.reader = worker
        state.busy[worker] = (task, time.monotonic())
        try:
            worker.call(task.source, task.corners)
        except WorkerCrashed as error:
            self._lose(state, worker, error)

    def _hand_out(self, state: _State) -> Iterator[PatchGroup]:
        task, rgb = state.done.pop(state.next_out)
        state.next_out += 1
        failure = state.slides[task.slide].failure
        if task.last:
            del state.slides[task.slide]
        if failure is None or task.last:
            yield PatchGroup(task.slide, None if failure else rgb, task.last, failure)

    def _collect(self, state: _State) -> None:
        """Wait for an answer, and cut off what takes too long."""
        now = time.monotonic()
        left = {
            worker: self._settings.timeout - state.slides[task.slide].seconds - (now - started)
            for worker, (task, started) in state.busy.items()
        }
        ready = wait([worker.connection for worker in state.busy], timeout=max(0.0, min(left.values())))
        for worker, (task, _) in list(state.busy.items()):
            progress = state.slides[task.slide]
            if worker.connection in ready:
                try:
                    rgb, seconds = worker.answer()
                except WorkerCrashed as error:
                    self._lose(state, worker, error)
                    continue
                except SlideError as error:
                    rgb, seconds = None, 0.0
                    progress.failure = progress.failure or error
                progress.seconds += seconds
                del state.busy[worker]
                state.idle.append(worker)
                state.done[task.number] = (task, rgb)
            elif not ready and left[worker] <= time.monotonic() - now:
                self._lose(state, worker, SlideError("timeout", f"not read after {self._settings.timeout:g} s"))

    def _lose(self, state: _State, worker: Worker, failure: SlideError) -> None:
        """Replace a worker whose slide failed with it."""
        task, _ = state.busy.pop(worker)
        progress = state.slides[task.slide]
        progress.failure = progress.failure or failure
        state.done[task.number] = (task, None)
        worker.stop()
        self._workers.remove(worker)
        replacement = Worker(make_patch_reader, self._settings)
        self._workers.append(replacement)
        replacement.await_start()
        state.idle.append(replacement)


def _tasks(slides: Iterable[tuple[SlideSource, np.ndarray]], group: int) -> Iterator[_Task]:
    number = 0
    for position, (source, corners) in enumerate(slides):
        for start in range(0, len(corners), group):
            last = start + group >= len(corners)
            yield _Task(number, position, source, corners[start : start + group], last)
            number += 1
