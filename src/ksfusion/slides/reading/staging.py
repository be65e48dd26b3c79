"""Copies of slides on a fast disk: the next one is made while a slide is read, and gone once it has been."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Self

from ksfusion.slides.reading.content import MIRAX, content_of
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.tiffslide_backend import is_remote

PREFIX, LOCK = "ksfusion-slides-", "lock"
# What else is written there must not run out of room.
LEAST_FREE = 1 << 30
STOPPING_SECONDS = 10
CHUNK = 8 << 20
# A folder without a lock is one that is just being made, or that was left so.
ABANDONED_SECONDS = 3600
# Slides of Hamamatsu whose file lists others; they are read where they lie.
LISTS = (".vms", ".vmu")
log = logging.getLogger(__name__)


class SlideCopies:
    """A folder on a fast disk for the slides that are read next; a context manager.

    What a job that was killed left there, the next one removes. A slide that cannot be copied, or for which there is
    no room, is read where it lies.

    Parameters
    ----------
    folder
        The place; variables such as ``$TMPDIR`` in it are those of the job. None: all are read where they lie.
    timeout
        Seconds that a copy may take; after one that takes longer, all are read where they lie.
    """

    def __init__(self, folder: Path | None, timeout: float):
        self._own: Path | None = None
        self._timeout = timeout
        self._stopped = threading.Event()
        self._copier: threading.Thread | None = None
        if folder is None:
            return
        place = Path(os.path.expandvars(folder))
        try:
            place.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(place)
            self._own = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
            self._lock = os.open(self._own / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            log.warning("slides.stage: %s cannot be used (%s); slides are read where they lie", place, error.strerror)
            self._own = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._copier:
            self._copier.join(STOPPING_SECONDS)  # one that waits for a dead disk is left to its fate
        if self._own:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock)
            self._own = None

    def ahead(self, sources: Sequence[SlideSource]) -> Iterator[SlideSource]:
        """Yield slides as they are to be read; the next is copied from when one is asked for."""
        following = self._begin(0, sources[0]) if sources else None
        for number, source in enumerate(sources):
            ready = source
            try:
                ready = following.result(self._timeout) if following else source
            except TimeoutError:
                log.warning("%s: not copied after %g s (slides.stage); slides are read there", source, self._timeout)
                self._stopped.set()
            more = number + 1 < len(sources) and not self._stopped.is_set()
            following = self._begin(number + 1, sources[number + 1]) if more else None
            yield ready

    def _begin(self, number: int, source: SlideSource) -> Future[SlideSource] | None:
        """Copy a slide in a thread."""
        if self._own is None or is_remote(source.path):
            return None
        copied: Future[SlideSource] = Future()
        self._copier = threading.Thread(
            target=lambda place: copied.set_result(self._copied(place, number, source)), args=(self._own,), daemon=True
        )
        self._copier.start()
        return copied

    def done(self, number: int) -> None:
        """Remove the copy of the slide that came at a position."""
        if self._own:
            shutil.rmtree(self._own / str(number), ignore_errors=True)

    def _copied(self, place: Path, number: int, source: SlideSource) -> SlideSource:
        """Copy a slide; return where it is to be read."""
        path, folder = Path(source.path), place / str(number)
        try:
            files = files_of(path)
            if not files:
                return source
            if sum(file.stat().st_size for file in files) + LEAST_FREE > shutil.disk_usage(place).free:
                raise OSError("there is no room for it")
            for file in files:
                self._copy(file, folder / file.relative_to(path.parent))
        except OSError as error:
            if path.exists():  # else whoever reads it says so
                log.warning("%s: cannot be copied to %s (%s); it is read where it lies", path, place, error)
            shutil.rmtree(folder, ignore_errors=True)
            return source
        return source._replace(path=str(folder / path.name))

    def _copy(self, file: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as origin, target.open("wb") as copy:
            while chunk := origin.read(CHUNK):
                if self._stopped.is_set():
                    raise OSError("it is not waited for")
                copy.write(chunk)


def files_of(slide: Path) -> list[Path]:
    """Return the files that a slide consists of, all in its folder or below; none where it is not to be copied.

    Raises
    ------
    OSError
        If they cannot be listed.
    """
    if not slide.is_file() or slide.suffix.lower() in LISTS:
        return []
    if slide.suffix.lower() == MIRAX:
        return [slide, *sorted(file for file in slide.with_suffix("").rglob("*") if file.is_file())]
    if content_of(slide) == "DICOM":
        # A slide is the files of one series: those of its folder.
        beside = sorted(file for file in slide.parent.iterdir() if file.is_file())
        return [file for file in beside if content_of(file) == "DICOM"]
    return [slide]


def _remove_abandoned(folder: Path) -> None:
    """Remove what jobs that are no more left in a folder."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another's
            if not (left / LOCK).exists():
                if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
                continue
            lock = os.open(left / LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
