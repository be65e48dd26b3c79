"""The patches that stand for each slide of a batch."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.slides.config import SamplePatchesSettings
from ksfusion.slides.tiles.sampling import map_order

log = logging.getLogger(__name__)

OF_TILE = ["slide_id", "status", "reason", "tile", "x", "y"]
COLUMNS = ["slide_id", "status", "reason", "position", "tile", "x", "y"]
INTEGERS = dict.fromkeys(["position", "tile", "x", "y"], "int32")
FAILURE = {"status": "failed", "reason": "too_few_tiles", "tile": -1, "x": -1, "y": -1, "position": -1}


def sample_patches(tiles: Path, output: Path, *, settings: SamplePatchesSettings) -> None:
    """Choose the patches that stand for each slide.

    Where flags leave a slide too few tiles, ``too_few_tiles`` is its reason.

    Parameters
    ----------
    tiles
        Table of `ksfusion.stages.tile_slides`.
    output
        Parquet: slide_id, status, reason, position, tile, x, y; a failed slide is one row with position -1.
    settings
        The number and the order of the patches; the flags (`ksfusion.terms.flags`) whose tiles are not chosen; and the
        fewest tiles that make a slide usable.
    """
    grid = read_parquet(tiles, columns=[*OF_TILE, *settings.exclude])
    parts = []
    for slide_id, rows in grid.groupby("slide_id", sort=True):
        usable = rows[~rows[settings.exclude].any(axis=1)]
        if rows["status"].iloc[0] != "ok":
            parts.append(rows.assign(position=-1))
        elif len(usable) < settings.min_tiles:
            log.warning("%s\ttoo_few_tiles: %d of %d tiles without flags", slide_id, len(usable), len(rows))
            parts.append(rows.head(1).assign(**FAILURE))
        else:
            chosen = usable.iloc[map_order(usable, settings.patches.count, settings.patches.order)]
            parts.append(chosen.assign(position=np.arange(len(chosen))))
    table = pd.concat(parts, ignore_index=True) if parts else grid.assign(position=0)
    write_parquet(table[COLUMNS].astype(INTEGERS), output, provenance(__name__, settings.record()))
