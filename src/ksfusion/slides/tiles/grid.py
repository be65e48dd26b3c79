"""The grid of tiles on a slide's tissue."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ksfusion.slides.config import MasksOrigin, Tiling
from ksfusion.slides.reading.disk_image import DiskImage, strips
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.fingerprint import file_digest, thumbnail_hash
from ksfusion.slides.reading.slide import Slide, open_source
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.tiffslide_backend import is_remote
from ksfusion.slides.tiles.masks import Frame, Origin, read_mask
from ksfusion.slides.tiles.quality import flag_tiles
from ksfusion.slides.tiles.tissue import glass_colour, tissue_mask

MASK_MPP = 8.0


def grid_corners(length: int, step: float) -> np.ndarray:
    """Return the corners round(i * step) of the whole tiles along a side of ``length`` px."""
    return np.rint(np.arange(int(length / step + 1e-9)) * step).astype(np.int32)


def _shares(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray, side: float) -> np.ndarray:
    """Return the share of tissue of each tile, of shape (rows of tiles, columns of tiles).

    Parameters
    ----------
    mask : numpy.ndarray of bool
        Mask of tissue.
    rows, columns
        Starts of the tiles, in px of the mask.
    side
        Side of a tile, in px of the mask.
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
        Largest factor by which the slide may be coarser than ``mpp``.
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
    check_scale(slide, mpp, max_upsampling)
    if mask is None:
        with slide.thumbnail_on_disk(MASK_MPP) as thumbnail:
            mask = tissue_mask(thumbnail, scanned=_frame(slide, thumbnail).scanned())
    return _lay_grid(slide, mask, mpp=mpp, patch_px=patch_px, min_tissue=min_tissue, min_tiles=min_tiles)


def check_scale(slide: Slide, mpp: float, max_upsampling: float) -> None:
    """Raise SlideError with reason ``too_coarse`` for a slide that is too coarse for patches at a scale."""
    if slide.mpp > mpp * max_upsampling:
        raise SlideError("too_coarse", f"{slide.path}: {slide.mpp:g} um/px is too coarse for patches at {mpp:g}")


def _lay_grid(
    slide: Slide, mask: np.ndarray, *, mpp: float, patch_px: int, min_tissue: float, min_tiles: int
) -> pd.DataFrame:
    """Return the grid of a slide whose scale will do, on the mask of its tissue; see `tile_grid`."""
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


class Tissue(NamedTuple):
    """The tissue of a slide.

    Attributes
    ----------
    mask : numpy.ndarray of bool
        On the thumbnail.
    share : float
        Of what was scanned.
    masks_origin : str
        What the coordinates of the user's mask start at; empty where there is none.
    """

    mask: np.ndarray
    share: float
    masks_origin: Origin | Literal[""]


def _frame(slide: Slide, thumbnail: np.ndarray | DiskImage) -> Frame:
    return Frame(slide.dimensions, thumbnail.shape[:2], slide.bounds)


def find_tissue(
    slide: Slide, thumbnail: np.ndarray | DiskImage, mask: Path | None, masks_origin: MasksOrigin
) -> Tissue:
    """Return the tissue of a slide's thumbnail: the user's mask, or what is found in it.

    Raises
    ------
    SlideError
        With reason ``unreadable`` for a mask that is no mask of the slide, ``no_tissue`` for one without any.
    """
    frame = _frame(slide, thumbnail)
    scanned = frame.scanned()

    def found() -> np.ndarray:
        return tissue_mask(thumbnail, scanned=scanned)

    if mask is None:
        tissue = found()
        return Tissue(tissue, float(tissue[scanned].mean()), "")
    given = read_mask(mask, frame, origin=masks_origin, found=found)
    if not given.tissue.any():
        classes = f" (polygons of {', '.join(given.left_out)} are left out)" if given.left_out else ""
        raise SlideError("no_tissue", f"mask {mask}: marks no tissue{classes}; draw it again, or remove it")
    return Tissue(given.tissue, float(given.tissue[scanned].mean()), given.origin)


def tile_slide(
    source: SlideSource, mask: Path | None, settings: Tiling
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Tile a slide and look for flaws in its tiles; runs in a worker process.

    Parameters
    ----------
    source
        The slide's file.
    mask
        The user's mask of its tissue; None where there is none.
    settings
        The settings of reading and tiling.

    Returns
    -------
    known : dict
        What is known of the slide: mpp, mpp_source, width, height, digest, thumbnail_hash, mask, masks_origin,
        tissue_mm2, tissue_share.
    tiles : dict of str to numpy.ndarray of shape (tiles,)
        tile, x, y, tissue, and the flags (`ksfusion.terms.flags`).

    Raises
    ------
    SlideError
        With any reason, and with what was known of the slide by then.
    """
    mpp, patch_px = settings.mpp, settings.patch_px
    with open_source(source, settings) as slide:
        width, height = slide.dimensions
        known: dict[str, Any] = {"mpp": slide.mpp, "mpp_source": slide.mpp_source, "width": width, "height": height}
        try:
            check_scale(slide, mpp, settings.max_upsampling)
            with slide.thumbnail_on_disk(MASK_MPP) as thumbnail:
                known["digest"] = "" if is_remote(source.path) else file_digest(source.path)
                known |= {"thumbnail_hash": thumbnail_hash(thumbnail), "mask": "external" if mask else "automatic"}
                tissue = find_tissue(slide, thumbnail, mask, settings.masks_origin)
                known |= {"masks_origin": tissue.masks_origin, "tissue_share": tissue.share}
                grid = _lay_grid(
                    slide,
                    tissue.mask,
                    mpp=mpp,
                    patch_px=patch_px,
                    min_tissue=settings.min_tissue,
                    min_tiles=settings.min_tiles,
                )
                glass = glass_colour(thumbnail, scanned=_frame(slide, thumbnail).scanned())
            flags = flag_tiles(slide, grid, glass, mpp=mpp, patch_px=patch_px)
        except SlideError as error:
            raise SlideError(error.reason, str(error), known) from None
    return known | {"tissue_mm2": grid.attrs["tissue_mm2"]}, {name: grid[name].to_numpy() for name in grid} | flags
