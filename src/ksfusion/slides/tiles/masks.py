"""Masks of tissue that the user brings: GeoJSON as QuPath and LazySlide export it, or a PNG."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ksfusion.slides.reading.errors import SlideError

# How far a polygon may reach beyond its slide, and a PNG's sides be out of proportion.
TOLERANCE = 0.02
FRACTION_BITS = 8


def read_mask(path: Path, dimensions: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Read a mask of tissue.

    Parameters
    ----------
    path
        GeoJSON: polygons in level-0 px, their inner rings holes. PNG: the whole slide at any scale, tissue where it is
        not zero.
    dimensions
        Width and height of the slide, in level-0 px.
    shape
        Rows and columns of the result.

    Returns
    -------
    numpy.ndarray of bool, of that shape

    Raises
    ------
    SlideError
        With reason ``unreadable`` if it is neither, or not of this slide.
    """
    try:
        return _from_geojson(path, dimensions, shape) if path.suffix == ".geojson" else _from_png(path, shape)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:  # JSON may hold anything anywhere
        raise SlideError("unreadable", f"mask {path}: {error}; correct or remove it") from None


def _from_geojson(path: Path, dimensions: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    limit = np.array(dimensions) * (1 + TOLERANCE)
    mask = np.zeros(shape, dtype=bool)
    for polygon in _polygons(json.loads(path.read_text(encoding="utf-8"))):
        rings = []
        for ring in polygon:
            points = np.array([point[:2] for point in ring], dtype=np.float64)
            if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
                raise ValueError("a ring of a polygon needs at least three points of two finite numbers")
            if (points > limit).any() or (points < np.array(dimensions) - limit).any():
                raise ValueError(f"reaches outside the slide of {dimensions[0]} x {dimensions[1]} px")
            # The centre of the first px lies at (0, 0) for OpenCV, half a px inside the slide for GeoJSON.
            points = points * np.array(shape[::-1]) / dimensions - 0.5
            rings.append(np.rint(points * 2**FRACTION_BITS).astype(np.int32))
        filled = np.zeros(shape, dtype=np.uint8)
        cv2.fillPoly(filled, rings, 1, shift=FRACTION_BITS)
        mask |= filled > 0
    return mask


def _polygons(content: Any) -> Iterator[list[Any]]:
    """Yield the polygons of a GeoJSON object, or of a list of them, each as a list of rings."""
    if isinstance(content, list):
        for item in content:
            yield from _polygons(item)
        return
    kind = content.get("type") if isinstance(content, dict) else None
    try:
        if kind == "FeatureCollection":
            yield from _polygons(content["features"])
        elif kind == "Feature":
            yield from _polygons(content["geometry"])
        elif kind == "GeometryCollection":
            yield from _polygons(content["geometries"])
        elif kind == "MultiPolygon":
            yield from content["coordinates"]
        elif kind == "Polygon":
            yield content["coordinates"]
        else:
            raise ValueError(f"holds {kind or type(content).__name__} where a Polygon or MultiPolygon is expected")
    except KeyError as error:
        raise ValueError(f"a {kind} has no {error}") from None


def _from_png(path: Path, shape: tuple[int, int]) -> np.ndarray:
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
    rows, columns = pixels.shape
    expected = columns * shape[0] / shape[1]
    if abs(rows - expected) > max(1.5, TOLERANCE * expected):
        raise ValueError(f"{columns} x {rows} px have not the proportions of the slide ({shape[1]} x {shape[0]})")
    share = cv2.resize((pixels != 0).astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    return share >= 0.5
