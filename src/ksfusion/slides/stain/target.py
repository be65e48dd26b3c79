"""The stain that all slides are brought to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ksfusion.core.errors import UserError
from ksfusion.core.resources import resource
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.image_backend import PlainImageBackend
from ksfusion.slides.stain.profiles import Profile
from ksfusion.slides.stain.reinhard import ColourProfile, fit_colour
from ksfusion.slides.stain.vahadane import DegenerateStain, StainProfile, evenly, fit_stain, tissue_pixels

TARGET_RESOURCE = "stain_target.json"
POOLED_PIXELS = 200_000


def load_target(target: str, method: str = "vahadane") -> Profile:
    """Read the stain that slides are brought to.

    Parameters
    ----------
    target
        ``builtin``, or the path of a JSON file with ``matrix`` (2 x 3), ``max_concentration`` (2), and for Reinhard's
        method ``lab_mean`` and ``lab_std`` (3 each).
    method
        The method of the settings.

    Returns
    -------
    ColourProfile for ``reinhard``, else StainProfile

    Raises
    ------
    UserError
        If the file cannot be read or does not hold these.
    """
    path = resource(TARGET_RESOURCE) if target == "builtin" else Path(target)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if method == "reinhard":
            return ColourProfile(_numbers(values["lab_mean"], (3,)), _numbers(values["lab_std"], (3,), above=0))
        matrix = _numbers(values["matrix"], (2, 3))
        maxima = _numbers(values["max_concentration"], (2,), above=0)
        if matrix.min() < 0 or np.linalg.matrix_rank(matrix) < 2:
            raise ValueError
    except OSError as error:
        raise UserError(f"stain.target: {path} cannot be read ({error.strerror}); name a JSON file") from None
    except (KeyError, TypeError, ValueError):
        wanted = "matrix (2 x 3, rows not parallel) and max_concentration (2, positive)"
        if method == "reinhard":
            wanted = "lab_mean (3) and lab_std (3, positive)"
        raise UserError(f"stain.target: {path} must hold {wanted}; fit one with: ksfusion stain-target") from None
    return StainProfile(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), maxima)


def _numbers(values: Any, shape: tuple[int, ...], above: float = -np.inf) -> np.ndarray:
    """Return values as an array; raise ValueError unless it has this shape and finite numbers above a bound."""
    array = np.array(values, dtype=np.float64)
    if array.shape != shape or not np.isfinite(array).all() or array.min() <= above:
        raise ValueError
    return array


def fit_target(paths: Iterable[Path | str]) -> dict[str, Any]:
    """Fit a stain target on images of well stained tissue.

    Parameters
    ----------
    paths
        Plain images, each with the same weight: PNG, JPEG or TIFF regions.

    Returns
    -------
    dict
        What `load_target` reads, and under ``provenance`` the method and the images with their digests; numbers and
        text only.

    Raises
    ------
    UserError
        If an image cannot be read, or holds no two stains.
    """
    pooled, images = [], []
    for path in map(Path, paths):
        try:
            image = PlainImageBackend(path)
        except SlideError as error:
            raise UserError(f"{error}; a stain target is fitted from plain images") from None
        width, height = image.dimensions
        tissue = tissue_pixels(image.region(0, 0, 0, width, height))
        if len(tissue):
            pooled.append(evenly(tissue, POOLED_PIXELS))
        images.append({"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    if not pooled:
        raise UserError("no image with tissue was given; name at least one region of stained tissue")
    try:
        profile, colours = fit_stain(np.concatenate(pooled)), fit_colour(np.concatenate(pooled))
    except DegenerateStain as error:
        raise UserError(f"the images make no stain target: {error}") from None
    return {
        "matrix": profile.matrix.round(6).tolist(),
        "max_concentration": profile.max_concentration.round(6).tolist(),
        "lab_mean": colours.mean.round(6).tolist(),
        "lab_std": colours.std.round(6).tolist(),
        "provenance": {
            "method": "Vahadane dictionary of two stains (haematoxylin, eosin) on the tissue of these images",
            "images": images,
            "command": "ksfusion stain-target --output OUTPUT --images IMAGE [IMAGE ...]",
        },
    }
