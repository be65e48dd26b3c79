"""Genes that share a symbol: which one stands for it, chosen on the profiles that a fold is fitted on."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from ksfusion.terms.gene_columns import is_copy, symbol_of

log = logging.getLogger(__name__)

# Columns looked at together: bounds the memory of their copy.
COLUMNS_AT_A_TIME = 2048


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
        copied = best[best >= n_symbols]
        rows = cohorts == cohort
        for column, place in zip(copied, table.columns.get_indexer(symbols[copied]), strict=True):
            values[rows, place] = values[rows, column]
        dropped = (~np.isnan(means)).sum() - len(set(symbols[shared[~np.isnan(means)]]))
        log.info("cohort %s: %d genes share a symbol with a more expressed one and are dropped", cohort, dropped)
    return pd.DataFrame(values, table.index, table.columns, copy=False).iloc[:, :n_symbols]


def _means(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the mean of each column's present values in some rows, NaN where there are none."""
    means = np.empty(len(columns))
    for start in range(0, len(columns), COLUMNS_AT_A_TIME):
        part = values[np.ix_(rows, columns[start : start + COLUMNS_AT_A_TIME])].astype(np.float64)
        count = (~np.isnan(part)).sum(axis=0)
        with np.errstate(invalid="ignore"):
            means[start : start + part.shape[1]] = np.nansum(part, axis=0) / count
    return means
