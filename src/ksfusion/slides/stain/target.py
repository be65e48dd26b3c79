"""The stain of every slide, and the target that all are brought to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ksfusion.core.errors import UserError
from ksfusion.core.resources import resource
from ksfusion.slides.reading.slide import Slide, SlideError, open_slide
from ksfusion.slides.reading.slide_files import SlideSource, slide_sources
from ksfusion.slides.stain.reinhard import ColourProfile, fit_colour, normalise_colour
from ksfusion.slides.stain.vahadane import (
    DegenerateStain,
    StainProfile,
    fit_stain,
    max_concentration,
    normalise_stain,
    tissue_pixels,
    unlike_h_and_e,
)
from ksfusion.slides.tiles.sampling import sample_patches

if TYPE_CHECKING:
    import pandas as pd
    import torch

TARGET_RESOURCE = "stain_target.json"
TILES_PER_SLIDE = 64
POOLED_PIXELS = 200_000
# A stain weaker than this share of the target's is not amplified further: noise would be.
WEAKEST_STAIN = 0.2
MATRIX_COLUMNS = ("h_r", "h_g", "h_b", "e_r", "e_g", "e_b")
MAXIMUM_COLUMNS = ("h_c99", "e_c99")
MEAN_COLUMNS, STD_COLUMNS = ("mean_l", "mean_a", "mean_b"), ("std_l", "std_a", "std_b")
NUMBER_COLUMNS = (*MATRIX_COLUMNS, *MAXIMUM_COLUMNS, *MEAN_COLUMNS, *STD_COLUMNS)

Profile = StainProfile | ColourProfile


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

    from ksfusion.core.provenance import provenance
    from ksfusion.core.storage import write_text
    from ksfusion.slides.reading.backends import PlainImageBackend

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
        profile, colours = fit_stain(np.concatenate(pooled)), fit_colour(np.concatenate(pooled))
    except DegenerateStain as error:
        raise UserError(f"the images make no stain target: {error}") from None
    content = {
        "matrix": profile.matrix.round(6).tolist(),
        "max_concentration": profile.max_concentration.round(6).tolist(),
        "lab_mean": colours.mean.round(6).tolist(),
        "lab_std": colours.std.round(6).tolist(),
        "provenance": {
            "method": "Vahadane dictionary of two stains (haematoxylin, eosin) on the tissue of these images",
            "images": images,
            "command": "ksfusion stain-target --output OUTPUT --images IMAGE [IMAGE ...]",
            **provenance("ksfusion.slides.stain.target"),
        },
    }
    write_text(json.dumps(content, indent=1) + "\n", output)


def read_profiles(path: Path) -> pd.DataFrame:
    """Read a table of `fit_batch`, indexed by slide_id."""
    from ksfusion.core.storage import read_parquet

    return read_parquet(path).set_index("slide_id")


def profile_of(row: pd.Series) -> Profile:
    """Return the profile in a row of `read_profiles`."""

    def values(columns: tuple[str, ...]) -> np.ndarray:
        return row[list(columns)].to_numpy(dtype=np.float64)

    if np.isnan(row[MATRIX_COLUMNS[0]]):
        return ColourProfile(values(MEAN_COLUMNS), values(STD_COLUMNS), int(row["n_pixels"]))
    return StainProfile(values(MATRIX_COLUMNS).reshape(2, 3), values(MAXIMUM_COLUMNS), int(row["n_pixels"]))


def normalise(rgb: torch.Tensor, source: Profile, target: Profile) -> torch.Tensor:
    """Bring (B, H, W, 3) uint8 patches from the profile of their slide to the target's, by the method of these."""
    if isinstance(source, ColourProfile):
        return normalise_colour(rgb, source, target)
    return normalise_stain(rgb, source, target)


def fit_batch(samples: Path, tiles: Path, output: Path, *, slides: Mapping[str, Any], stain: Mapping[str, Any]) -> None:
    """Fit the stain of every slide of a batch on the tissue of up to 64 of its tiles.

    A slide without two distinct stains, with others than haematoxylin and eosin (where the target has these), or with
    one of less than a fifth of the target's strength, has status ``fallback``: the target's vectors, and its own
    strengths, each at least that fifth.

    Parameters
    ----------
    samples
        The user's table of samples.
    tiles
        Table of `ksfusion.slides.tiles.grid.tile_batch`.
    output
        Parquet: slide_id, status, reason, h_r ... e_b, h_c99, e_c99 (stain vectors and strengths), mean_l ... std_b
        (colours, for Reinhard's method), n_pixels.
    slides, stain
        The settings blocks.
    """
    import pandas as pd

    from ksfusion.core.provenance import provenance
    from ksfusion.core.storage import read_parquet, write_parquet
    from ksfusion.core.timing import SlideTiming
    from ksfusion.slides.reading.workers import IsolatedCalls

    target = load_target(stain["target"], stain["method"])
    sources = slide_sources(samples)
    grid = read_parquet(tiles, columns=["slide_id", "status", "reason", "x", "y", "pen"])
    rows, timing = [], SlideTiming(output)
    with IsolatedCalls(_fit_slide, slides["timeout"]) as fit_slide:
        for slide_id, of_slide in grid.groupby("slide_id", sort=True):
            status, reason, profile = "ok", "", target
            if of_slide["status"].iloc[0] != "ok":
                status, reason = "failed", of_slide["reason"].iloc[0]
            elif stain["method"] != "none":
                try:
                    # Ink is no stain of the slide's.
                    unmarked = of_slide if of_slide["pen"].all() else of_slide[~of_slide["pen"]]
                    corners = unmarked[["x", "y"]].to_numpy()
                    asked = (sources[slide_id], corners, dict(slides), stain["method"], target)
                    with timing.of(slide_id):
                        status, reason, profile = fit_slide(*asked)
                except SlideError as error:
                    status, reason = "failed", error.reason
                    print(f"{slide_id}\t{error.reason}: {error}", file=sys.stderr, flush=True)
            numbers = {} if status == "failed" else _columns_of(profile)
            rows.append({"slide_id": slide_id, "status": status, "reason": reason, **numbers})
    types = dict.fromkeys(NUMBER_COLUMNS, "float64") | {"n_pixels": "int64"}
    table = pd.DataFrame(rows, columns=["slide_id", "status", "reason", *types]).fillna({"n_pixels": 0}).astype(types)
    settings = {"slides": dict(slides), "stain": dict(stain)}
    write_parquet(table, output, provenance("ksfusion.slides.stain.target", settings))


def _columns_of(profile: Profile) -> dict[str, float]:
    if isinstance(profile, ColourProfile):
        names, values = (*MEAN_COLUMNS, *STD_COLUMNS), (*profile.mean, *profile.std)
    else:
        names, values = (*MATRIX_COLUMNS, *MAXIMUM_COLUMNS), (*profile.matrix.ravel(), *profile.max_concentration)
    return dict(zip(names, values, strict=True)) | {"n_pixels": profile.n_pixels}


def _fit_slide(
    source: SlideSource, corners: np.ndarray, slides: Mapping[str, Any], method: str, target: Profile
) -> tuple[str, str, Profile]:
    """Fit one slide: status, reason and profile; runs in a worker process."""
    with open_slide(*source, reader=slides["reader"], icc=slides["icc"]) as slide:
        pixels = _pool_tissue(slide, corners, slides)
    try:
        return "ok", "", fit_colour(pixels) if method == "reinhard" else _fit_two_stains(pixels, method, target)
    except DegenerateStain as error:
        return "fallback", str(error), _fallback(pixels, target)


def _fit_two_stains(pixels: np.ndarray, method: str, target: StainProfile) -> StainProfile:
    """Fit the stains of a slide, and refuse what cannot be brought to the target's."""
    profile = fit_stain(pixels, method)
    unlike = unlike_h_and_e(profile.matrix)
    if unlike and not unlike_h_and_e(target.matrix):
        raise DegenerateStain(unlike)
    share = profile.max_concentration / target.max_concentration
    if share.min() < WEAKEST_STAIN:
        which = ("first", "second")[int(share.argmin())]
        raise DegenerateStain(f"the {which} stain is too weak: {share.min():.2f} of the target's strength")
    return profile


def _fallback(pixels: np.ndarray, target: Profile) -> Profile:
    """Return the target's stain vectors with the slide's own strengths, where it has any."""
    if isinstance(target, ColourProfile):
        return ColourProfile(target.mean, target.std, len(pixels))
    maxima = max_concentration(pixels, target.matrix) if len(pixels) else target.max_concentration
    return StainProfile(target.matrix, np.maximum(maxima, WEAKEST_STAIN * target.max_concentration), len(pixels))


def _thinned(pixels: np.ndarray, count: int) -> np.ndarray:
    """Take at most ``count`` pixels, evenly."""
    return pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), count)).astype(np.int64)]


def _pool_tissue(slide: Slide, corners: np.ndarray, slides: Mapping[str, Any]) -> np.ndarray:
    """Return (n, 3) uint8 pixels of tissue from tiles spread over a slide."""
    chosen = corners[sample_patches(len(corners), min(len(corners), TILES_PER_SLIDE))]
    pooled = []
    for x, y in chosen.tolist():
        tissue = tissue_pixels(slide.read(x, y, slides["patch_px"], slides["mpp"]))
        # No tile needs to bring more than all together; most bring less, and are thinned when all are counted.
        pooled.append(_thinned(tissue, POOLED_PIXELS))
    return _thinned(np.concatenate(pooled), POOLED_PIXELS)
