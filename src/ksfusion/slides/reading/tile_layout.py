"""How the tiles of a TIFF are stored, where they can be decoded one by one as OpenSlide decodes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tifffile

JPEG, APERIO_JPEG2000_RGB = 7, 33005
RGB, YCBCR = 2, 6
TILE_DEPTH, FILL_ORDER, ORIENTATION = 32998, 266, 274


@dataclass(frozen=True, eq=False)
class TileLayout:
    """The tiles of a page: 8-bit RGB, in JPEG or JPEG 2000.

    Attributes
    ----------
    size : tuple of int
        Width and height of the page.
    tile : tuple of int
        Those of a tile.
    codec : str
        ``jpeg`` or ``jpeg2000``.
    colours : str
        What three channels of a JPEG are, whatever it says itself: ``rgb`` or ``ycbcr``.
    tables : bytes or None
        What the tiles in JPEG have in common: tables of quantisation and of Huffman's codes.
    offsets, lengths : numpy.ndarray of int64
        Of each tile, row by row, in bytes of the file; of one that is not stored both are 0.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    codec: Literal["jpeg", "jpeg2000"]
    colours: Literal["rgb", "ycbcr"]
    tables: bytes | None
    offsets: np.ndarray
    lengths: np.ndarray

    @property
    def across(self) -> int:
        """How many tiles there are in a row."""
        return -(-self.size[0] // self.tile[0])

    @property
    def down(self) -> int:
        """How many rows of tiles there are."""
        return -(-self.size[1] // self.tile[1])

    @property
    def complete(self) -> bool:
        """Whether all of its tiles are stored."""
        return bool((self.lengths > 0).all())


def layouts_of(file: tifffile.TiffFile) -> tuple[TileLayout, ...]:
    """Return the layout of each page whose tiles are plain enough; the only one of its size."""
    if file.is_ndpi:
        return ()
    every: list[Any] = list(file.pages)
    pages = [page for page in every if page.is_tiled]
    sizes = [(page.imagewidth, page.imagelength) for page in pages]
    found = (_layout(page) for page, size in zip(pages, sizes, strict=True) if sizes.count(size) == 1)
    return tuple(layout for layout in found if layout)


def _layout(page: Any) -> TileLayout | None:
    """Return the layout of a tiled page; None where anything about it is unusual."""
    compression, photometric = int(page.compression), int(page.photometric)
    if (page.samplesperpixel, page.bitspersample, page.planarconfig, page.imagedepth) != (3, 8, 1, 1):
        return None
    usual = {TILE_DEPTH: (1,), FILL_ORDER: (1,), ORIENTATION: (0, 1)}
    if any(page.tags.valueof(tag, default=1) not in values for tag, values in usual.items()):
        return None
    if compression == JPEG and photometric in (RGB, YCBCR):
        codec: Literal["jpeg", "jpeg2000"] = "jpeg"
    elif compression == APERIO_JPEG2000_RGB:
        codec = "jpeg2000"
    else:
        return None
    try:
        offsets, lengths = (np.array(values, dtype=np.int64) for values in (page.dataoffsets, page.databytecounts))
    except OverflowError:
        return None
    layout = TileLayout(
        size=(page.imagewidth, page.imagelength),
        tile=(page.tilewidth, page.tilelength),
        codec=codec,
        colours="ycbcr" if photometric == YCBCR else "rgb",
        tables=page.jpegtables,
        offsets=offsets,
        lengths=lengths,
    )
    return layout if len(layout.offsets) == len(layout.lengths) == layout.across * layout.down else None
