"""What was drawn where on a synthetic slide, tile by tile of the grid that the pipeline lays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ksfusion.demo.tissue import COARSE_UM, TEXTURE_UM, TissueMaps, cells
from ksfusion.demo.vessels import Vessel, filled

TILE_UM = 112.0  # a patch: 224 px at 0.5 um/px
TUMOUR_CELLS = ("tumour_long", "tumour_round", "tumour_pleomorphic", "mitosis", "palisade")
LYMPHOCYTE = "lymphocyte"
NORMAL_CELLS = ("neuron", "astrocyte", "oligodendrocyte")


@dataclass(frozen=True)
class Drawn:
    """What was drawn where on a slide.

    Attributes
    ----------
    cells
        Centres (n, 2) of the cells of each kind (`ksfusion.demo.nuclei.CELL_KINDS`) as x, y in micrometres; without
        those within vessels.
    vessels
        The vessels.
    maps
        Where there is tissue and necrosis.
    """

    cells: Mapping[str, np.ndarray]
    vessels: Sequence[Vessel]
    maps: TissueMaps

    def count(self, *kinds: str) -> int:
        """Return how many cells of some kinds there are."""
        return sum(len(self.cells[kind]) for kind in kinds if kind in self.cells)


def tile_truth(drawn: Drawn, shape: tuple[int, int], mpp: float) -> pd.DataFrame:
    """Return what was drawn on each tile.

    Parameters
    ----------
    drawn
        Drawn slide.
    shape
        Height and width of the slide in pixels.
    mpp
        Its pixel size in micrometres.

    Returns
    -------
    pandas.DataFrame
        One row for each whole tile of the grid, in raster order: ``x``, ``y`` (its corner in pixels of level 0),
        ``tissue``, ``vessels``, ``necrosis`` (the share of its area), ``nuclei``, ``tumour``, ``lymphocytes`` (how many
        nuclei have their centre on it: all outside of vessels but dead ones, and of these two kinds).
    """
    step = TILE_UM / mpp
    # As `ksfusion.slides.tiles.grid` lays it; its code would have all slides drawn anew whenever it changes.
    ys, xs = (np.rint(np.arange(int(length / step + 1e-9)) * step).astype(int) for length in shape)
    size_um = drawn.maps.size_um
    walls = filled(
        [outline for vessel in drawn.vessels for outline in vessel.body],
        np.zeros(2),
        (cells(size_um[0], TEXTURE_UM), cells(size_um[1], TEXTURE_UM)),
        TEXTURE_UM,
    )

    def count(*kinds: str) -> np.ndarray:
        counts = np.zeros((len(ys), len(xs)), int)
        for kind in kinds:
            pixels = np.floor(drawn.cells.get(kind, np.zeros((0, 2))) / mpp)
            column, row = np.floor(pixels / step).astype(int).T
            on_grid = (column < len(xs)) & (row < len(ys))
            np.add.at(counts, (row[on_grid], column[on_grid]), 1)
        return counts

    def share(mask: np.ndarray, pitch_um: float) -> np.ndarray:
        side = round(TILE_UM / pitch_um)
        whole = mask[: len(ys) * side, : len(xs) * side].reshape(len(ys), side, len(xs), side)
        return whole.mean(axis=(1, 3))

    columns = {
        "x": np.broadcast_to(xs, (len(ys), len(xs))),
        "y": np.broadcast_to(ys[:, None], (len(ys), len(xs))),
        "tissue": share(drawn.maps.inside_tissue > 0, COARSE_UM),
        "nuclei": count(*TUMOUR_CELLS, LYMPHOCYTE, *NORMAL_CELLS),
        "tumour": count(*TUMOUR_CELLS),
        "lymphocytes": count(LYMPHOCYTE),
        "vessels": share(walls > 127, TEXTURE_UM),
        "necrosis": share(drawn.maps.inside_necrosis > 0, COARSE_UM),
    }
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()})
