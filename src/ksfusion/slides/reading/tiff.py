"""What can be told of a TIFF before a slide library opens it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import tifffile

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
CHANNELS = (1, 3, 4)
# Of these tifffile makes RGB or grey; it hands out the others (a palette's indices, CMYK, CIELAB) as they are stored.
PHOTOMETRICS = ("MINISBLACK", "RGB", "YCBCR")


def is_tiff(path: Path) -> bool:
    """Return whether a file starts like a TIFF."""
    with path.open("rb") as file:
        return file.read(4) in TIFF_MAGIC


def is_truncated_tiff(path: Path) -> bool:
    """Return whether a TIFF points at bytes beyond its end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    layout, needed = (order + "Q", head[8:16]) if head[2:4] in (b"+\0", b"\0+") else (order + "L", head[4:8])
    if len(needed) < struct.calcsize(layout) or struct.unpack(layout, needed)[0] >= size:
        return True
    try:
        with tifffile.TiffFile(path) as file:
            return any(
                start + length > size
                for page in file.pages
                for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)
            )
    except Exception:  # not a TIFF that tifffile follows: the backend has the word
        return False


def is_tiled_tiff(path: Path) -> bool:
    """Return whether the first page of a TIFF is stored in tiles, so that a part can be read alone."""
    try:
        with tifffile.TiffFile(path) as file:
            return bool(file.pages.first.is_tiled)
    except Exception:
        return False


def odd_pixels(page: Any) -> str:
    """Return what keeps the pixels of a page (of tifffile) from being 8-bit grey or RGB; empty where nothing does."""
    channels, kind = page.samplesperpixel, str(page.dtype)
    if kind != "uint8" or channels not in CHANNELS:
        return f"{channels} x {kind} a pixel"
    photometric = getattr(page.photometric, "name", str(page.photometric))
    if photometric not in PHOTOMETRICS:
        return f"{photometric} pixels"
    # JPEG's own decoders turn YCbCr to RGB; other compressions keep it.
    compression = getattr(page.compression, "name", str(page.compression))
    return f"{photometric} pixels in {compression}" if photometric == "YCBCR" and "JP" not in compression else ""


def odd_pixels_of(path: Path) -> str:
    """Return the same of the first page of a file; empty for one that tifffile does not follow."""
    try:
        with tifffile.TiffFile(path) as file:
            return odd_pixels(file.pages.first)
    except Exception:
        return ""
