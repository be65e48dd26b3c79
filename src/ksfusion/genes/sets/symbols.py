"""Gene names: Ensembl ids and previous symbols brought to the symbols that HGNC uses now."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.genes.repeated import most_expressed
from ksfusion.genes.sets.known import bare_name
from ksfusion.genes.sets.shipped import ensembl_symbols, read_shipped, shipped_symbols
from ksfusion.genes.sets.spreadsheets import dates_among
from ksfusion.terms.gene_sets import NEWEST

log = logging.getLogger(__name__)


@functools.cache
def previous_symbols(version: str = NEWEST) -> dict[str, str]:
    """Map the previous symbols that a version of the shipped sets lists (``aliases.tsv``) to the symbols of today.

    A name that is itself a symbol of today, in the shipped gene sets or in that table, maps to nothing.
    """
    table = read_shipped("aliases", version)
    current = shipped_symbols(version) | set(table["symbol"])
    return table[~table["previous"].isin(current)].set_index("previous")["symbol"].to_dict()


def is_ensembl_id(name: str) -> bool:
    """Return whether a name is the Ensembl id of a human gene."""
    return name.startswith("ENSG") and name[4:15].isdecimal()


def symbols_of_ids(ids: Iterable[str], symbols: Iterable[str]) -> dict[str, str]:
    """Return the pairs of Ensembl id (without version) and symbol that a source has side by side."""
    pairs = ((bare_name(gene.strip()), symbol.strip()) for gene, symbol in zip(ids, symbols, strict=True))
    return {gene: symbol for gene, symbol in pairs if is_ensembl_id(gene) and symbol and not is_ensembl_id(symbol)}


def current_symbols(
    names: list[str], path: Path, symbol_of_id: Mapping[str, str] | None = None, version: str = NEWEST
) -> list[str]:
    """Return the symbol of each gene of a table.

    Ensembl ids lose their version, and get the symbol that the shipped sets, else ``symbol_of_id``, has. A previous
    symbol becomes the symbol of today, unless the table has that one too: then the two columns stay apart, and are
    counted as a conflict.

    Parameters
    ----------
    names
        Gene names of one table.
    path
        Its file, for the log.
    symbol_of_id
        Symbols of other Ensembl ids.
    version
        The version of the shipped sets whose Ensembl ids and previous symbols count.
    """
    of_ensembl, of_previous = {**(symbol_of_id or {}), **ensembl_symbols(version)}, previous_symbols(version)
    stripped = [bare_name(str(name).strip()) for name in names]
    symbols = [of_ensembl.get(name, name) for name in stripped]
    present = set(symbols)
    if dates := dates_among(present):
        log.warning(
            "%s: %d gene names are dates, as spreadsheets make of SEPTIN and MARCHF symbols (%s); correct them",
            path, len(dates), ", ".join(dates[:5]),
        )  # fmt: skip
    previous = {name: of_previous[name] for name in present if name in of_previous}
    conflicts = {name: symbol for name, symbol in previous.items() if symbol in present}
    if len(previous) > len(conflicts):
        log.info("%s: %d previous symbols are brought to today's", path, len(previous) - len(conflicts))
    if conflicts:
        listed = ", ".join(f"{name} ({symbol})" for name, symbol in sorted(conflicts.items())[:5])
        log.warning(
            "%s: %d previous symbols keep their name, the table has today's symbol as well: %s",
            path, len(conflicts), listed,
        )  # fmt: skip
    return [symbol if symbol in conflicts else previous.get(symbol, symbol) for symbol in symbols]


def one_column_per_symbol(
    profiles: pd.DataFrame, path: Path, symbol_of_id: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Name genes by symbol and keep, of several genes with one symbol, the one with the highest mean.

    Parameters
    ----------
    profiles
        Profiles x genes in log units; gene names may repeat.
    path, symbol_of_id
        Arguments of `current_symbols`.

    Returns
    -------
    DataFrame
        Profiles x symbols, in the order of the file; of equal means the first gene is kept.
    """
    symbols = pd.Index(current_symbols(list(profiles.columns), path, symbol_of_id), dtype=object)
    if symbols.has_duplicates:
        shared = np.flatnonzero(symbols.duplicated(keep=False))
        means = np.zeros(len(symbols))
        means[shared] = profiles.iloc[:, shared].mean()
        best = most_expressed(means, symbols.to_numpy())
        n_dropped = len(symbols) - len(best)
        log.info("%s: %d genes share a symbol with a more expressed one and are dropped", path, n_dropped)
        profiles, symbols = profiles.iloc[:, best], symbols[best]
    index = profiles.index.rename("expression_id")
    # set_axis and rename_axis would copy the values.
    return pd.DataFrame(profiles.to_numpy(), index, symbols, copy=False)
