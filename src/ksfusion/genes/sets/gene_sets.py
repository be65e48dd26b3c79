"""Gene sets: which genes speak of the tumour and which of its microenvironment (TME)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ksfusion.genes.sets.set_files import read_gene_set
from ksfusion.genes.sets.shipped import shipped_files
from ksfusion.genes.sets.symbols import current_symbols
from ksfusion.terms.gene_sets import BUILTIN, NEWEST, is_builtin
from ksfusion.terms.niches import NICHES

RULE = "listed in both niches: counts as tumour"
CONFLICT_COLUMNS = ["symbol", "kept", "kept_categories", "dropped", "dropped_categories", "rule"]

Sets = str | Path | Mapping[str, str | Path]


def gene_sets(sets: Sets = BUILTIN, *, names: str = NEWEST) -> pd.DataFrame:
    """Return the genes of the two niches.

    A gene listed in both niches belongs to the tumour: a marker of tumour cells that immune cells express too would
    otherwise carry tumour signal into the TME stream (`conflicts` lists such genes). A gene may stand in several
    categories of its niche; the first one listed describes it wherever one is wanted.

    Parameters
    ----------
    sets
        ``"builtin"`` for the newest of the shipped sets, ``"builtin-0.1.0"`` for one of a certain version, the path of
        a tab-separated table with the columns below, or a mapping of niche to any of these but a table of both (see
        `ksfusion.genes.sets.set_files.read_gene_set`); a niche left out is builtin.
    names
        The version of the shipped sets whose previous symbols are those of the user's own file, as of the expression.

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
    table = _listed(sets, names)
    return table[~_in_both(table)].reset_index(drop=True)


def conflicts(sets: Sets = BUILTIN, *, names: str = NEWEST) -> pd.DataFrame:
    """Return the genes that the sets list in both niches: symbol, the niche kept and that dropped, and the rule.

    Parameters
    ----------
    sets, names
        Arguments of `gene_sets`.

    Returns
    -------
    DataFrame
        Columns symbol, kept, kept_categories, dropped, dropped_categories and rule.
    """
    table = _listed(sets, names)
    both = table[table["symbol"].isin(table.loc[_in_both(table), "symbol"])]
    listed = both.groupby(["symbol", "niche"])["category"].agg("; ".join).unstack("niche").reindex(columns=NICHES)
    rows = listed.reset_index().set_axis(["symbol", "kept_categories", "dropped_categories"], axis=1)
    return rows.assign(kept="tumour", dropped="tme", rule=RULE)[CONFLICT_COLUMNS]


def _listed(sets: Sets, names: str) -> pd.DataFrame:
    """Return what the files list, tumour first; of the shipped ones in the order of their versions."""
    if isinstance(sets, str) and is_builtin(sets):
        sets = dict.fromkeys(NICHES, sets)
    if isinstance(sets, Mapping):
        tables = []
        for niche in NICHES:
            file = sets.get(niche, BUILTIN)
            if isinstance(file, str) and is_builtin(file):
                tables += [read_gene_set(table, niche) for table in shipped_files(niche, file)]
            else:
                tables.append(_own(file, names, niche))
    else:
        tables = [_own(sets, names)]
    table = pd.concat(tables, ignore_index=True).drop_duplicates(["symbol", "category", "niche"])
    return table.sort_values("niche", key=lambda niche: niche.map(NICHES.index), kind="stable", ignore_index=True)


def _own(file: str | Path, names: str, niche: str | None = None) -> pd.DataFrame:
    """Read a user's file, its previous symbols brought to today's as those of expression are."""
    table = read_gene_set(Path(file), niche)
    return table.assign(symbol=current_symbols(table["symbol"].tolist(), Path(file), version=names))


def _in_both(table: pd.DataFrame) -> pd.Series:
    """Return which rows give a gene of the tumour to the TME too."""
    return (table["niche"] == "tme") & table["symbol"].isin(table.loc[table["niche"] == "tumour", "symbol"])
