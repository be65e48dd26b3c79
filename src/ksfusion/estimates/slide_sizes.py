"""The files of a study's slides: how many of which kind, how large, and what their headers say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ksfusion.cohort.user_table import Row
from ksfusion.slides.config import Reading
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import SlideSource, file_size

# So many headers are read; the others are taken to have as many pixels a byte as those of their kind.
HEADERS = 40


@dataclass(frozen=True)
class Header:
    """What was read of a slide: pixels, what opens it, or why it cannot be used."""

    gigapixels: float
    reader: str
    reason: str = ""


class KindOfFile(NamedTuple):
    """The slides of a kind of file: its ending, what opens them, how many, and their sizes in bytes."""

    ending: str
    readers: tuple[str, ...]
    slides: int
    smallest: int
    largest: int
    together: int


@dataclass(frozen=True)
class SlideSizes:
    """The slides of a study.

    Attributes
    ----------
    sizes
        Bytes of each slide's file, by slide_id; None where there is none that can be read.
    kinds
        The ending of each file, such as ``.svs``.
    headers
        Of those whose header was read.
    """

    sizes: Mapping[str, int | None]
    kinds: Mapping[str, str]
    headers: Mapping[str, Header]

    @property
    def missing(self) -> list[str]:
        """The slides whose file is not there, or empty."""
        return [slide_id for slide_id, size in self.sizes.items() if not size]

    @property
    def unusable(self) -> dict[str, str]:
        """The reason of those whose header was read and that will fail, such as ``no_mpp``."""
        return {slide_id: header.reason for slide_id, header in self.headers.items() if header.reason}

    def gigapixels(self, slide_id: str) -> float:
        """Return the billions of pixels of a slide, by its header or by its bytes and the headers of its kind."""
        if header := self.headers.get(slide_id):
            return header.gigapixels
        return (self.sizes[slide_id] or 0) * self._pixels_a_byte.get(self.kinds[slide_id], 0.0)

    def kinds_of_file(self) -> list[KindOfFile]:
        """Return what there is of each kind of file, the most frequent first."""
        groups = defaultdict(list)
        for slide_id, kind in self.kinds.items():
            if self.sizes[slide_id]:
                groups[kind].append(slide_id)
        found = []
        for kind, slides in sorted(groups.items(), key=lambda item: -len(item[1])):
            sizes = [self.sizes[slide_id] or 0 for slide_id in slides]
            readers = Counter(header.reader for slide_id in slides if (header := self.headers.get(slide_id)))
            by = tuple(reader for reader, _ in readers.most_common() if reader)
            found.append(KindOfFile(kind, by, len(slides), min(sizes), max(sizes), sum(sizes)))
        return found

    def lines(self) -> list[str]:
        """Return a line for each kind of file: how many, how large, and what opens them."""
        lines = []
        for kind in self.kinds_of_file():
            by = f" ({', '.join(kind.readers)})" if kind.readers else ""
            sizes = f"{_size(kind.smallest)} to {_size(kind.largest)} each, {_size(kind.together)} in all"
            lines.append(f"{kind.slides:,} {kind.ending or 'without ending'}{by}: {sizes}")
        return lines

    def record(self) -> dict[str, Any]:
        """Return them as JSON can hold them; sizes in bytes."""
        return {
            "number": len(self.sizes),
            "missing": len(self.missing),
            "looked_at": len(self.headers),
            "unusable": self.unusable,
            "kinds": [kind._asdict() for kind in self.kinds_of_file()],
        }

    @cached_property
    def _pixels_a_byte(self) -> dict[str, float]:
        pixels: dict[str, float] = defaultdict(float)
        sizes: dict[str, int] = defaultdict(int)
        for slide_id, header in self.headers.items():
            if not header.reason:
                pixels[self.kinds[slide_id]] += header.gigapixels
                sizes[self.kinds[slide_id]] += self.sizes[slide_id] or 0
        return {kind: value / sizes[kind] for kind, value in pixels.items() if sizes[kind]}


def look_at_slides(slides: Mapping[str, Row], reading: Reading) -> SlideSizes:
    """Look at the files of slides, and read the headers of some of all sizes.

    Parameters
    ----------
    slides
        A row of the table of samples for each slide.
    reading
        How they are opened.
    """
    sizes = {slide_id: file_size(row["slide"]) for slide_id, row in slides.items()}
    kinds = {slide_id: Path(row["slide"]).suffix.lower() for slide_id, row in slides.items()}
    read = {slide_id: _header(slides[slide_id], reading) for slide_id in spread(sizes, HEADERS)}
    return SlideSizes(sizes, kinds, read)


def spread(sizes: Mapping[str, int | None], count: int) -> list[str]:
    """Return so many slides whose sizes lie evenly between the smallest and the largest by rank."""
    there = sorted(
        (slide_id for slide_id, size in sizes.items() if size), key=lambda slide_id: (sizes[slide_id], slide_id)
    )
    if len(there) <= count:
        return there
    return [there[(2 * number + 1) * len(there) // (2 * count)] for number in range(count)]


def _header(row: Row, reading: Reading) -> Header:
    from ksfusion.slides.reading.backends import BACKENDS
    from ksfusion.slides.reading.slide import open_source

    source = SlideSource(row["slide"], float(row["mpp"]) if row.get("mpp") else None)
    try:
        with open_source(source, reading) as slide:
            width, height = slide.dimensions
            readers = (name for name, kind in BACKENDS.items() if isinstance(slide._backend, kind))  # type: ignore[arg-type]
            return Header(width * height / 1e9, next(readers, ""))
    except SlideError as error:
        return Header(0.0, "", error.reason)


def _size(size: int) -> str:
    gigabytes = size / 1e9
    if gigabytes >= 1000:
        return f"{gigabytes / 1000:.1f} TB"
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{1000 * gigabytes:.1f} MB"
