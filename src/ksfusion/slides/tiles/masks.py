"""Masks of tissue that the user brings: GeoJSON as QuPath and LazySlide export it, or a PNG."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
from PIL import Image

from ksfusion.slides.config import MasksOrigin
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.tiles.geojson import polygons

# How far a polygon may reach beyond its slide, and a PNG's sides be out of proportion.
TOLERANCE = 0.02
# How much of a mask whose outline reaches beyond what was scanned must lie on it.
LEAST_ON_SCAN = 0.5
FRACTION_BITS = 8
# OpenCV takes a row's edges in order, so edges that cross cost the third power of their number: seconds for so many
# pairs of edges in one row, summed over the rows. Outlines of tissue do not come near it.
MOST_PAIRS = 1e11
MANY_POINTS = 5000

Origin = Literal["level0", "bounds"]


class Frame(NamedTuple):
    """A slide, and the raster that its mask is brought to.

    Attributes
    ----------
    dimensions : tuple of int
        Width and height of the slide, in px of level 0.
    shape : tuple of int
        Rows and columns of the raster, which covers the whole slide.
    bounds : tuple of int
        Left, top, width and height of what was scanned, in px of level 0.
    """

    dimensions: tuple[int, int]
    shape: tuple[int, int]
    bounds: tuple[int, int, int, int]

    @property
    def is_all_scanned(self) -> bool:
        """Whether there is no empty margin round what was scanned."""
        return self.bounds == (0, 0, *self.dimensions)

    def scanned(self) -> tuple[slice, slice]:
        """Return the rows and columns of the raster that were scanned."""
        left, top, width, height = self.bounds
        parts = []
        for start, length, side, cells in zip(
            (top, left), (height, width), self.dimensions[::-1], self.shape, strict=True
        ):
            first = min(max(round(start / side * cells), 0), cells - 1)
            parts.append(slice(first, min(max(round((start + length) / side * cells), first + 1), cells)))
        return parts[0], parts[1]


class UserMask(NamedTuple):
    """A mask that was read.

    Attributes
    ----------
    tissue : numpy.ndarray of bool
        On the raster of its slide.
    origin : str
        What its coordinates start at: the corner of the slide's ``level0``, or of the ``bounds`` of what was scanned.
    left_out : list of str
        The classes whose polygons were left out.
    """

    tissue: np.ndarray
    origin: Origin
    left_out: list[str]


def read_mask(
    path: Path, frame: Frame, *, origin: MasksOrigin = "auto", found: Callable[[], np.ndarray] | None = None
) -> UserMask:
    """Read a mask of tissue.

    Parameters
    ----------
    path
        GeoJSON: polygons in level-0 px, their inner rings holes; those of classes that QuPath leaves out are left out
        here too. PNG: the whole slide, or what was scanned of it, at any scale, tissue where it is not zero.
    frame
        The slide.
    origin
        ``level0`` or ``bounds``: what coordinates start at. ``auto``: where its polygons (or sides) fit alone, else
        where more of it lies on the tissue found.
    found
        A function that finds the tissue of the slide, as bool on the raster; called where nothing else decides.

    Raises
    ------
    SlideError
        With reason ``unreadable`` if it is neither, or not of this slide.
    """
    try:
        if not path.is_file():
            raise ValueError("is not a file" if path.exists() else "is not there")
        drawing = _Outlines(path, frame) if path.suffix == ".geojson" else _Picture(path, frame)
        return _placed(drawing, frame, origin, found)
    # JSON may hold anything anywhere.
    except (OSError, ValueError, TypeError, OverflowError, RecursionError, AttributeError) as error:
        raise SlideError("unreadable", f"mask {path}: {error}; correct or remove it") from None


def _placed(
    drawing: _Outlines | _Picture, frame: Frame, wanted: MasksOrigin, found: Callable[[], np.ndarray] | None
) -> UserMask:
    """Settle what a mask's coordinates start at, and draw it there."""
    if frame.is_all_scanned:
        origins: list[Origin] = ["level0"]
    elif wanted == "auto":
        origins = [origin for origin in get_args(Origin) if drawing.fits(origin)] or ["level0"]
    else:
        origins = [wanted]
    masks = {origin: drawing.draw(origin) for origin in origins}
    chosen = origins[0]
    if len(masks) > 1 and found is not None:
        tissue = found()
        on_tissue = {origin: int(np.count_nonzero(mask & tissue)) for origin, mask in masks.items()}
        chosen = max(origins, key=lambda origin: on_tissue[origin])
    mask = masks[chosen]
    on_scan = np.count_nonzero(mask[frame.scanned()])
    if on_scan < LEAST_ON_SCAN * np.count_nonzero(mask):
        left, top, width, height = frame.bounds
        raise ValueError(f"lies outside what was scanned, {width} x {height} px from ({left}, {top}) on")
    return UserMask(mask, chosen, drawing.left_out)


class _Outlines:
    """The polygons of a GeoJSON file."""

    def __init__(self, path: Path, frame: Frame):
        self._frame = frame
        self.left_out: list[str] = []
        found = list(polygons(json.loads(path.read_bytes()), self.left_out))
        rings = [ring for polygon in found for ring in polygon]
        if any(len(ring) < 3 for ring in rings):
            raise ValueError("a ring of a polygon needs at least three points of two finite numbers")
        points = [(x, y) for ring in rings for x, y, *_ in ring]
        self._points = np.array(points, dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(self._points).all():
            raise ValueError("a ring of a polygon needs at least three points of two finite numbers")
        self._ends = np.cumsum([len(ring) for ring in rings], dtype=np.int64)
        self._rings = [len(polygon) for polygon in found]

    def fits(self, origin: Origin) -> bool:
        """Return whether all lies on what was scanned."""
        left, top, width, height = self._frame.bounds
        corner = (0, 0) if origin == "bounds" else (left, top)
        return self._lies_in(np.array(corner), np.array((width, height)))

    def _lies_in(self, corner: np.ndarray, sides: np.ndarray) -> bool:
        margin = TOLERANCE * sides
        inside = (self._points >= corner - margin) & (self._points <= corner + sides + margin)
        return bool(inside.all())

    def draw(self, origin: Origin) -> np.ndarray:
        """Return the mask; polygons that overlap are one."""
        left, top, width, height = self._frame.bounds
        if origin == "bounds" and not self.fits(origin):
            raise ValueError(f"reaches outside what was scanned, {width} x {height} px")
        sides = np.array(self._frame.dimensions)
        if origin == "level0" and not self._lies_in(np.zeros(2), sides):
            raise ValueError(f"reaches outside the slide of {sides[0]} x {sides[1]} px")
        points = self._points + (np.array((left, top)) if origin == "bounds" else 0)
        # The centre of the first px lies at (0, 0) for OpenCV, half a px inside the slide for GeoJSON.
        points = points * np.array(self._frame.shape[::-1]) / sides - 0.5
        rings = iter(np.split(np.rint(points * 2**FRACTION_BITS).astype(np.int32), self._ends[:-1]))
        mask = np.zeros(self._frame.shape, dtype=np.uint8)
        for count in self._rings:
            polygon = [next(rings) for _ in range(count)]
            _check_crossings(polygon)
            if polygon:
                cv2.fillPoly(mask, polygon, 1, shift=FRACTION_BITS)
        return mask > 0


def _check_crossings(rings: Sequence[np.ndarray]) -> None:
    """Raise ValueError for a polygon with so many edges in a row that to fill it would take minutes, or years."""
    if sum(map(len, rings)) < MANY_POINTS:
        return
    starts, ends = [], []
    for ring in rings:
        rows = ring[:, 1] >> FRACTION_BITS
        following = np.roll(rows, -1)
        starts.append(np.minimum(rows, following))
        ends.append(np.maximum(rows, following))
    first = np.concatenate(starts)
    lowest = first.min()
    changes = [np.bincount(rows - lowest, minlength=1) for rows in (first, np.concatenate(ends))]
    begun, ended = (np.pad(counts, (0, max(map(len, changes)) - len(counts))) for counts in changes)
    in_row = np.cumsum(begun - ended).astype(np.float64)
    if (in_row**2).sum() > MOST_PAIRS:
        raise ValueError(f"has an outline that crosses itself, with {in_row.max():,.0f} edges side by side")


class _Picture:
    """A PNG of the whole slide, or of what was scanned of it."""

    def __init__(self, path: Path, frame: Frame):
        self._frame = frame
        self.left_out: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                with Image.open(path, formats=["PNG"]) as image:
                    pixels = np.asarray(image)
            except (Image.DecompressionBombError, SyntaxError) as error:
                raise ValueError(str(error)) from None
        if pixels.ndim == 3:
            colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))  # without transparency
            pixels = np.any(pixels[..., :colours], axis=2)
        self._pixels = pixels != 0

    def _part(self, origin: Origin) -> tuple[slice, slice]:
        """Return the rows and columns of the raster that the picture shows."""
        return (
            self._frame.scanned()
            if origin == "bounds"
            else (slice(0, self._frame.shape[0]), slice(0, self._frame.shape[1]))
        )

    def fits(self, origin: Origin) -> bool:
        """Return whether its sides have the proportions of what it shows."""
        height, width = (part.stop - part.start for part in self._part(origin))
        expected = self._pixels.shape[1] * height / width
        return abs(self._pixels.shape[0] - expected) <= max(1.5, TOLERANCE * expected)

    def draw(self, origin: Origin) -> np.ndarray:
        """Return the mask."""
        part = self._part(origin)
        height, width = (one.stop - one.start for one in part)
        if not self.fits(origin):
            rows, columns = self._pixels.shape
            raise ValueError(f"{columns} x {rows} px have not the proportions of the slide ({width} x {height})")
        mask = np.zeros(self._frame.shape, dtype=bool)
        share = cv2.resize(self._pixels.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        mask[part] = share >= 0.5
        return mask
