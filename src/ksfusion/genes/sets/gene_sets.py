"""Gene sets: which genes speak of the tumour and which of its microenvironment (TME)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ksfusion.genes.sets.set_files import read_gene_set
from ksfusion.genes.sets.shipped import shipped_file
from ksfusion.genes.sets.symbols import current_symbols
from ksfusion.terms.niches import NICHES

BUILTIN = "builtin"
RULE = "listed in both niches: counts as tumour"
CONFLICT_COLUMNS = ["symbol", "kept", "kept_categories", "dropped", "dropped_categories", "rule"]

Sets = str | Path | Mapping[str, str | Path]


def gene_sets(sets: Sets = BUILTIN) -> pd.DataFrame:
    """Return the genes of the two niches.

    A gene listed in both niches belongs to the tumour: a marker of tumour cells that immune cells express too would
    otherwise carry tumour signal into the TME stream (`conflicts` lists such genes). A gene may stand in several
    categories of its niche; the first one listed describes it wherever one is wanted.

    Parameters
    ----------
    sets
        ``"builtin"`` for the shipped sets, the path of a tab-separated table with the columns below, or a mapping of
        niche to ``"builtin"`` or a file (see `ksfusion.genes.sets.set_files.read_gene_set`); a niche left out is
        builtin.

    Returns
    -------
    DataFrame
        Columns symbol (HGNC), category, niche (``"tumour"`` or ``"tme"``) and source; one row for each symbol and
        category, tumour first.

    Raises
    ------
    UserError
        If a file cannot be read, lacks a column, is empty or names an unknown niche.
    """
    table = _listed(sets)
    return table[~_in_both(table)].reset_index(drop=True)


def conflicts(sets: Sets = BUILTIN) -> pd.DataFrame:
    """Return the genes that the sets list in both niches: symbol, the niche kept and that dropped, and the rule.

    Parameters
    ----------
    sets
        As of `gene_sets`.

    Returns
    -------
    DataFrame
        Columns symbol, kept, kept_categories, dropped, dropped_categories and rule.
    """
    table = _listed(sets)
    both = table[table["symbol"].isin(table.loc[_in_both(table), "symbol"])]
    listed = both.groupby(["symbol", "niche"])["category"].agg("; ".join).unstack("niche").reindex(columns=NICHES)
    rows = listed.reset_index().set_axis(["symbol", "kept_categories", "dropped_categories"], axis=1)
    return rows.assign(kept="tumour", dropped="tme", rule=RULE)[CONFLICT_COLUMNS]


def _listed(sets: Sets) -> pd.DataFrame:
    """Return what the files list, tumour first."""
    if sets == BUILTIN:
        sets = {}
    if isinstance(sets, Mapping):
        files = [(sets.get(niche, BUILTIN), niche) for niche in NICHES]
        tables = [
            read_gene_set(shipped_file(niche), niche) if file == BUILTIN else _own(file, niche) for file, niche in files
        ]
    else:
        tables = [_own(sets)]
    table = pd.concat(tables, ignore_index=True).drop_duplicates(["symbol", "category", "niche"])
    return table.sort_values("niche", key=lambda niche: niche.map(NICHES.index), kind="stable", ignore_index=True)


def _own(file: str | Path, niche: str | None = None) -> pd.DataFrame:
    """Read a user's file, its previous symbols brought to today's as those of expression are."""
    table = read_gene_set(Path(file), niche)
    return table.assign(symbol=current_symbols(table["symbol"].tolist(), Path(file)))


def _in_both(table: pd.DataFrame) -> pd.Series:
    """Return which rows give a gene of the tumour to the TME too."""
    return (table["niche"] == "tme") & table["symbol"].isin(table.loc[table["niche"] == "tumour", "symbol"])
