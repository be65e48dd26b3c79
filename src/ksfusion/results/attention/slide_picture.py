"""Pictures of slides: each small enough to draw, and where its patches lie on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ksfusion.slides.config import Reading
from ksfusion.slides.reading.slide import Slide

UM_PER_MM = 1000


@dataclass(frozen=True)
class SlidePatches:
    """The chosen patches of a slide.

    Attributes
    ----------
    coords : numpy.ndarray (patches, 2)
        x and y of their upper left corners.
    index : numpy.ndarray (count,)
        Which of them stands in each cell of the map.
    um
        Micrometres in a unit of the coordinates; NaN where not known.
    """

    coords: np.ndarray
    index: np.ndarray
    um: float

    @property
    def cells(self) -> np.ndarray:
        """In how many cells of the map each patch stands, of shape (patches,)."""
        return np.bincount(self.index)


@dataclass(frozen=True)
class SlidePicture:
    """A picture of a slide, and patches on it.

    Attributes
    ----------
    rgb : numpy.ndarray (H, W, 3), uint8
        The slide, or white.
    is_slide
        Whether the picture shows the slide.
    corners : numpy.ndarray (patches, 2)
        x and y of the patches' upper left corners, in px of the picture.
    side
        Side of a patch, in px of the picture.
    px_mm
        Side of a px of the picture, in mm; None where it is not known.
    """

    rgb: np.ndarray
    is_slide: bool
    corners: np.ndarray
    side: float
    px_mm: float | None


def read_patches(features: Iterable[Path], slide_ids: set[str]) -> dict[str, SlidePatches]:
    """Return the patches of slides from the files of the feature stage.

    Parameters
    ----------
    features
        ``features/{batch}.h5`` of all batches.
    slide_ids
        The slides, each of which has features.

    Returns
    -------
    dict
        slide_id to its patches.
    """
    # HDF5 is read here alone.
    from ksfusion.core.features_file import open_features

    found: dict[str, SlidePatches] = {}
    for path in features:
        with open_features(path) as slides:
            for slide_id in slide_ids & set(slides):
                group = slides[slide_id]
                um = 1.0 if group.attributes.get("unit") == "um" else float(group.attributes["mpp"])
                found[slide_id] = SlidePatches(group.read("coords"), group.read("index"), um)
    return found


def picture_of(slide: Slide, longest: int) -> tuple[np.ndarray, float]:
    """Return an open slide as a picture of at most ``longest`` px, and its micrometres per px."""
    scale = max(1.0, max(slide.dimensions) / longest) * slide.mpp
    return slide.thumbnail(scale), scale


def lay_on(rgb: np.ndarray, scale: float, patches: SlidePatches, *, settings: Reading) -> SlidePicture:
    """Lay patches on a picture of their slide.

    Parameters
    ----------
    rgb, scale
        As `picture_of` returns them.
    patches
        Upper left corners of the patches, in px of level 0.
    settings
        Size of the patches.
    """
    side = settings.patch_px * settings.mpp / scale
    return SlidePicture(rgb, True, patches.coords * (patches.um / scale), side, scale / UM_PER_MM)


def on_white(patches: SlidePatches, *, longest: int) -> SlidePicture:
    """Lay patches on white, each as wide as the smallest step between two columns or rows."""
    coords = patches.coords - patches.coords.min(axis=0)
    steps = np.concatenate([np.diff(np.unique(values)) for values in coords.T])
    side = int(steps.min()) if len(steps) else 1
    coords = coords + side  # a margin
    extent = coords.max(axis=0) + 2 * side
    scale = extent.max() / longest
    width, height = np.maximum(np.rint(extent / scale), 1).astype(int)
    px_mm = None if np.isnan(patches.um) else float(patches.um * scale / UM_PER_MM)
    white = np.full((height, width, 3), 255, np.uint8)
    return SlidePicture(white, False, coords / scale, float(side / scale), px_mm)
