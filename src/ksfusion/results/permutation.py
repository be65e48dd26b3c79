"""A paired permutation test: the predictions of whole cases are swapped between two methods.

The null is that for each case it does not matter which of its two sets of predictions (of all its samples, by all
seeds) is whose: under it each case is swapped with probability one half, and the difference of the metrics has the
distribution that the swaps give. Risks, and for Spearman's correlation predicted numbers, are ranked within each run
first, since runs have no common scale.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from ksfusion.results.metrics import check_classification, check_survival, comparable_pairs
from ksfusion.results.metrics.regression import check_regression, rank_correlation
from ksfusion.results.statistics import PERMUTATIONS, SEED, resampled_classification
from ksfusion.terms.ties import TIED_RISK

# Permutations whose predictions are in memory together.
AT_ONCE = 2_000
# In percent; values of a statistic that are closer are one.
ROUNDING = 1e-9


@functools.lru_cache(maxsize=64)
def draw_swaps(n_cases: int, *, permutations: int = PERMUTATIONS, seed: int = SEED) -> np.ndarray:
    """Return which cases are swapped: bool, (1 + permutations, n_cases). In the first row none is."""
    swaps = np.random.default_rng(seed).integers(0, 2, size=(1 + permutations, n_cases), dtype=np.int8) > 0
    swaps[0] = False
    return swaps


def swapped_classification(
    y_true: ArrayLike, ours: ArrayLike, theirs: ArrayLike, swaps: np.ndarray, *, positive: int | None = None
) -> dict[str, np.ndarray]:
    """Return the difference of the metrics of two methods for each permutation; the areas under curves are left out.

    Parameters
    ----------
    y_true : array-like, shape (n_samples,)
        Class numbers.
    ours, theirs : array-like, shape (n_samples, n_classes)
        Probability of each class by each of the two methods.
    swaps : numpy.ndarray of bool, shape (permutations, n_samples)
        Whether each sample is swapped, in each permutation.
    positive
        Number of the positive class; None where there is none.

    Returns
    -------
    dict
        Metric to the first method's value less the second's, in percent, shape (permutations,).
    """
    labels, _ = check_classification(y_true, ours)
    # Of both methods' predictions as if of twice the samples, a permutation takes half.
    both, labels = np.concatenate([np.asarray(ours), np.asarray(theirs)]), np.tile(labels, 2)
    parts: list[dict[str, np.ndarray]] = []
    for block in np.array_split(swaps, -(-len(swaps) // AT_ONCE)):
        taken = np.concatenate([block, ~block], axis=1)
        first = resampled_classification(labels, both, ~taken, with_areas=False, positive=positive)
        second = resampled_classification(labels, both, taken, with_areas=False, positive=positive)
        parts.append({metric: first[metric] - second[metric] for metric in first if metric != "auc"})
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def swapped_survival(
    days: ArrayLike, event: ArrayLike, ours: ArrayLike, theirs: ArrayLike, swaps: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the difference of Harrell's C-index of two methods for each permutation; see `swapped_classification`.

    Parameters
    ----------
    days, event : array-like, shape (n_samples,)
        Times and events, see `ksfusion.results.metrics.survival_metrics`.
    ours, theirs : array-like, shape (n_samples,)
        Risk by each of the two methods.
    swaps : numpy.ndarray of bool, shape (permutations, n_samples)
        Whether each sample is swapped, in each permutation.
    """
    followed, died, first = check_survival(days, event, ours)
    _, _, second = check_survival(days, event, theirs)
    terms = concordance_terms(ranks(first), ranks(second), comparable_pairs(followed, died))
    return swapped_sums({"c_index": terms}, swaps)


def concordance_terms(ours: np.ndarray, theirs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return what each sample adds to the difference of the shares of concordant pairs, in percent: (n_samples,).

    A concordant pair counts for the method that has both of its predictions after the swap. With 1 for a sample that
    stays and -1 for one that is swapped, the difference of the two sums is linear in these.

    Parameters
    ----------
    ours, theirs : numpy.ndarray, shape (n_samples,)
        Ranks by each of the two methods.
    pairs : numpy.ndarray, shape (n_samples, n_samples)
        How much each pair weighs; the sample of the row should have the higher rank.
    """

    def concordant(of_first: np.ndarray, of_second: np.ndarray) -> np.ndarray:
        shares: np.ndarray = pairs * (1 + np.sign(of_first[:, None] - of_second)) / 2
        return shares

    apart = concordant(ours, ours) - concordant(theirs, theirs)
    across = concordant(ours, theirs) - concordant(theirs, ours)
    gains = (apart.sum(axis=1) + apart.sum(axis=0) + across.sum(axis=1) - across.sum(axis=0)) / 2
    terms: np.ndarray = 100 * gains / pairs.sum()
    return terms


def swapped_sums(terms: Mapping[str, np.ndarray], swaps: np.ndarray) -> dict[str, np.ndarray]:
    """Return sums over samples, whose terms a swap turns round, for each permutation.

    Parameters
    ----------
    terms : mapping of str to numpy.ndarray (n_samples,)
        Of each metric what a sample adds to the difference of the two methods.
    swaps : numpy.ndarray of bool, shape (permutations, n_samples)
        Whether each sample is swapped, in each permutation.
    """
    if not terms:
        return {}
    stays = np.where(swaps, -1.0, 1.0)
    return dict(zip(terms, (stays @ np.column_stack(list(terms.values()))).T, strict=True))


def swapped_regression(
    y_true: ArrayLike, ours: ArrayLike, theirs: ArrayLike, swaps: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the difference of the metrics of two methods for each permutation; see `swapped_classification`.

    Parameters
    ----------
    y_true : array-like, shape (n_samples,)
        True values.
    ours, theirs : array-like, shape (n_samples,)
        Predictions of each of the two methods.
    swaps : numpy.ndarray of bool, shape (permutations, n_samples)
        Whether each sample is swapped, in each permutation.
    """
    (truth, first), (_, second) = check_regression(y_true, ours), check_regression(y_true, theirs)
    spread = np.square(truth - truth.mean()).sum()
    squared = np.square(first - truth) - np.square(second - truth)
    terms = {
        "mae": (np.abs(first - truth) - np.abs(second - truth)) / len(truth),
        "r2": -100 * squared / (spread if spread > 0 else np.nan),
    }
    metrics = swapped_sums(terms, swaps)
    places, of_truth = [rankdata(values) for values in (first, second)], rankdata(truth)[None]
    once = np.ones((1, len(truth)))
    parts = []
    for block in np.array_split(swaps, -(-len(swaps) // AT_ONCE)):
        mixed = [np.where(block, *pair) for pair in ((places[1], places[0]), (places[0], places[1]))]
        here, there = (rank_correlation(ranked, of_truth, once) for ranked in mixed)
        parts.append(100 * (here - there))
    return metrics | {"spearman": np.concatenate(parts)}


def ranks(risks: np.ndarray) -> np.ndarray:
    """Return the place of each risk among all, from 0; those closer than `ksfusion.terms.ties.TIED_RISK` share one."""
    order = np.argsort(risks, kind="stable")
    places = np.empty(len(risks))
    places[order] = np.cumsum(np.r_[False, np.diff(risks[order]) > TIED_RISK])
    return places


def permutation_p_value(differences: np.ndarray) -> float:
    """Return the p-value, two-sided, of differences whose first is the one observed; it is counted too.

    Parameters
    ----------
    differences : numpy.ndarray, shape (1 + permutations,)
        Differences in percent; the first is that of the predictions as they are.
    """
    return float(np.mean(np.abs(differences) >= abs(differences[0]) - ROUNDING))
