"""Which library reads a slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openslide

from ksfusion.slides.reading.backend_base import GENERIC, Backend
from ksfusion.slides.reading.content import TIFF, content_of, refuse_unknown
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.image_backend import PlainImageBackend
from ksfusion.slides.reading.openslide_backend import OpenSlideBackend, TileBackend
from ksfusion.slides.reading.tiff import TiffFacts, begins_beyond_end, read_facts
from ksfusion.slides.reading.tiffslide_backend import TiffSlideBackend

BACKENDS: dict[str, Callable[[Path, TiffFacts | None], Backend]] = {
    "openslide": OpenSlideBackend,
    "tiffslide": TiffSlideBackend,
    "image": PlainImageBackend,
}


def open_backend(path: Path, reader: str) -> Backend:
    """Open a slide with the library named, or, with ``auto``, the first that reads all of what the file says it holds.

    Raises
    ------
    SlideError
        If no library can open it, or the file ends too early.
    """
    vendor, content = openslide.OpenSlide.detect_format(path), content_of(path)
    if vendor in (None, GENERIC):
        refuse_unknown(path, content)
    facts = read_facts(path) if content == TIFF else None
    if content == TIFF and (begins_beyond_end(path) or (facts and facts.cut_off)):
        raise SlideError("truncated", f"{path}: the file ends before its image does; fetch it again")
    if reader == "auto":
        reader = _choose_reader(vendor, facts)
        try:
            return (TileBackend if reader == "openslide" else BACKENDS[reader])(path, facts)
        except SlideError as error:
            # Tiles in JPEG 2000, WebP, LZMA and others; no error of a damaged file says so.
            if "unsupported tiff compression" not in str(error).lower():
                raise
        reader = "tiffslide"
    return BACKENDS[reader](path, facts)


def _choose_reader(vendor: str | None, facts: TiffFacts | None) -> str:
    """Return the reader of a file by the format that OpenSlide sees in it, and its tags where it is a TIFF."""
    if vendor and (vendor != GENERIC or facts is None or facts.for_openslide):
        return "openslide"
    return "tiffslide" if facts and (facts.tiled or facts.planes) else "image"
