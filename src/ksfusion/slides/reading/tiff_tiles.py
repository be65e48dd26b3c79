"""Regions of tiled TIFF put together from tiles that are decoded here, each once, in a third of OpenSlide's time."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import imagecodecs
import numpy as np

from ksfusion.slides.reading.tile_layout import TileLayout

# Decoded tiles that are kept: those that patches share with the row above, up to 28,000 px of a slide's width.
KEPT_BYTES = 64 << 20
# Of each level the first tiles are compared with OpenSlide's before they are used: so many of one colour all over,
# and so many whose values spread wider.
COMPARED_TILES, EVEN = 2, 32
# Rows that begin on a multiple of 16 or 32 bytes libjpeg-turbo writes past the processor's caches: a fifth slower.
PAST_CACHES, BESIDE = 32, 8
log = logging.getLogger(__name__)

# From left, top, width and height in px of a level, and the level's number, to (height, width, 3) uint8.
ReadLevel = Callable[[int, int, int, int, int], np.ndarray]


class TiffTiles:
    """The tiles of a slide.

    Parameters
    ----------
    path
        The file.
    layouts
        How the tiles of its levels are stored, by the level's number.
    reference
        What reads a region of a level with OpenSlide: from left, top, width and height in px of the level, and its
        number.
    """

    def __init__(self, path: Path, layouts: Mapping[int, TileLayout], reference: ReadLevel):
        self._path, self._layouts, self._reference = path, layouts, reference
        self._to_compare = {level: {False: COMPARED_TILES, True: COMPARED_TILES} for level in layouts}
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        largest = max(layout.tile[0] * layout.tile[1] * 3 for layout in layouts.values())
        self._decoded = lru_cache(max(4, KEPT_BYTES // largest))(self._tile)

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)
        self._decoded.cache_clear()

    def region(self, left: int, top: int, level: int, width: int, height: int) -> np.ndarray | None:
        """Return a region of a level, white outside the slide.

        Parameters
        ----------
        left, top, width, height
            In px of the level.
        level
            Its number.

        Returns
        -------
        numpy.ndarray of shape (height, width, 3), uint8, or None
            None where OpenSlide is to read it: a tile is missing, damaged, or not like OpenSlide's.
        """
        layout = self._layouts.get(level)
        if layout is None:
            return None
        (tile_width, tile_height), (page_width, page_height) = layout.tile, layout.size
        right, bottom = min(left + width, page_width), min(top + height, page_height)
        inside = left >= 0 and top >= 0 and right == left + width and bottom == top + height
        canvas = np.empty((height, width, 3), np.uint8) if inside else np.full((height, width, 3), 255, np.uint8)
        if right <= left or bottom <= top:
            return canvas
        for row in range(max(top, 0) // tile_height, -(-bottom // tile_height)):
            for column in range(max(left, 0) // tile_width, -(-right // tile_width)):
                tile = self._decoded(level, row * layout.across + column)
                if tile is None:
                    return None
                x, y = column * tile_width, row * tile_height
                from_x, to_x = max(x, left), min(x + tile_width, right)
                from_y, to_y = max(y, top), min(y + tile_height, bottom)
                part = tile[from_y - y : to_y - y, from_x - x : to_x - x]
                canvas[from_y - top : to_y - top, from_x - left : to_x - left] = part
        return canvas

    def _tile(self, level: int, number: int) -> np.ndarray | None:
        """Decode a tile; None where OpenSlide is to read it."""
        layout = self._layouts.get(level)
        if layout is None or layout.lengths[number] <= 0:
            return None
        data = os.pread(self._file, int(layout.lengths[number]), int(layout.offsets[number]))
        try:
            tile = _decode(data, layout)
        except Exception as error:  # a decoder fails in as many ways as files are broken; OpenSlide has the word
            log.debug("%s: tile %d of level %d: %s", self._path, number, level, error)
            return None
        if tile.shape != (layout.tile[1], layout.tile[0], 3) or tile.dtype != np.uint8:
            return None
        if not self._is_like_openslides(tile, level, number, layout):
            log.info("%s: level %d is read by OpenSlide, which decodes it in its own way", self._path, level)
            self._layouts = {n: kept for n, kept in self._layouts.items() if n != level}
            return None
        return tile

    def _is_like_openslides(self, tile: np.ndarray, level: int, number: int, layout: TileLayout) -> bool:
        """Compare a tile with OpenSlide's, if it is among the first."""
        to_compare = self._to_compare[level]
        if not any(to_compare.values()):
            return True
        varied = bool(np.ptp(tile) > EVEN)
        if not to_compare[varied]:
            return True
        to_compare[varied] -= 1
        row, column = divmod(number, layout.across)
        left, top = column * layout.tile[0], row * layout.tile[1]
        width, height = min(layout.tile[0], layout.size[0] - left), min(layout.tile[1], layout.size[1] - top)
        return np.array_equal(tile[:height, :width], self._reference(left, top, level, width, height))


def _decode(data: bytes, layout: TileLayout) -> np.ndarray:
    if layout.codec == "jpeg2000":
        return imagecodecs.jpeg2k_decode(data)
    pixels = _pixels_within_caches(*layout.tile)
    return imagecodecs.jpeg8_decode(
        data, tables=layout.tables, colorspace=layout.colours, outcolorspace="rgb", out=pixels
    )


def _pixels_within_caches(width: int, height: int) -> np.ndarray:
    """Return a place for a tile, (height, width, 3) uint8, whose rows begin beside such bytes: its width is 16 n."""
    n_bytes = height * width * 3
    place = np.empty(n_bytes + PAST_CACHES + BESIDE, np.uint8)
    start = -place.ctypes.data % PAST_CACHES + BESIDE
    return place[start : start + n_bytes].reshape(height, width, 3)
