"""Which patches of the demo's slides show what was planted."""

from __future__ import annotations

import pandas as pd

# Settled from the truth alone, before any model was looked at. Of patches with tissue some 67 % show tumour, 18 %
# immune clusters, 10 % vessels.
TUMOUR_NUCLEI, TUMOUR_SHARE = 10, 0.5
LYMPHOCYTES = 10
VESSEL_SHARE = 0.1
TARGETS = ("tumour", "immune", "vessels", "tme")


def planted_targets(tiles: pd.DataFrame) -> pd.DataFrame:
    """Return of each tile whether it shows what was planted.

    Parameters
    ----------
    tiles
        Rows of `ksfusion.demo.truth.tile_truth` with their slide_id.

    Returns
    -------
    pandas.DataFrame
        slide_id, x, y, and a column of bool for each of `TARGETS`: ``tumour`` (10 tumour nuclei at least, which are
        half of its nuclei), ``immune`` (10 lymphocytes at least), ``vessels`` (a tenth of its area), and ``tme``
        (either of these two).
    """
    tumour = (tiles["tumour"] >= TUMOUR_NUCLEI) & (tiles["tumour"] >= TUMOUR_SHARE * tiles["nuclei"])
    immune, vessels = tiles["lymphocytes"] >= LYMPHOCYTES, tiles["vessels"] >= VESSEL_SHARE
    found = dict(zip(TARGETS, (tumour, immune, vessels, immune | vessels), strict=True))
    return tiles[["slide_id", "x", "y"]].assign(**found)
