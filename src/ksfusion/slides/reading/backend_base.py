"""What a library that decodes slides offers: levels, scales, and regions as RGB on white; and what all share."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from PIL import ImageCms

from ksfusion.slides.reading.errors import SlideError

UNITS_PER_MICRON = {"centimeter": 1e4, "inch": 25400.0}
# What OpenSlide calls a TIFF of no scanner that it knows.
GENERIC = "generic-tiff"
TO_RGB = "convert the image to 8-bit RGB"
Bounds = tuple[int, int, int, int]
log = logging.getLogger(__name__)


class Backend(Protocol):
    """What a decoding library offers.

    Attributes
    ----------
    dimensions : tuple of int
        Width and height of level 0, in px.
    downsamples : tuple of float
        Of each level, relative to level 0, finest first.
    scales : dict
        Micrometres per pixel (x, y) by their source: ``header``, ``resolution_tag``, ``objective_power``.
    bounds : tuple of int or None
        Left, top, width and height of what was scanned, in px of level 0, where the header says so.
    color_profile : PIL.ImageCms.ImageCmsProfile or None
        The ICC profile of its colours.
    """

    dimensions: tuple[int, int]
    downsamples: tuple[float, ...]
    scales: dict[str, tuple[float, float]]
    bounds: Bounds | None
    color_profile: ImageCms.ImageCmsProfile | None

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, 3) uint8 of a level; x and y are level-0 px; white outside the slide."""

    def close(self) -> None:
        """Release the file."""


def scales_of(
    properties: Mapping[str, Any], prefix: str, generic_vendors: tuple[str | None, ...]
) -> dict[str, tuple[float, float]]:
    """Return the scales that a slide's properties give, in micrometres per pixel (x, y), by their source."""

    def pair(name: str, suffixes: tuple[str, str]) -> tuple[float, float] | None:
        try:
            values = [float(properties[name + suffix]) for suffix in suffixes]
        except (KeyError, TypeError, ValueError):
            return None
        return (values[0], values[1]) if min(values) > 0 else None

    scales = {}
    header = pair(f"{prefix}.mpp-", ("x", "y"))
    # Of a generic TIFF the libraries report the resolution tag under the name of a scanner's header.
    if header and properties.get(f"{prefix}.vendor") not in generic_vendors:
        scales["header"] = header
    per_micron = UNITS_PER_MICRON.get(str(properties.get("tiff.ResolutionUnit")).lower())
    pixels_per_unit = pair("tiff.", ("XResolution", "YResolution"))
    if per_micron and pixels_per_unit:
        scales["resolution_tag"] = (per_micron / pixels_per_unit[0], per_micron / pixels_per_unit[1])
    power = pair(f"{prefix}.objective-power", ("", ""))
    if power:
        scales["objective_power"] = (10.0 / power[0], 10.0 / power[0])
    return scales


def bounds_of(properties: Mapping[str, Any], prefix: str) -> Bounds | None:
    """Return what was scanned, by a slide's properties; None where they do not say."""
    try:
        left, top, width, height = (
            int(properties[f"{prefix}.bounds-{name}"]) for name in ("x", "y", "width", "height")
        )
    except (KeyError, TypeError, ValueError):
        return None
    return (left, top, width, height) if width > 0 and height > 0 else None


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Blend (H, W, 4) uint8 with white."""
    if cv2.extractChannel(rgba, 3).min(initial=255) == 255:
        return cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    weight = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def refuse_odd(path: Path | str, oddities: Iterable[str]) -> None:
    """Raise SlideError where there is something odd about a slide's pixels."""
    if odd := next(filter(None, oddities), ""):
        raise SlideError("unreadable", f"{path}: {odd}; {TO_RGB}")


def open_profile(content: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """Return an ICC profile of the bytes in a file; None where there are none."""
    return ImageCms.getOpenProfile(io.BytesIO(content)) if content else None


def profile_of(path: Path | str, get: Callable[[], ImageCms.ImageCmsProfile | None]) -> ImageCms.ImageCmsProfile | None:
    """Return a slide's ICC profile; None, with a warning, where it is damaged."""
    try:
        return get()
    except Exception as error:  # each library has its own
        log.warning("%s: its colour profile cannot be read (%s)", path, error)
        return None
