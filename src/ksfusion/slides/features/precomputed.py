"""Features that another tool has extracted: one HDF5 file a slide, as TRIDENT, CLAM or STAMP leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.fingerprint import file_digest

MAX_COORDINATE = 2**31
# Far more than any slide has tiles, or any encoder features: a file that claims more is not read.
MAX_TILES, MAX_FEATURES = 20_000_000, 65_536
BLOCK_BYTES = 1 << 26
# What h5py raises where a file is damaged, or made to do harm.
DAMAGED = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class PrecomputedSlide:
    """A slide's file, open.

    Attributes
    ----------
    features : h5py.Dataset (tiles, d)
        STAMP calls it ``feats``, the others ``features``.
    coords : numpy.ndarray of shape (tiles, 2), int64
        x and y of the tiles' upper left corners.
    unit : str
        Of ``coords``: ``px`` of level 0, or ``um`` (STAMP).
    size : tuple of int
        Width and height of level 0, in px; zeros where the file does not say (TRIDENT's does).
    order : numpy.ndarray of shape (tiles,)
        Rows of ``features`` in raster order: by y, then by x.
    """

    path: Path
    _features: h5py.Dataset
    coords: np.ndarray
    unit: Literal["px", "um"]
    size: tuple[int, int]
    order: np.ndarray

    def features(self, tiles: np.ndarray) -> np.ndarray:
        """Return the features (n, d), float16, of tiles given by their number in raster order.

        Raises
        ------
        SlideError
            With reason ``unreadable``, if any value of the slide is not finite in float16.
        """
        rows = self.order[tiles]
        chosen = np.empty((len(rows), self._features.shape[-1]), dtype=np.float16)
        for start, values in self._blocks():
            if not np.isfinite(values).all():
                raise SlideError("unreadable", f"{self.path}: a feature is missing, infinite or beyond float16")
            here = (rows >= start) & (rows < start + len(values))
            chosen[here] = values[rows[here] - start]
        return chosen

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield all features as float16, some rows at a time, each time with the number of the first."""
        step = max(1, BLOCK_BYTES // (self._features.shape[-1] * self._features.dtype.itemsize))
        for start in range(0, len(self.coords), step):
            part = slice(start, start + step)
            try:
                values = self._features[0, part] if self._features.ndim == 3 else self._features[part]
            except DAMAGED as error:
                raise SlideError("unreadable", f"{self.path}: {error}") from None
            with np.errstate(over="ignore"):
                yield start, values.astype(np.float16)


@contextmanager
def open_precomputed(path: Path) -> Iterator[PrecomputedSlide]:
    """Open a slide's file and check what is in it.

    Raises
    ------
    SlideError
        With reason ``missing_file`` or ``unreadable``.
    """
    try:
        if not path.exists():
            raise SlideError("missing_file", f"{path} is not there")
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise SlideError("unreadable", f"{path}: {error}") from None
    with file:
        try:
            slide = _read(path, file)
        except DAMAGED as error:
            raise SlideError("unreadable", f"{path}: holds no features and coords ({error})") from None
        yield slide


def _read(path: Path, file: h5py.File) -> PrecomputedSlide:
    features, stored = file["feats" if "feats" in file else "features"], file["coords"]
    shape = _table_shape(features)
    if len(shape) != 2 or features.dtype.kind != "f" or _table_shape(stored) != (shape[0], 2):
        both = f"features {features.shape} {features.dtype}, coords {stored.shape}"
        raise SlideError("unreadable", f"{path}: {both}; a vector of floats and an x, y are needed for each tile")
    if shape[0] > MAX_TILES or not 0 < shape[1] <= MAX_FEATURES:
        raise SlideError("unreadable", f"{path}: claims {shape[0]} tiles of {shape[1]} features; extract them again")
    coords = stored[0] if stored.ndim == 3 else stored[()]
    if coords.dtype.kind not in "iuf" or not ((coords > -MAX_COORDINATE) & (coords < MAX_COORDINATE)).all():
        raise SlideError("unreadable", f"{path}: coords are not all numbers of pixels or micrometres")
    coords = np.rint(coords).astype(np.int64)
    sides = [stored.attrs.get(f"level0_{side}") for side in ("width", "height")]
    known = [isinstance(side, int | np.integer) and 0 < side < MAX_COORDINATE for side in sides]
    width, height = (int(side) if is_known else 0 for side, is_known in zip(sides, known, strict=True))
    micrometres = file.attrs.get("unit") in ("um", b"um") or "tile_size_um" in file.attrs
    order = np.lexsort((coords[:, 0], coords[:, 1]))
    return PrecomputedSlide(path, features, coords, "um" if micrometres else "px", (width, height), order)


def _table_shape(data: h5py.Dataset) -> tuple[int, ...]:
    """Return the shape of a table of rows; some files have a leading axis of one."""
    return data.shape[1:] if data.ndim == 3 and data.shape[0] == 1 else data.shape


def read_tiles(path: Path, min_tiles: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the tiles of a slide from its file; runs in a worker process.

    Parameters
    ----------
    path
        The slide's file.
    min_tiles
        Fewest tiles that make a slide usable.

    Returns
    -------
    known : dict
        What is known of the slide: width, height, and the file's digest.
    tiles : dict of str to numpy.ndarray of shape (tiles,)
        tile, x, y, in raster order, and tissue, which is not known.

    Raises
    ------
    SlideError
        With reason ``missing_file``, ``unreadable`` or ``too_few_tiles``.
    """
    with open_precomputed(path) as slide:
        known = {"width": slide.size[0], "height": slide.size[1], "digest": file_digest(path)}
        if len(slide.coords) < min_tiles:
            raise SlideError("too_few_tiles", f"{path}: {len(slide.coords)} tiles; {min_tiles} are needed", known)
        x, y = slide.coords[slide.order].T
        return known, {"tile": np.arange(len(x)), "x": x, "y": y, "tissue": np.full(len(x), np.nan)}


def read_features(path: Path, tiles: np.ndarray) -> tuple[np.ndarray, str]:
    """Read the features of tiles of a slide, and the unit of its coordinates; runs in a worker process.

    Parameters
    ----------
    path
        The slide's file.
    tiles : numpy.ndarray of shape (n,)
        Their numbers in raster order.

    Returns
    -------
    features : numpy.ndarray of shape (n, d), float16
    unit : str
        ``px`` or ``um``.

    Raises
    ------
    SlideError
        With reason ``missing_file`` or ``unreadable``.
    """
    with open_precomputed(path) as slide:
        return slide.features(tiles), slide.unit
