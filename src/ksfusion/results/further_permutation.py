"""The paired permutation test of the further metrics, as `ksfusion.results.permutation` has that of the paper's.

What is a sum over samples, or a share of pairs of samples, is linear in the swaps; the confusion matrix and the bins of
calibration are sums too, of which the metrics are made. Predictions are ranked within each run for the areas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from ksfusion.results.metrics.classes import check_classification
from ksfusion.results.metrics.d_calibration import decile_deviation, decile_shares
from ksfusion.results.metrics.further_classes import ClassScoring, metrics_of_sums, sample_terms
from ksfusion.results.metrics.further_survival import (
    CensoringDistribution,
    Curves,
    SurvivalSamples,
    integrated_errors,
    scored_pairs,
    why_no_curve,
)
from ksfusion.results.permutation import AT_ONCE, concordance_terms, ranks, swapped_sums


def swapped_further_classes(
    y_true: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
    cohorts: np.ndarray,
    swaps: np.ndarray,
    scoring: ClassScoring,
) -> dict[str, np.ndarray]:
    """Return the difference of the further metrics of two methods for each permutation.

    Parameters
    ----------
    y_true : numpy.ndarray, shape (n_samples,)
        Class numbers.
    ours, theirs : numpy.ndarray, shape (n_samples, n_classes)
        Probability of each class by each of the two methods.
    cohorts : numpy.ndarray, shape (n_samples,)
        The cohort of each sample.
    swaps : numpy.ndarray of bool, shape (permutations, n_samples)
        Whether each sample is swapped, in each permutation.
    scoring
        Classes of the task, and which of them is the positive one.

    Returns
    -------
    dict
        Metric to the first method's value less the second's, in percent, shape (permutations,); those of single classes
        are left out, and those that the samples do not determine.
    """
    (labels, first), (_, second) = check_classification(y_true, ours), check_classification(y_true, theirs)
    present = np.unique(labels)
    our_terms, their_terms = (sample_terms(labels, scores, scoring) for scores in (first, second))
    here, there = (metrics_of_sums(sums, present, scoring) for sums in _mixed_sums(our_terms, their_terms, swaps))
    metrics = {metric: here[metric] - there[metric] for metric in here}
    if len(present) < 2:
        return metrics
    our_ranks, their_ranks = (rankdata(scores, "dense", axis=0) for scores in (first, second))
    areas, within = [], []
    for number in scoring.scored_classes(present):
        positive, pair = labels == number, (our_ranks[:, number], their_ranks[:, number])
        areas.append(swapped_average_precision(positive, pair[0], pair[1], swaps))
        pairs = positive[:, None] & ~positive & (cohorts[:, None] == cohorts)
        if pairs.any():
            within.append(concordance_terms(pair[0], pair[1], pairs))
    metrics["auprc"] = np.mean(areas, axis=0)
    return metrics | (swapped_sums({"auc_within": np.mean(within, axis=0)}, swaps) if within else {})


def _mixed_sums(ours: np.ndarray, theirs: np.ndarray, swaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums over samples of what each of two methods has after the swaps: (permutations, n_terms) each."""
    first = ours.sum(axis=0) + swaps.astype(float) @ (theirs - ours)
    return first, ours.sum(axis=0) + theirs.sum(axis=0) - first


def swapped_average_precision(
    positive: np.ndarray, ours: np.ndarray, theirs: np.ndarray, swaps: np.ndarray
) -> np.ndarray:
    """Return the difference of the areas under the precision-recall curves of two methods for each permutation.

    The area is the mean, over the samples of the class, of the precision where such a sample is just called.

    Parameters
    ----------
    positive : numpy.ndarray of bool, shape (n_samples,)
        Whether each sample is of the class.
    ours, theirs : numpy.ndarray, shape (n_samples,)
        Ranks by each of the two methods.
    swaps : numpy.ndarray of bool, shape (permutations, n_samples)
        Whether each sample is swapped, in each permutation.

    Returns
    -------
    numpy.ndarray, shape (permutations,)
        In percent.
    """
    limits = np.concatenate([ours[positive], theirs[positive]])
    # Whether each sample is called at each limit, (n_samples, limits); whole numbers, of which the sums are exact.
    called, others = (np.greater_equal.outer(ranked, limits).astype(np.float32) for ranked in (ours, theirs))
    half, parts = len(limits) // 2, []
    for block in np.array_split(swaps, -(-len(swaps) // AT_ONCE)):
        turned = block.astype(np.float32)
        counts = []
        for chosen in (positive, np.ones_like(positive)):
            first = called[chosen].sum(axis=0) + turned[:, chosen] @ (others - called)[chosen]
            counts.append((first, called[chosen].sum(axis=0) + others[chosen].sum(axis=0) - first))
        swapped = block[:, positive]
        precisions = []
        for hits, all_called, at_theirs in zip(*counts, (swapped, ~swapped), strict=True):
            right, total = (np.where(at_theirs, one[:, half:], one[:, :half]) for one in (hits, all_called))
            precisions.append(right.astype(float) / total)
        parts.append(100 * (precisions[0] - precisions[1]).mean(axis=1))
    return np.concatenate(parts)


def swapped_further_survival(
    samples: SurvivalSamples,
    ours: Curves,
    theirs: Curves,
    swaps: np.ndarray,
    *,
    censoring: CensoringDistribution,
    times: Sequence[float],
) -> dict[str, np.ndarray]:
    """Return the difference of the further metrics of survival of two methods for each permutation.

    Parameters
    ----------
    samples
        The test samples.
    ours, theirs
        Curves of each of the two methods, with the same cuts.
    swaps : numpy.ndarray of bool, shape (permutations, n_samples)
        Whether each sample is swapped, in each permutation.
    censoring
        The censoring of the cases of training, or of the external cohort.
    times
        Days at which the time-dependent AUC is evaluated.

    Returns
    -------
    dict
        Metric to the first method's value less the second's, in percent, shape (permutations,); those that the
        follow-up does not allow are left out.
    """
    pairs, _ = scored_pairs(samples, ours.cuts, censoring=censoring, times=times)
    places = ranks(ours.risk), ranks(theirs.risk)
    terms = {metric: concordance_terms(*places, table) for metric, table in pairs.items()}
    if why_no_curve(samples.days, ours.cuts, censoring):
        return swapped_sums(terms, swaps)
    event = samples.event.astype(bool)
    first, second = (integrated_errors(samples.days, event, curves, censoring) for curves in (ours, theirs))
    terms["integrated_brier"] = 100 * (first - second) / len(event)
    here, there = _mixed_sums(
        decile_shares(samples.days, event, ours), decile_shares(samples.days, event, theirs), swaps
    )
    return swapped_sums(terms, swaps) | {"d_calibration": decile_deviation(here) - decile_deviation(there)}
