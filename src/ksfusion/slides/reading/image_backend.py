"""Plain images, held in memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ksfusion.slides.reading.backend_base import (
    TO_RGB,
    Bounds,
    on_white,
    open_profile,
    profile_of,
    refuse_odd,
    scales_of,
)
from ksfusion.slides.reading.errors import Reason, SlideError
from ksfusion.slides.reading.tiff import TiffFacts

PLAIN_IMAGE_MAX_PIXELS = 150_000_000
PLAIN_SUFFIXES = {".png", ".jpg", ".jpeg"}
PLAIN_FORMATS = ("PNG", "JPEG", "TIFF")


class PlainImageBackend:
    """A PNG, JPEG or TIFF of at most `PLAIN_IMAGE_MAX_PIXELS`, held in memory."""

    bounds: Bounds | None = None

    def __init__(self, path: Path, facts: TiffFacts | None = None):
        limit = f"{PLAIN_IMAGE_MAX_PIXELS // 1_000_000} million"
        too_large = SlideError("too_large", f"{path}: a plain image may have {limit} pixels; make it a pyramidal TIFF")
        apart = "colours in pages of their own" if facts and facts.planes else ""
        refuse_odd(path, (facts.depth, facts.stack, apart) if facts else ())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                image = Image.open(path, formats=PLAIN_FORMATS)
            except Image.DecompressionBombError:
                raise too_large from None
            except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
                raise SlideError("unreadable", f"{path}: no reader knows this file ({error})") from None
        with image:
            _turn_to(image, facts.page if facts else 0, path)
            if image.width * image.height > PLAIN_IMAGE_MAX_PIXELS:
                raise too_large
            stored = _stored_as(image)
            if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr") or ";16" in stored:
                raise SlideError("unreadable", f"{path}: {stored or image.mode} pixels; {TO_RGB}")
            self.scales = scales_of(_resolution_properties(image), "image", ())
            try:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
            except MemoryError:
                raise
            except Exception as error:  # a decoder fails in as many ways as files are broken
                reason: Reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
                raise SlideError(reason, f"{path}: cannot be decoded ({error})") from None
            transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
            mode = "RGBA" if transparent else "RGB"
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
            self._pixels = on_white(pixels) if transparent else pixels
            self.scales |= {"header": facts.scale} if facts and facts.scale else {}
            self.color_profile = profile_of(path, lambda: open_profile(image.info.get("icc_profile")))
        self.dimensions = (self._pixels.shape[1], self._pixels.shape[0])
        self.downsamples: tuple[float, ...] = (1.0,)

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        canvas = np.full((height, width, 3), 255, dtype=np.uint8)
        part = self._pixels[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
        rows, columns = part.shape[:2]
        canvas[max(-y, 0) :, max(-x, 0) :][:rows, :columns] = part
        return canvas

    def close(self) -> None:  # noqa: D102
        del self._pixels


def _turn_to(image: Image.Image, page: int, path: Path) -> None:
    try:
        image.seek(page)
    except MemoryError:
        raise
    except Exception as error:
        raise SlideError("unreadable", f"{path}: page {page + 1} cannot be read ({error})") from None


def _stored_as(image: ImageFile.ImageFile) -> str:
    """Return how Pillow calls the pixels in the file; it makes 8 bits of 16 without a word."""
    arguments = image.tile[0].args if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _resolution_properties(image: Image.Image) -> dict[str, Any]:
    """Return the resolution tags of a TIFF; the density of a PNG or JPEG says nothing of the microscope."""
    tags = getattr(image, "tag_v2", {})
    units = {2: "inch", 3: "centimeter"}
    return {
        "tiff.XResolution": tags.get(282),
        "tiff.YResolution": tags.get(283),
        "tiff.ResolutionUnit": units.get(tags.get(296, 2)),
    }


def is_plain_image(path: Path | str, reader: str) -> bool:
    """Return whether the whole of a slide is held in memory, as its name tells."""
    return reader == "image" or (reader == "auto" and Path(path).suffix.lower() in PLAIN_SUFFIXES)
