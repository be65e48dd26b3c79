"""The grid of tiles on a slide's tissue."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ksfusion.slides.reading.backends import is_remote
from ksfusion.slides.reading.fingerprint import file_digest, thumbnail_hash
from ksfusion.slides.reading.slide import Slide, SlideError, open_slide
from ksfusion.slides.tiles.masks import read_mask
from ksfusion.slides.tiles.quality import flag_tiles
from ksfusion.slides.tiles.tissue import glass_colour, strips, tissue_mask
from ksfusion.terms.flags import FLAGS

if TYPE_CHECKING:
    import pandas as pd

    from ksfusion.slides.reading.disk_image import SpooledImage

MASK_MPP = 8.0
COLUMN_TYPES = {
    "slide_id": "object",
    "status": "object",
    "reason": "object",
    "tile": "int32",
    "x": "int32",
    "y": "int32",
    "tissue": "float32",
    **dict.fromkeys(FLAGS, "bool"),
    "mpp": "float64",
    "mpp_source": "object",
    "width": "int32",
    "height": "int32",
    "tissue_mm2": "float64",
    "mask": "object",
    "digest": "object",
    "thumbnail_hash": "object",
}


def grid_corners(length: int, step: float) -> np.ndarray:
    """Return the corners round(i * step) of the whole tiles along a side of ``length`` px."""
    return np.rint(np.arange(int(length / step + 1e-9)) * step).astype(np.int32)


def _shares(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray, side: float) -> np.ndarray:
    """Return the share of tissue of each tile, of shape (rows of tiles, columns of tiles).

    Parameters
    ----------
    mask : numpy.ndarray of bool
    rows, columns
        Where the tiles start, in px of the mask.
    side
        That of a tile, in px of the mask.
    """
    across = np.empty((len(mask), len(columns)))
    for part in strips(mask.shape):
        across[part] = _sums(mask[part].T, columns, side).T
    return _sums(across, rows, side) / side**2


def _sums(values: np.ndarray, starts: np.ndarray, length: float) -> np.ndarray:
    """Add up rows from each start on over a length; those at its ends count by the part within."""
    cumulated = np.zeros((len(values) + 2, values.shape[1]))
    np.cumsum(values, axis=0, out=cumulated[1:-1])
    cumulated[-1] = cumulated[-2]

    def until(ends: np.ndarray) -> np.ndarray:
        ends = np.minimum(ends, len(values))
        whole = ends.astype(int)
        return cumulated[whole] + (ends - whole)[:, None] * (cumulated[whole + 1] - cumulated[whole])

    return until(starts + length) - until(starts)


def tile_grid(
    slide: Slide,
    *,
    mpp: float = 0.5,
    patch_px: int = 224,
    min_tissue: float = 0.5,
    min_tiles: int = 10,
    max_upsampling: float = 1.1,
    mask: np.ndarray | None = None,
) -> pd.DataFrame:
    """Lay a grid over a slide and keep the tiles with enough tissue.

    The grid starts at level-0 (0, 0); its step is patch_px * mpp / slide.mpp level-0 px, not rounded, so that nothing
    builds up; only whole tiles count.

    Parameters
    ----------
    slide
        An open slide.
    mpp
        Micrometres per px at which patches will be read.
    patch_px
        Side of a patch, in px at that scale.
    min_tissue
        Least share of a tile that is tissue.
    min_tiles
        Fewest tiles that make a slide usable.
    max_upsampling
        How many times coarser than ``mpp`` the slide may be.
    mask : numpy.ndarray of bool, optional
        Tissue of the whole slide at 8 um/px, instead of `tissue_mask` of its thumbnail.

    Returns
    -------
    pandas.DataFrame
        tile, x, y (level-0 px), tissue (share), in raster order (y, then x); ``attrs["tissue_mm2"]`` is the slide's
        area of tissue.

    Raises
    ------
    SlideError
        With reason ``too_coarse``, ``no_tissue`` or ``too_few_tiles``.
    """
    import pandas as pd

    check_scale(slide, mpp, max_upsampling)
    if mask is None:
        with slide.spooled_thumbnail(MASK_MPP) as thumbnail:
            mask = tissue_mask(thumbnail)
    if not mask.any():
        raise SlideError("no_tissue", f"{slide.path}: no tissue was found")
    step, cell = patch_px * mpp / slide.mpp, MASK_MPP / slide.mpp
    columns, rows = (grid_corners(length, step) for length in slide.dimensions)
    tissue = _shares(mask, rows / cell, columns / cell, step / cell)
    row, column = np.nonzero(tissue >= min_tissue)
    if len(row) < min_tiles:
        raise SlideError("too_few_tiles", f"{slide.path}: {len(row)} tiles with tissue; {min_tiles} are needed")
    grid = pd.DataFrame(
        {
            "tile": np.arange(len(row), dtype=np.int32),
            "x": columns[column],
            "y": rows[row],
            "tissue": tissue[row, column].astype(np.float32),
        }
    )
    grid.attrs["tissue_mm2"] = float(mask.sum()) * (MASK_MPP / 1000) ** 2
    return grid


def check_scale(slide: Slide, mpp: float, max_upsampling: float) -> None:
    """Refuse a slide that is too coarse for patches at a scale."""
    if slide.mpp > mpp * max_upsampling:
        raise SlideError("too_coarse", f"{slide.path}: {slide.mpp:g} um/px is too coarse for patches at {mpp:g}")


def find_tissue(slide: Slide, thumbnail: np.ndarray | SpooledImage, mask: Path | None) -> np.ndarray:
    """Return the tissue of a slide's thumbnail: the user's mask, or what is found in it."""
    return read_mask(mask, slide.dimensions, thumbnail.shape[:2]) if mask else tissue_mask(thumbnail)


def _tile_slide(
    path: str, mpp: float | None, mask: Path | None, settings: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tile one slide: what is known of it, and its tiles or its failure; runs in a worker process."""
    with open_slide(path, mpp, reader=settings["reader"], icc=settings["icc"]) as slide:
        width, height = slide.dimensions
        known = {"mpp": slide.mpp, "mpp_source": slide.mpp_source, "width": width, "height": height}
        scale = {name: settings[name] for name in ("mpp", "patch_px")}
        limits = {name: settings[name] for name in ("min_tissue", "min_tiles", "max_upsampling")}
        try:
            check_scale(slide, scale["mpp"], limits["max_upsampling"])
            with slide.spooled_thumbnail(MASK_MPP) as thumbnail:
                known["digest"] = "" if is_remote(path) else file_digest(path)
                known |= {"thumbnail_hash": thumbnail_hash(thumbnail), "mask": "external" if mask else "automatic"}
                grid = tile_grid(slide, **scale, **limits, mask=find_tissue(slide, thumbnail, mask))
                glass = glass_colour(thumbnail)
            flags = flag_tiles(slide, grid, glass, **scale)
        except SlideError as error:
            return known, {"reason": error.reason, "message": str(error)}
        known["tissue_mm2"] = grid.attrs["tissue_mm2"]
        return known, {**{name: grid[name].to_numpy() for name in grid}, **flags}


def tile_batch(
    samples: Path, output: Path, *, batch: int, slides: Mapping[str, Any], masks: Sequence[Path] = ()
) -> None:
    """Tile the slides of a batch; one that fails is a row with its reason.

    Parameters
    ----------
    samples
        The user's table of samples.
    output
        Parquet: slide_id, status, reason, tile, x, y, tissue, the flags (`ksfusion.terms.flags`), and of the slide mpp,
        mpp_source, width, height, tissue_mm2, mask (automatic or external), digest and thumbnail_hash
        (`ksfusion.slides.reading.fingerprint`; empty where it cannot be read); a failed slide is one row with tile -1.
    batch
        Which batch.
    slides
        The settings block.
    masks
        The user's masks of tissue, each named after its slide (`ksfusion.slides.tiles.masks`).
    """
    import pandas as pd

    from ksfusion.core.ids import batch_of
    from ksfusion.core.provenance import provenance
    from ksfusion.core.storage import write_parquet
    from ksfusion.core.timing import SlideTiming
    from ksfusion.slides.reading.slide_files import slide_sources
    from ksfusion.slides.reading.workers import IsolatedCalls

    parts, timing = [], SlideTiming(output)
    mask_of = {mask.stem: mask for mask in masks}
    with IsolatedCalls(_tile_slide, slides["timeout"]) as tile_slide:
        for slide_id, source in slide_sources(samples).items():
            if batch_of(slide_id, slides["batches"]) != batch:
                continue
            try:
                with timing.of(slide_id):
                    known, found = tile_slide(source.path, source.mpp, mask_of.get(slide_id), dict(slides))
            except SlideError as error:
                known, found = error.known, {"reason": error.reason, "message": str(error)}
            parts.append(slide_rows(slide_id, known, found))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMN_TYPES))
    made_by = provenance("ksfusion.slides.tiles.grid", {"batch": batch, "slides": dict(slides)})
    write_parquet(table.astype(COLUMN_TYPES), output, made_by)


def slide_rows(slide_id: str, known: dict[str, Any], found: dict[str, Any]) -> pd.DataFrame:
    """Make the rows of one slide, and say in the log what became of it."""
    import pandas as pd

    failed = "reason" in found
    outcome = f"{found['reason']}: {found['message']}" if failed else f"{len(found['x'])} tiles"
    print(f"{slide_id}\t{outcome}", file=sys.stderr, flush=True)
    slide = {"mpp": np.nan, "mpp_source": "", "width": 0, "height": 0, "tissue_mm2": np.nan}
    slide |= {"mask": "", "digest": "", "thumbnail_hash": ""} | known
    tiles = {"tile": [-1], "x": [-1], "y": [-1], "tissue": [np.nan]} if failed else found
    status = {"status": "failed" if failed else "ok", "reason": found["reason"] if failed else ""}
    table = pd.DataFrame({**dict.fromkeys(FLAGS, False), **tiles}).assign(slide_id=slide_id, **status, **slide)
    return table[list(COLUMN_TYPES)].astype(COLUMN_TYPES)
