"""Tiles that are marked, folded or out of focus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ksfusion.slides.reading.slide import Slide
from ksfusion.slides.tiles.tissue import ink_mask, optical_density

if TYPE_CHECKING:
    import pandas as pd

# Sharpness is judged at a level of 2 to 4 um/px, where nuclei still have an edge; ink and folds at about 8 um/px.
FINEST_MPP, COARSEST_MPP, COARSE_MPP = 2.0, 4.0, 8.0
LEVEL_TOLERANCE = 1.02
# A twentieth of the tile under ink; a tenth of it that is a fold.
LEAST_INK, LEAST_FOLD = 0.05, 0.10
# Two layers of tissue absorb twice as much as one, in the same colour (cosine); the surroundings are 9 x 9 tiles, about
# 1 mm, without those that are much denser than the rest.
FOLD_DENSITY, FOLD_COLOUR = 1.6, 0.995
SURROUNDINGS, MUCH_DENSER = 9, 1.25
# Energy of the finest details over that of details twice as large. Sharp tissue has 2.3 and more; blurred by a Gaussian
# of one pixel of that level, about 0.7 to 1.1. Contrast, stain and scanner cancel out.
LEAST_SHARPNESS = 1.2
NOISE_ENERGY = 1e-6


def flag_tiles(
    slide: Slide, tiles: pd.DataFrame, glass: np.ndarray, *, mpp: float = 0.5, patch_px: int = 224
) -> dict[str, np.ndarray]:
    """Look for pen marks, folds and blur in the tiles of a slide.

    Tissue of one colour that is in places twice as dense, such as skin with its epidermis, has "folds" there; brain has
    not.

    Only blocks with tiles are read, one at a time, so that memory grows with the tiles alone.

    Parameters
    ----------
    slide
        An open slide.
    tiles
        Level-0 corners ``x`` and ``y`` and share of ``tissue`` of its tiles (see `ksfusion.slides.tile_grid`).
    glass : numpy.ndarray of shape (3,)
        The colour of empty glass (see `ksfusion.slides.tiles.tissue.glass_colour`).
    mpp, patch_px
        Scale and side of a patch: what the grid was made with.

    Returns
    -------
    dict of str to numpy.ndarray of bool, shape (tiles,)
        By name of the flag.

    References
    ----------
    The measure of blur compares an image with its own blurred version, as F. Crete et al., The blur effect, SPIE 6492
    (2007) does.
    """
    step = patch_px * mpp / slide.mpp
    cell = np.rint(tiles[["y", "x"]].to_numpy() / step).astype(np.int64)
    ink, sharpness, peak = (np.zeros(len(tiles), dtype=np.float32) for _ in range(3))
    colour, peak_colour = (np.zeros((len(tiles), 3), dtype=np.float32) for _ in range(2))
    for members, fine, coarse in _blocks(slide, cell, patch_px * mpp, glass):
        ink[members] = ink_mask(coarse).mean(axis=(1, 2))
        sharpness[members] = fine
        colour[members] = coarse.mean(axis=(1, 2))
        peak[members], peak_colour[members] = _densest(coarse)
    around = _surroundings(cell, colour, tiles["tissue"].to_numpy())
    alike = (around * peak_colour).sum(axis=1) >= FOLD_COLOUR * _length(around) * _length(peak_colour)
    pen = ink >= LEAST_INK
    return {
        "pen": pen,
        "fold": (peak >= FOLD_DENSITY * around.mean(axis=1)) & alike & ~pen,
        "blur": sharpness < LEAST_SHARPNESS,
    }


def _blocks(
    slide: Slide, cell: np.ndarray, tile_um: float, glass: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield of each block of tiles their positions, their sharpness, and their optical densities (n, px, px, 3)."""
    coarse_px, factor = _tile_px(slide.level_mpp, tile_um)
    fine_px = coarse_px * factor
    step = tile_um / slide.mpp
    side = max(1, slide.block_px(tile_um / fine_px) // fine_px)  # of a block, in tiles
    blocks, block_of = np.unique(cell // side, axis=0, return_inverse=True)
    order = np.argsort(block_of.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(block_of.ravel()))
    for corner, members in zip(blocks * side, np.split(order, ends[:-1]), strict=True):
        row, column = (cell[members] - corner).T
        rgb = slide.read(corner[1] * step, corner[0] * step, side * fine_px, tile_um / fine_px)
        small = cv2.resize(rgb, (side * coarse_px,) * 2, interpolation=cv2.INTER_AREA)
        tiles = optical_density(small, glass).reshape(side, coarse_px, side, coarse_px, 3).swapaxes(1, 2)
        yield members, _sharpness(rgb, glass, side)[row, column], tiles[row, column]


def _tile_px(level_mpp: tuple[float, ...], tile_um: float) -> tuple[int, int]:
    """Return the side of a tile in coarse px, and how many fine px a coarse one has.

    Fine are the px of the finest level of 2 to 4 um/px, or a little coarser, so that this level and no finer is read.
    """
    low, high = FINEST_MPP / LEVEL_TOLERANCE, COARSEST_MPP * LEVEL_TOLERANCE
    fine_mpp = min((level for level in level_mpp if low <= level <= high), default=FINEST_MPP)
    factor = max(1, round(COARSE_MPP / fine_mpp))
    return max(1, int(tile_um / (fine_mpp * factor) + 1e-6)), factor


def _sharpness(rgb: np.ndarray, glass: np.ndarray, side: int) -> np.ndarray:
    """Return of each tile of a block the energy of its finest details over that of the next, of shape (side, side)."""
    density = optical_density(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), glass.mean(keepdims=True))
    once = cv2.GaussianBlur(density, (0, 0), 1)
    twice = cv2.GaussianBlur(once, (0, 0), 3**0.5)  # together a standard deviation of 2
    fine, middle = (
        cv2.resize(part * part, (side, side), interpolation=cv2.INTER_AREA) for part in (density - once, once - twice)
    )
    return fine / (middle + NOISE_ENERGY)


def _densest(density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least density of the densest part of each tile, and that part's colour (n, 3)."""
    smooth = np.stack([cv2.GaussianBlur(tile, (0, 0), 1) for tile in density])
    mean = smooth.mean(axis=3)
    least = np.quantile(mean, 1 - LEAST_FOLD, axis=(1, 2)).astype(np.float32)
    dense = mean >= least[:, None, None]
    return least, (smooth * dense[..., None]).sum(axis=(1, 2)) / dense.sum(axis=(1, 2))[:, None]


def _surroundings(cell: np.ndarray, colour: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """Return the mean optical density of the tissue round each tile, folds left out, of shape (tiles, 3)."""
    row, column = cell.T

    def mean_of(kept: np.ndarray) -> np.ndarray:
        total = np.zeros((*(cell.max(axis=0) + 1), 4), dtype=np.float32)
        total[row[kept], column[kept]] = np.column_stack([colour, tissue])[kept]
        total = cv2.boxFilter(total, -1, (SURROUNDINGS, SURROUNDINGS), normalize=False, borderType=cv2.BORDER_CONSTANT)[
            row, column
        ]
        return total[:, :3] / np.maximum(total[:, 3:], 1e-6)

    first = mean_of(np.ones(len(cell), dtype=bool))
    second = mean_of(colour.mean(axis=1) <= MUCH_DENSER * tissue * first.mean(axis=1))
    return np.where(second.any(axis=1, keepdims=True), second, first)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=1)
