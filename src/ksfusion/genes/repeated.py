"""Genes that share a symbol: which one stands for it, chosen on the profiles that a fold is fitted on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ksfusion.terms.gene_columns import PROFILE_KEYS, is_copy, symbol_of

log = logging.getLogger(__name__)

# Columns looked at together: bounds the memory of their copy.
COLUMNS_AT_A_TIME = 2048
COPY_COLUMNS = ["cohort", "symbol", "column"]


def most_expressed(means: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """Return the positions of the genes with the highest mean of their symbol, in order; of equal ones the first.

    Parameters
    ----------
    means : numpy.ndarray, (genes,)
        NaN for a gene without values.
    symbols : numpy.ndarray, (genes,)
        Symbol of each gene.
    """
    ranked = pd.Series(np.where(np.isnan(means), -np.inf, means))
    return np.sort(ranked.groupby(symbols, sort=False).idxmax().to_numpy())


def chosen_copies(profiles: pd.DataFrame, fitted: pd.DataFrame) -> pd.DataFrame:
    """Return which gene counts for a symbol where it is not the first of its file: what `resolve_repeated` goes by.

    Parameters
    ----------
    profiles : pandas.DataFrame, profiles x columns
        As in ``genes/profiles.parquet``, indexed by cohort and expression_id; nothing is changed.
    fitted : pandas.DataFrame
        Samples whose profiles may be used.

    Returns
    -------
    pandas.DataFrame
        cohort, symbol and column.
    """
    keys = pd.MultiIndex.from_frame(fitted[list(PROFILE_KEYS)]).unique().sort_values()
    rows = [
        (cohort, symbol_of(profiles.columns[column]), profiles.columns[column])
        for cohort, columns in _chosen(profiles, profiles.index.get_indexer(keys))
        for column in columns
    ]
    return pd.DataFrame(rows, columns=COPY_COLUMNS)


def resolve_repeated(table: pd.DataFrame, fitted: np.ndarray) -> pd.DataFrame:
    """Keep, of genes that share a symbol, the one with the highest mean over the fitted profiles of each cohort.

    A cohort without fitted profiles keeps the gene that stands first in its file: its own values are not looked at.

    Parameters
    ----------
    table : pandas.DataFrame, profiles x columns
        Table as in ``genes/profiles.parquet``, copies last, indexed by cohort and expression_id; changed in place.
    fitted
        Numbers of the rows of fitted profiles, whose values may be used.

    Returns
    -------
    pandas.DataFrame
        Profiles x symbols, in the order of ``table``.
    """
    n_symbols = len(table.columns) - sum(map(is_copy, table.columns))
    if n_symbols == len(table.columns):
        return table
    values, cohorts = table.to_numpy(), table.index.get_level_values("cohort").to_numpy()
    for cohort, copied in _chosen(table, fitted):
        symbols = [symbol_of(table.columns[column]) for column in copied]
        rows = cohorts == cohort
        for column, place in zip(copied, table.columns.get_indexer(symbols), strict=True):
            values[rows, place] = values[rows, column]
    return pd.DataFrame(values, table.index, table.columns, copy=False).iloc[:, :n_symbols]


def _chosen(table: pd.DataFrame, fitted: np.ndarray) -> Iterator[tuple[str, list[int]]]:
    """Yield each cohort with fitted profiles, and the columns of the copies that count there in place of the first."""
    n_symbols = len(table.columns) - sum(map(is_copy, table.columns))
    if n_symbols == len(table.columns):
        return
    symbols = np.array([symbol_of(name) for name in table.columns], object)
    shared = np.flatnonzero(np.isin(symbols, symbols[n_symbols:]))
    values, cohorts = table.to_numpy(), table.index.get_level_values("cohort").to_numpy()
    for cohort in np.unique(cohorts):
        own = fitted[cohorts[fitted] == cohort]
        if not len(own):
            log.warning(
                "cohort %s: no fitted profile; of genes that share a symbol the first of its file counts", cohort
            )
            continue
        means = _means(values, own, shared)
        best = shared[most_expressed(means, symbols[shared])]
        dropped = (~np.isnan(means)).sum() - len(set(symbols[shared[~np.isnan(means)]]))
        log.info("cohort %s: %d genes share a symbol with a more expressed one and are dropped", cohort, dropped)
        yield cohort, best[best >= n_symbols].tolist()


def _means(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the mean of each column's present values in some rows, NaN where there are none."""
    means = np.empty(len(columns))
    for start in range(0, len(columns), COLUMNS_AT_A_TIME):
        part = values[np.ix_(rows, columns[start : start + COLUMNS_AT_A_TIME])].astype(np.float64)
        count = (~np.isnan(part)).sum(axis=0)
        with np.errstate(invalid="ignore"):
            means[start : start + part.shape[1]] = np.nansum(part, axis=0) / count
    return means
