"""Values that cannot be of the unit they are declared in: log2 values as counts, linear ones as log, mutations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ksfusion.genes.expression.noted import Noted, listed
from ksfusion.terms.units import ExpressionUnit

CHECK = "unit_looks_wrong"
# With fewer genes nothing is said of a unit, with fewer profiles nothing of how they differ.
FEWEST_GENES, FEWEST_PROFILES = 20, 3
# Log2 of what a gene can have ends at 20 for parts of a million and at 25 for reads; the highest gene of a profile in
# counts, TPM or FPKM has more, and no logarithm reaches 40.
HIGHEST_LOG, NO_LOG = 25, 40
# The parts of a million that a profile has, with what rounding adds; library sizes differ by more than this from one
# profile to the next, sums of parts do not.
MILLION, ROUNDING, SPREAD_OF_LIBRARIES = 1e6, 0.05, 0.05
# Calls of mutations (0, 1) and of copy numbers (-2 to 2).
HIGHEST_CALL = 2
# Some logarithms are whole numbers, such as that of 1 + 1; of reads all are.
MOST_WHOLE_LOGS = 0.9
# Of how many genes a z-score must have mean 0 and sd 1, how nearly, and among how many profiles.
NEARLY_ALL, NEARLY, PROFILES_OF_ZSCORES = 0.95, 0.02, 10
GENES_LOOKED_AT, ROWS_AT_A_TIME = 500, 256


class _Range(NamedTuple):
    """Of each profile: lowest and highest value, the share of whole numbers but 0, the sum, the number of values."""

    lowest: np.ndarray
    highest: np.ndarray
    whole: np.ndarray
    total: np.ndarray
    n_values: np.ndarray


def unit_findings(values: np.ndarray, ids: Sequence[str], unit: ExpressionUnit) -> Iterator[Noted]:
    """Yield what speaks against the unit of a table, with what was seen and the remedy.

    Parameters
    ----------
    values : numpy.ndarray, (profiles, genes)
        Values as in the file; NaN where missing.
    ids
        Ids of the profiles.
    unit
        Unit as declared.
    """
    if values.shape[1] < FEWEST_GENES:
        return
    seen = _look(values)
    known = seen.n_values >= FEWEST_GENES
    if not known.any():
        return
    lowest, highest = seen.lowest[known].min(), seen.highest[known].max()
    if (seen.whole[known] == 1).all() and lowest >= -HIGHEST_CALL and highest <= HIGHEST_CALL:
        of = "mutations" if lowest >= 0 and highest <= 1 else "mutations or copy numbers"
        detail = f"declared {unit}, and all values are whole numbers from {lowest:g} to {highest:g}, as tables of {of}"
        yield Noted(CHECK, f"{detail} have; give expression")
        return
    if unit in ("counts", "tpm", "fpkm"):
        yield from _linear(seen, known, ids, unit)
    elif unit == "log":
        yield from _log(values, seen, known, ids)
    elif lowest >= 0 and known.sum() >= FEWEST_PROFILES:
        other = "log" if highest < HIGHEST_LOG else "counts, tpm or fpkm"
        detail = f"declared zscore, and no value is below 0 (from {lowest:g} to {highest:g})"
        yield Noted(CHECK, f"{detail}; z-scores lie on both sides of it: set unit: {other}")


def _linear(seen: _Range, known: np.ndarray, ids: Sequence[str], unit: ExpressionUnit) -> Iterator[Noted]:
    of_logs = (seen.whole < MOST_WHOLE_LOGS) | (unit != "counts")
    if (low := known & (seen.highest < HIGHEST_LOG) & of_logs).any():
        detail = f"declared {unit}, and the highest value of {_which(low, known, ids)} is {seen.highest[low].max():.3g}"
        yield Noted(CHECK, f"{detail}, as of log2 values; if they are, set unit: log")
        return
    sums, is_million = seen.total[known], np.abs(seen.total - MILLION) < ROUNDING * MILLION
    if unit == "counts" and (parts := known & is_million & (seen.whole < MOST_WHOLE_LOGS)).sum() * 2 > known.sum():
        detail = f"declared counts, and fractions of {_which(parts, known, ids)} add up to a million"
        yield Noted(CHECK, f"{detail}, as of TPM; if they are, set unit: tpm")
    varies = len(sums) >= FEWEST_PROFILES and sums.std() > SPREAD_OF_LIBRARIES * sums.mean()
    if unit == "counts" or not varies:
        return
    if (seen.whole[known] == 1).all():
        detail = f"declared {unit}, and all values are whole numbers up to {seen.highest[known].max():,.0f}"
        yield Noted(CHECK, f"{detail}, as of reads; if they are, set unit: counts")
    elif unit == "tpm" and np.median(sums) > (1 + ROUNDING) * MILLION:
        detail = f"declared tpm, and profiles add up to {sums.min():,.0f} to {sums.max():,.0f}; TPM add up to a million"
        yield Noted(CHECK, f"{detail} at most: see what unit they are in")


def _log(values: np.ndarray, seen: _Range, known: np.ndarray, ids: Sequence[str]) -> Iterator[Noted]:
    if (high := known & (seen.highest > NO_LOG)).any():
        detail = f"declared log, and the highest value of {_which(high, known, ids)} is {seen.highest[high].max():.3g}"
        yield Noted(CHECK, f"{detail}, as of linear values; no log2 is: set unit: counts, tpm or fpkm")
    elif known.sum() >= PROFILES_OF_ZSCORES and _are_zscores(values, known):
        yield Noted(CHECK, "declared log, and genes have mean 0 and sd 1, as z-scores have: set unit: zscore")


def _which(these: np.ndarray, known: np.ndarray, ids: Sequence[str]) -> str:
    """Return words for the profiles that show something: all of them, or how many and the first."""
    if these.sum() == known.sum():
        return f"all {these.sum()} profiles"
    names = [ids[row] for row in np.flatnonzero(these).tolist()]
    return f"{these.sum()} of {known.sum()} profiles ({listed(names)})"


def _look(values: np.ndarray) -> _Range:
    """Look at each profile; of many profiles some at a time, which bounds the memory."""
    parts = []
    for start in range(0, len(values), ROWS_AT_A_TIME):
        part = values[start : start + ROWS_AT_A_TIME]
        n_values = part.shape[1] - np.isnan(part).sum(axis=1)
        zeros = (part == 0).sum(axis=1)
        n_whole, n_others = (part == np.rint(part)).sum(axis=1) - zeros, n_values - zeros
        whole = np.where(n_others > 0, n_whole / np.maximum(n_others, 1), 1)
        total = np.asarray(np.nansum(part, axis=1, dtype=np.float64))
        parts.append(_Range(np.fmin.reduce(part, axis=1), np.fmax.reduce(part, axis=1), whole, total, n_values))
    return _Range(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _are_zscores(values: np.ndarray, known: np.ndarray) -> bool:
    """Return whether genes, of many some, have mean 0 and sd 1 over the profiles that have values."""
    part = values[:, :: max(1, values.shape[1] // GENES_LOOKED_AT)][known].astype(np.float64)
    part = part[:, np.isfinite(part).all(axis=0)]
    varied = part[:, np.ptp(part, axis=0) > 0] if part.size else part
    if varied.shape[1] < FEWEST_GENES:
        return False
    sd = np.stack([varied.std(axis=0), varied.std(axis=0, ddof=1)])
    fits = (np.abs(varied.mean(axis=0)) < NEARLY) & (np.abs(sd - 1).min(axis=0) < NEARLY)
    return bool(fits.mean() >= NEARLY_ALL)


def negative_share(values: np.ndarray) -> str:
    """Return what negative values among those of a table that can have none say, empty where they are few genes."""
    if values.shape[1] < FEWEST_GENES:
        return ""
    share = float((values < 0).sum() / max(1, np.isfinite(values).sum()))
    seen = f" ({share:.1%} of all values are, from {np.nanmin(values):.3g} to {np.nanmax(values):.3g}"
    return f"{seen}, as of z-scores or log ratios)" if np.nanmax(values) < NO_LOG else f"{seen})"
