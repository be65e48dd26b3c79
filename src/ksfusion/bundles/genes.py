"""The frozen genes of a fold: read from the tables that `ksfusion.stages.select_genes` wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.bundles.manifest import AGAIN
from ksfusion.bundles.members import FoldGenes
from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_tsv
from ksfusion.genes.config import Genes
from ksfusion.genes.repeated import COPY_COLUMNS
from ksfusion.genes.scaling import POOLED, Scaling
from ksfusion.terms.gene_categories import gene_groups
from ksfusion.terms.niches import NICHES

SELECTED, SCALING, COPIES = "selected.tsv", "scaling.tsv", "copies.tsv"
PARTS = ("mean", "sd", "fill")


def read_genes(folder: Path, settings: Genes | None) -> FoldGenes:
    """Read the genes of a fold and their scaling.

    Parameters
    ----------
    folder
        With ``selected.tsv``, ``scaling.tsv`` and, where genes share a symbol, ``copies.tsv``.
    settings
        Where scaled values are cut off.

    Raises
    ------
    UserError
        If a table lacks a column or a value, or the two are not of the same genes.
    """
    selected = _table(folder / SELECTED, "symbol", "niche", "category")
    scaling = read_scaling(folder / SCALING, clip=settings.clip if settings else None)
    niches = {niche: selected.loc[selected["niche"] == niche, "symbol"].tolist() for niche in NICHES}
    symbols = [symbol for of_niche in niches.values() for symbol in of_niche]
    if len(set(symbols)) != len(selected) or set(symbols) != set(scaling.mean.columns):
        raise UserError(f"{folder}: {SELECTED} and {SCALING} are not of the same genes; {AGAIN}")
    return FoldGenes(niches, gene_groups(selected), scaling, _read_copies(folder / COPIES, symbols))


def _read_copies(path: Path, symbols: list[str]) -> dict[str, dict[str, str]]:
    """Return, by cohort, the columns that count for symbols; a bundle without repeated genes has no such file."""
    if not path.is_file():
        return {}
    table = _table(path, *COPY_COLUMNS)
    if not table["symbol"].isin(symbols).all() or table.isna().any(axis=None):
        raise UserError(f"{path}: names a gene that is not one of the fold's; {AGAIN}")
    return {
        str(cohort): dict(zip(own["symbol"], own["column"], strict=True)) for cohort, own in table.groupby("cohort")
    }


def read_scaling(path: Path, *, clip: float | None) -> Scaling:
    """Read a frozen scaling: cohort, symbol, mean, sd, fill."""
    table = _table(path, "cohort", "symbol", *PARTS)
    if table.duplicated(["cohort", "symbol"]).any() or not (table["sd"] > 0).all():
        raise UserError(f"{path}: a gene stands twice, or its sd is not above 0; {AGAIN}")
    scaling = Scaling.of_table(table, clip=clip)
    parts = (scaling.mean, scaling.sd, scaling.fill)
    if POOLED not in scaling.mean.index or not all(np.isfinite(part.to_numpy(float)).all() for part in parts):
        raise UserError(f"{path}: a value is missing; {AGAIN}")
    return scaling


def _table(path: Path, *columns: str) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: is missing; {AGAIN}")
    text = dict.fromkeys(("symbol", "cohort", "niche", "category"), str)
    table = read_tsv(path, dtype=text, float_precision="round_trip")
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{path}: has no column {missing[0]}; {AGAIN}")
    return table
