"""The stain of every slide, and the target that all are brought to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ksfusion.errors import UserError
from ksfusion.resources import resource
from ksfusion.slides.reader import SlideError, open_slide
from ksfusion.slides.sampling import sample_patches
from ksfusion.slides.vahadane import DegenerateStain, StainProfile, fit_stain, max_concentration, tissue_pixels

if TYPE_CHECKING:
    import pandas as pd

TARGET_RESOURCE = "stain_target.json"
TILES_PER_SLIDE = 64
POOLED_PIXELS = 200_000
MATRIX_COLUMNS = ("h_r", "h_g", "h_b", "e_r", "e_g", "e_b")
MAXIMUM_COLUMNS = ("h_c99", "e_c99")


def require_supported(method: str) -> None:
    """Raise UserError unless the method of the settings is one that exists."""
    if method not in ("vahadane", "none"):
        raise UserError(f"stain.method: {method!r} is not supported; use vahadane or none")


def load_target(target: str) -> StainProfile:
    """Read the stain that slides are brought to.

    Parameters
    ----------
    target
        ``builtin``, or the path of a JSON file with ``matrix`` (2 x 3) and ``max_concentration`` (2).

    Raises
    ------
    UserError
        If the file cannot be read or does not hold these.
    """
    path = resource(TARGET_RESOURCE) if target == "builtin" else Path(target)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        matrix = np.array(values["matrix"], dtype=np.float64)
        maxima = np.array(values["max_concentration"], dtype=np.float64)
    except OSError as error:
        raise UserError(f"stain.target: {path} cannot be read ({error.strerror}); name a JSON file") from None
    except (KeyError, TypeError, ValueError):
        matrix = maxima = np.empty(0)
    valid = matrix.shape == (2, 3) and maxima.shape == (2,)
    if not valid or matrix.min() < 0 or maxima.min() <= 0 or np.linalg.matrix_rank(matrix) < 2:
        raise UserError(
            f"stain.target: {path} must hold matrix (2 x 3, rows not parallel) and max_concentration (2, positive); "
            "fit one with: ksfusion stain-target"
        )
    return StainProfile(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), maxima)


def fit_target(paths: Iterable[Path | str], output: Path) -> None:
    """Fit a stain target from images of well stained tissue and write it as JSON.

    Parameters
    ----------
    paths
        Plain images, each with the same weight: PNG, JPEG or TIFF regions.
    output
        The JSON file for ``stain.target``; it names the images and their digests, and holds numbers only.

    Raises
    ------
    UserError
        If an image cannot be read, or holds no two stains.
    """
    import hashlib

    from ksfusion.provenance import provenance
    from ksfusion.slides.backends import PlainImageBackend
    from ksfusion.storage import write_text

    pooled, images = [], []
    for path in map(Path, paths):
        try:
            image = PlainImageBackend(path)
        except SlideError as error:
            raise UserError(f"{error}; a stain target is fitted from plain images") from None
        width, height = image.dimensions
        tissue = tissue_pixels(image.region(0, 0, 0, width, height))
        if len(tissue):
            pooled.append(_thinned(tissue, POOLED_PIXELS))
        images.append({"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    if not pooled:
        raise UserError("no image with tissue was given; name at least one region of stained tissue")
    try:
        profile = fit_stain(np.concatenate(pooled))
    except DegenerateStain as error:
        raise UserError(f"the images make no stain target: {error}") from None
    content = {
        "matrix": profile.matrix.round(6).tolist(),
        "max_concentration": profile.max_concentration.round(6).tolist(),
        "provenance": {
            "method": "Vahadane dictionary of two stains (haematoxylin, eosin) on the tissue of these images",
            "images": images,
            "command": "ksfusion stain-target --output OUTPUT IMAGE [IMAGE ...]",
            **provenance("ksfusion.slides.stain"),
        },
    }
    write_text(json.dumps(content, indent=1) + "\n", output)


def read_profiles(path: Path) -> pd.DataFrame:
    """Read a table of `fit_batch`, indexed by slide_id."""
    from ksfusion.storage import read_parquet

    return read_parquet(path).set_index("slide_id")


def profile_of(row: pd.Series) -> StainProfile:
    """Return the profile in a row of `read_profiles`."""
    matrix = row[list(MATRIX_COLUMNS)].to_numpy(dtype=np.float64).reshape(2, 3)
    return StainProfile(matrix, row[list(MAXIMUM_COLUMNS)].to_numpy(dtype=np.float64), int(row["n_pixels"]))


def fit_batch(samples: Path, tiles: Path, output: Path, *, slides: Mapping[str, Any], stain: Mapping[str, Any]) -> None:
    """Fit the stain of every slide of a batch on the tissue of up to 64 of its tiles.

    A slide without two distinct stains has status ``fallback``: the target's vectors, and its own strengths.

    Parameters
    ----------
    samples
        The user's table of samples.
    tiles
        Table of `ksfusion.slides.tiling.tile_batch`.
    output
        Parquet: slide_id, status, reason, h_r ... e_b, h_c99, e_c99, n_pixels.
    slides, stain
        The settings blocks.
    """
    import pandas as pd

    from ksfusion.provenance import provenance
    from ksfusion.slides.sources import slide_sources
    from ksfusion.storage import read_parquet, write_parquet

    require_supported(stain["method"])
    target = load_target(stain["target"])
    sources = slide_sources(samples)
    grid = read_parquet(tiles, columns=["slide_id", "status", "reason", "x", "y"])
    rows = []
    for slide_id, of_slide in grid.groupby("slide_id", sort=True):
        status, reason, profile = "ok", "", target
        if of_slide["status"].iloc[0] != "ok":
            status, reason = "failed", of_slide["reason"].iloc[0]
        elif stain["method"] != "none":
            try:
                with open_slide(*sources[slide_id], reader=slides["reader"]) as slide:
                    pixels = _pool_tissue(slide, of_slide, slides)
                status, reason, profile = _fit_or_fall_back(pixels, target)
            except SlideError as error:
                status, reason = "failed", error.reason
                print(f"{slide_id}\t{error.reason}: {error}", file=sys.stderr, flush=True)
        if status == "failed":
            profile = StainProfile(np.full((2, 3), np.nan), np.full(2, np.nan))
        rows.append((slide_id, status, reason, *profile.matrix.ravel(), *profile.max_concentration, profile.n_pixels))
    numbers = dict.fromkeys((*MATRIX_COLUMNS, *MAXIMUM_COLUMNS), "float64") | {"n_pixels": "int64"}
    table = pd.DataFrame(rows, columns=["slide_id", "status", "reason", *numbers]).astype(numbers)
    settings = {"slides": dict(slides), "stain": dict(stain)}
    write_parquet(table, output, provenance("ksfusion.slides.stain", settings))


def _thinned(pixels: np.ndarray, count: int) -> np.ndarray:
    """Take at most ``count`` pixels, evenly."""
    return pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), count)).astype(np.int64)]


def _pool_tissue(slide: Any, tiles: pd.DataFrame, slides: Mapping[str, Any]) -> np.ndarray:
    """Return (n, 3) uint8 pixels of tissue from tiles spread over a slide."""
    corners = tiles[["x", "y"]].to_numpy()
    chosen = corners[sample_patches(len(corners), min(len(corners), TILES_PER_SLIDE))]
    stride = max(1, len(chosen) * slides["patch_px"] ** 2 // (3 * POOLED_PIXELS))
    pooled = []
    for x, y in chosen.tolist():
        patch = slide.read(x, y, slides["patch_px"], slides["mpp"])
        pooled.append(tissue_pixels(patch.reshape(-1, 3)[::stride]))
    return _thinned(np.concatenate(pooled), POOLED_PIXELS)


def _fit_or_fall_back(pixels: np.ndarray, target: StainProfile) -> tuple[str, str, StainProfile]:
    try:
        return "ok", "", fit_stain(pixels)
    except DegenerateStain as error:
        maxima = max_concentration(pixels, target.matrix) if len(pixels) else target.max_concentration
        if maxima.min() <= 0:
            maxima = target.max_concentration
        return "fallback", str(error), StainProfile(target.matrix, maxima, len(pixels))
