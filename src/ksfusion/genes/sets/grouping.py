"""The groups that a user's file makes of the selected genes: sets with a common function, as many as it has."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.genes.sets.set_files import read_gene_set
from ksfusion.genes.sets.symbols import current_symbols
from ksfusion.terms.gene_categories import BETWEEN_GROUPS, GROUPS
from ksfusion.terms.gene_sets import BUILTIN
from ksfusion.terms.niches import NICHES

log = logging.getLogger(__name__)


def with_groups(selected: pd.DataFrame, groups: str, *, names: str) -> pd.DataFrame:
    """Return the selected genes with the groups of each, in a column of its own.

    Parameters
    ----------
    selected : pandas.DataFrame
        Genes of a fold, with a column symbol.
    groups
        ``builtin``, for the categories of the gene sets, which need no column; or a GMT file, each of whose sets is a
        group. A gene may be in several, or in none.
    names
        Version of the shipped gene sets whose previous symbols are those of the file, as of the expression.

    Raises
    ------
    UserError
        If the file cannot be read, a name in it has the sign that separates groups, or none of the genes is in it.
    """
    if groups == BUILTIN:
        return selected
    path = Path(groups)
    # The niche of a gene is known: the file is asked for its sets alone.
    table = read_gene_set(path, NICHES[0])
    if (marked := table["category"].str.contains(BETWEEN_GROUPS.strip(), regex=False)).any():
        name = table.loc[marked, "category"].iloc[0]
        raise UserError(f"{path}: set {name!r} has {BETWEEN_GROUPS.strip()!r} in its name; rename it")
    table = table.assign(symbol=current_symbols(table["symbol"].tolist(), path, version=names))
    table = table[table["symbol"].isin(selected["symbol"])].drop_duplicates(["symbol", "category"])
    if table.empty:
        raise UserError(f"genes.groups: none of the {len(selected)} selected genes is in {path}; name another file")
    joined = table.groupby("symbol")["category"].agg(BETWEEN_GROUPS.join)
    log.info(
        "%d groups of %s have selected genes, %d of %d", table["category"].nunique(), path, len(joined), len(selected)
    )
    return selected.assign(**{GROUPS: selected["symbol"].map(joined)})
