"""Regions that a user has annotated by class, as QuPath exports them: how much of each patch lies in each class."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ksfusion.slides.config import ReadRegionsSettings
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide import open_source
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.tiles.geojson import class_names, features_of
from ksfusion.slides.tiles.masks import Frame, read_mask

# Micrometres per px of the raster: a polygon's border takes a px, a twenty-eighth of a patch of 112 um.
RASTER_MPP = 4.0
# Of what has no class.
UNCLASSIFIED = "unclassified"


def region_shares(
    source: SlideSource, path: Path, coords: np.ndarray, settings: ReadRegionsSettings
) -> dict[str, np.ndarray]:
    """Return the share of each patch that lies within the polygons of each class; runs in a worker process.

    Parameters
    ----------
    source
        The slide's file.
    path
        Its annotations, GeoJSON: as a mask of tissue each class is read by itself, the classes that QuPath leaves out
        left out.
    coords : numpy.ndarray (patches, 2)
        x and y of the patches' upper left corners, in px of level 0.
    settings
        The settings of reading slides, size of patches, and where coordinates start.

    Returns
    -------
    dict of class to numpy.ndarray (patches,)
        In order of the classes' names.

    Raises
    ------
    SlideError
        If the slide cannot be read, or the file holds no polygons of it.
    """
    with open_source(source, settings) as slide:
        scale, bounds, dimensions = RASTER_MPP / slide.mpp, slide.bounds, slide.dimensions
        side = settings.patch_px * settings.mpp / slide.mpp
    width, height = (max(1, round(length / scale)) for length in dimensions)
    frame = Frame(dimensions, (height, width), bounds)
    corners = coords / scale
    classes = _by_class(path)
    origin = read_mask(
        path, frame, origin=settings.masks_origin, found=lambda: _covered(corners, side / scale, frame.shape)
    ).origin
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, features in sorted(classes.items()):
            part = Path(folder, "class.geojson")
            part.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
            mask = read_mask(part, frame, origin=origin)
            if not mask.left_out:
                found[name] = _shares(mask.tissue, corners, side / scale)
    return found


def _by_class(path: Path) -> dict[str, list[Any]]:
    """Return the features of a GeoJSON file by the name of their class."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SlideError("unreadable", f"regions {path}: {error}; correct or remove it") from None
    classes: dict[str, list[Any]] = {}
    for feature in features_of(content):
        names = class_names(feature) if isinstance(feature, dict) else []
        classes.setdefault(": ".join(names) or UNCLASSIFIED, []).append(feature)
    return classes


def _covered(corners: np.ndarray, side: float, shape: tuple[int, int]) -> np.ndarray:
    """Return the raster on which patches lie, which are of tissue."""
    covered = np.zeros(shape, dtype=bool)
    low = np.rint(corners).astype(int)
    for (left, top), (right, bottom) in zip(low, np.rint(corners + side).astype(int), strict=True):
        covered[top:bottom, left:right] = True
    return covered


def _shares(mask: np.ndarray, corners: np.ndarray, side: float) -> np.ndarray:
    """Return the share of each square that a mask covers; squares start on whole cells."""
    sums = cv2.integral(mask.astype(np.uint8))
    low = np.clip(np.rint(corners).astype(int), 0, np.array(mask.shape[::-1]))
    high = np.clip(np.rint(corners + side).astype(int), 0, np.array(mask.shape[::-1]))
    (left, top), (right, bottom) = low.T, high.T
    covered = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    areas = np.maximum((right - left) * (bottom - top), 1)
    shares: np.ndarray = covered / areas
    return shares
