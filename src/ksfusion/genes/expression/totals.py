"""Rows and columns of totals, such as a spreadsheet adds: they are no gene and no profile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ksfusion.genes.expression.header import plain_name
from ksfusion.genes.expression.noted import Noted, listed
from ksfusion.genes.sets.known import known_among

CHECK = "totals_left_out"
# What totals and means are called, in small letters and digits; no HGNC symbol is among them.
TOTALS = {
    "total", "totals", "grandtotal", "sum", "sums", "sumofall", "totalcount", "totalcounts", "totalreads",
    "librarysize", "libsize", "allgenes", "allsamples", "mean", "means", "average", "avg", "median", "stdev", "stddev",
    "summe", "gesamt", "gesamtsumme", "gesamtergebnis", "mittelwert", "somme", "totaux", "moyenne", "suma", "promedio",
    "somma", "totale", "totaal", "gemiddelde",
}  # fmt: skip
# A sum of rounded values differs by no more from their rounded sum.
TOLERANCE = 1e-4
# With no more values than these, one of them is by chance the sum of the others.
FEWEST, FEWEST_PROFILES = 3, 2
GENES_LOOKED_AT, ROWS_AT_A_TIME = 200, 256


def without_totals(profiles: pd.DataFrame) -> tuple[pd.DataFrame, list[Noted]]:
    """Leave out profiles and genes that are totals: by their name, or because each value is the sum of all others.

    A known gene is none, whatever its values.

    Parameters
    ----------
    profiles : pandas.DataFrame, profiles x genes
        Values as in the file.

    Returns
    -------
    profiles : pandas.DataFrame
        The same table where there are none.
    noted : list of Noted
        What was left out.
    """
    noted = []
    profiles, left_out = _without(profiles, _total_genes(profiles), axis=1)
    if left_out:
        detail = f"{len(left_out)} genes are totals, by name or value, and left out: {listed(left_out)}"
        noted.append(Noted(CHECK, detail))
    profiles, left_out = _without(profiles, _total_profiles(profiles), axis=0)
    if left_out:
        detail = f"{len(left_out)} profiles are totals, by name or value, and left out: {listed(left_out)}"
        noted.append(Noted(CHECK, detail))
    return profiles, noted


def _without(profiles: pd.DataFrame, numbers: set[int], *, axis: int) -> tuple[pd.DataFrame, list[str]]:
    """Return the table without some of its profiles (axis 0) or genes (axis 1), and their names."""
    if not numbers:
        return profiles, []
    names = [list(profiles.index), list(profiles.columns)]
    values = np.delete(profiles.to_numpy(), sorted(numbers), axis=axis)
    left_out = [names[axis][number] for number in sorted(numbers)]
    names[axis] = [name for number, name in enumerate(names[axis]) if number not in numbers]
    return pd.DataFrame(values, *names, copy=False), left_out


def _named(names: Sequence[str]) -> set[int]:
    return {number for number, name in enumerate(names) if plain_name(name) in TOTALS}


def _total_genes(profiles: pd.DataFrame) -> set[int]:
    """Return the genes that are called totals, and unknown ones whose value is in every profile that of all others."""
    names, values = list(profiles.columns), profiles.to_numpy()
    named = _named(names)
    if values.shape[1] - len(named) <= FEWEST:
        return named
    half = (row_sums(values) - values[:, sorted(named)].sum(axis=1, where=~np.isnan(values[:, sorted(named)]))) / 2
    known = np.flatnonzero(half > 0)
    if len(known) < FEWEST_PROFILES:
        return named
    may_be = np.flatnonzero(_equal(values[known[0]], half[known[0]]))
    return named | {
        gene
        for gene in may_be.tolist()
        if not known_among([names[gene]]) and _equal(values[known, gene], half[known]).all()
    }


def _total_profiles(profiles: pd.DataFrame) -> set[int]:
    """Return the profiles that are called totals, and those whose value is in every gene that of all others."""
    values, named = profiles.to_numpy(), _named(list(profiles.index))
    others = np.array([row for row in range(len(values)) if row not in named])
    if min(len(others), values.shape[1]) <= FEWEST:
        return named
    some = values[:, :: max(1, values.shape[1] // GENES_LOOKED_AT)]
    may_be = others[_are_sums(some, others, others)]
    return named | set(may_be[_are_sums(values, others, may_be)].tolist() if len(may_be) else [])


def _are_sums(values: np.ndarray, others: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return which rows have, in every column, half of what the rows ``others``, themselves among them, add up to."""
    half = np.asarray(np.nansum(values[others], axis=0, dtype=np.float64)) / 2
    known = half > 0
    if known.sum() <= FEWEST:
        return np.zeros(len(rows), bool)
    return np.asarray(_equal(values[rows][:, known], half[known]).all(axis=1))


def row_sums(values: np.ndarray) -> np.ndarray:
    """Return the sums of the rows' present values; of many rows some at a time, which bounds the memory."""
    parts = (values[start : start + ROWS_AT_A_TIME] for start in range(0, len(values), ROWS_AT_A_TIME))
    return np.concatenate([np.nansum(part, axis=1, dtype=np.float64) for part in parts])


def _equal(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # two infinite values have no difference
        return np.abs(values - expected) <= TOLERANCE * expected
