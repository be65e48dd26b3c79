"""Single values of expression that bear on a whole fold: far from all others, or all that a gene varies by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ksfusion.genes.expression.noted import listed
from ksfusion.terms.findings import EXTREME_EXPRESSION, Finding

CARRIED = "rank_by_one_value"
# Standard deviations that no measurement lies from the mean of a gene.
FAR = 50
# The share of a gene's sum of squares that its farthest value has, which is then said to carry its variance; of fewer
# profiles one has a large share by chance.
CARRIES, FEWEST_PROFILES = 0.9, 10
REMEDY = "see that they are right; genes.clip: 10 cuts values off at 10 sd"


def beyond(expression: pd.DataFrame, samples: pd.DataFrame) -> Iterator[Finding]:
    """Yield a finding for each cohort that has scaled values beyond `FAR` standard deviations, as a network sees them.

    Parameters
    ----------
    expression : pandas.DataFrame, samples x genes
        Scaled, not cut off.
    samples : pandas.DataFrame
        sample_id, cohort and expression_id, in the same order.
    """
    values = np.abs(expression.to_numpy())
    cohorts = samples["cohort"].to_numpy()
    for cohort in sorted(set(cohorts[(values > FAR).any(axis=1)])):
        rows = np.flatnonzero(cohorts == cohort)
        row, column = np.unravel_index(values[rows].argmax(), (len(rows), values.shape[1]))
        profile, gene = samples["expression_id"].iloc[rows[row]], expression.columns[column]
        far = values[rows] > FAR
        yield Finding(
            check=EXTREME_EXPRESSION,
            subject=str(cohort),
            detail=f"{far.sum()} values of {far.any(axis=0).sum()} genes are more than {FAR} sd from the mean of their "
            f"gene in training, the farthest {values[rows[row], column]:,.0f} sd (gene {gene}, profile {profile}): "
            f"{REMEDY}",
        )


def carried(profiles: Mapping[str, pd.DataFrame], symbols: Sequence[str], n_chosen: int) -> Iterator[Finding]:
    """Yield a finding for each cohort in which genes are among the most variable by a single value.

    Parameters
    ----------
    profiles
        For each cohort its training profiles x genes, in log units.
    symbols
        The genes that were chosen.
    n_chosen
        Number of genes chosen, of all that were ranked.
    """
    for cohort, table in profiles.items():
        if len(table) < FEWEST_PROFILES:
            continue
        variance, _, _ = _without_farthest(table.to_numpy())
        least = np.sort(variance)[-n_chosen]
        known = table[list(symbols)]
        with_it, without, share = _without_farthest(known.to_numpy())
        found = np.flatnonzero((with_it >= least) & (without < least) & (share >= CARRIES))
        if found.size:
            names = [_farthest(known, gene) for gene in found[np.argsort(-with_it[found], kind="stable")].tolist()]
            yield Finding(
                check=CARRIED,
                subject=cohort,
                detail=f"{found.size} of {len(symbols)} chosen genes are among the most variable by a single value "
                f"({listed(names)}): {REMEDY}, after genes are ranked",
            )


def _without_farthest(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each column's variance, that without its value farthest from the mean, and this one's share of it."""
    present = ~np.isnan(values)
    count = present.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.where(present, (values - np.nansum(values, axis=0, dtype=np.float64) / count) ** 2, 0)
        total = squares.sum(axis=0)
        farthest = squares.max(axis=0) * count / (count - 1)
        without = np.maximum(total - farthest, 0) / (count - 2)
        return np.nan_to_num(total / (count - 1)), np.nan_to_num(without), np.nan_to_num(farthest / total)


def _farthest(profiles: pd.DataFrame, gene: int) -> str:
    column = profiles.iloc[:, gene]
    return f"{profiles.columns[gene]} of profile {_id_of((column - column.mean()).abs().idxmax())}"


def _id_of(key: object) -> str:
    """Return the expression_id of a profile's key: cohort and expression_id."""
    return str(key[-1]) if isinstance(key, tuple) else str(key)
