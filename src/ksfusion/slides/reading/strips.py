"""Which of a slide's patches each of several readers takes: consecutive ones, which share what is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import SlideSource


@dataclass(eq=False)
class SlideStrips:
    """A slide whose patches are read.

    Attributes
    ----------
    position : int
        Among the slides.
    source : SlideSource
        The slide's file.
    corners : numpy.ndarray of shape (n, 2)
        Level-0 corners of its patches.
    group : int
        The number of patches that are read at a time.
    readers : int
        The number of readers that may share it.
    pending : int
        The number of groups that are not read yet.
    seconds : float
        What its readers have spent on it.
    failure : SlideError or None
        Why it is not read on.
    """

    position: int
    source: SlideSource
    corners: np.ndarray
    group: int
    readers: int
    pending: int = 0
    seconds: float = 0.0
    failure: SlideError | None = None
    strips: list[Strip] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pending = -(-len(self.corners) // self.group)
        ends = [self.pending * part // self.readers for part in range(self.readers + 1)]
        self.strips = [Strip(self, first, end) for first, end in pairwise(ends) if first < end]

    def fail(self, failure: SlideError) -> None:
        """Give up: what was not begun is not read."""
        self.failure = self.failure or failure
        for strip in self.strips:
            self.pending -= strip.left
            strip.end = strip.first


@dataclass(eq=False)
class Strip:
    """Consecutive groups of patches of a slide, from the first to before the end."""

    slide: SlideStrips
    first: int
    end: int
    has_reader: bool = False

    @property
    def left(self) -> int:
        """How many groups nobody has begun."""
        return self.end - self.first

    def take(self) -> slice:
        """Return where the corners of the next group stand."""
        start = self.first * self.slide.group
        self.first += 1
        return slice(start, start + self.slide.group)

    def split(self) -> Strip:
        """Leave the second half to another reader."""
        middle = self.first + -(-self.left // 2)
        other = Strip(self.slide, middle, self.end)
        self.end = middle
        self.slide.strips.append(other)
        return other


def next_strip(plan: Iterator[SlideStrips], under_way: list[SlideStrips]) -> Strip | None:
    """Return the strip for a reader that has none: of a slide under way, else of the next, else half of another's.

    Parameters
    ----------
    plan
        The slides to come.
    under_way
        Those that are read; the next is added where it begins.
    """
    found = _without_reader(under_way)
    while found is None and (slide := next(plan, None)) is not None:
        if slide.strips:
            under_way.append(slide)
        found = _without_reader([slide])
    if found is None:
        shared = (strip for slide in under_way if slide.readers > 1 for strip in slide.strips)
        longest = max(shared, key=lambda strip: strip.left, default=None)
        found = longest.split() if longest and longest.left > 1 else None
    if found:
        found.has_reader = True
    return found


def _without_reader(slides: list[SlideStrips]) -> Strip | None:
    return next((strip for slide in slides for strip in slide.strips if strip.left and not strip.has_reader), None)
