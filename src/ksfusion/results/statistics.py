"""Confidence intervals by bootstrap over cases.

Cases are drawn with replacement, and all samples of a case come with it: samples of one case resemble each other, and
resampling them one by one would make intervals too narrow. A draw is a weight per case, so that every metric of all
draws is computed at once. The weighted metrics equal `ksfusion.results.metrics` on the repeated samples.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ksfusion.results.metrics import METRICS, NAN, check_classification, check_survival, comparable_pairs
from ksfusion.results.metrics.areas import or_undefined, weighted_auc
from ksfusion.terms.ties import TIED_RISK

RESAMPLES, PERMUTATIONS = 2000, 10_000
SEED = 0
# Of external cohorts, whose draws have nothing to do with those of the test cases; no study has so many folds.
EXTERNAL_SEED = 1_000_000
COVERAGE = 95
# Of fewer cases no interval is told: the bootstrap has hardly any other cases to draw than those it saw, so that its
# interval is far too narrow (three cases that are all missed would give 0 to 0).
LEAST_CASES = 10


@functools.lru_cache(maxsize=64)
def draw_cases(n_cases: int, *, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Return how often each case is drawn: (resamples, n_cases), each row summing to ``n_cases``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_cases, np.full(n_cases, 1 / n_cases), size=resamples)


def sample_weights(case_ids: ArrayLike, *, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Return the weight of each sample in each draw of cases.

    Parameters
    ----------
    case_ids : array-like, shape (n_samples,)
        The case of each sample.
    resamples, seed
        Number of draws, and their seed. Equal cases give equal draws, so that methods are compared on the same ones.

    Returns
    -------
    numpy.ndarray, shape (resamples, n_samples)
    """
    cases = np.unique(np.asarray(case_ids, dtype=str))
    return CaseDraws(cases, draw_cases(len(cases), resamples=resamples, seed=seed)).of_samples(case_ids)


@dataclass(frozen=True, eq=False)
class CaseDraws:
    """Weight of each case in each bootstrap resample, or whether it is swapped in each permutation.

    Attributes
    ----------
    cases : numpy.ndarray of str, shape (n_cases,)
        Sorted.
    values : numpy.ndarray, shape (draws, n_cases)
        How often the case is drawn, or whether it is swapped.
    """

    cases: np.ndarray
    values: np.ndarray

    def of_samples(self, case_ids: ArrayLike) -> np.ndarray:
        """Return the weights of samples, by their cases: (draws, n_samples)."""
        values: np.ndarray = self.values[:, np.searchsorted(self.cases, np.asarray(case_ids, dtype=str))]
        return values


def draws_by_fold(
    cases: Mapping[int, Iterable[str]], *, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[int, CaseDraws]:
    """Return how often each case of each fold is drawn.

    Where no case is in two folds, each fold is drawn by itself, with its number added to the seed. Else cases are drawn
    from all folds together, so that a case has one weight wherever it is tested.

    Parameters
    ----------
    cases
        The test cases of each fold.
    resamples, seed
        Number of draws, and their seed; draws of other cases are independent with another seed alone.
    """
    known = {fold: np.unique(np.asarray(list(ids), dtype=str)) for fold, ids in cases.items()}
    union = all_cases(known.values())
    if len(union) == sum(map(len, known.values())):
        return {
            fold: CaseDraws(ids, draw_cases(len(ids), resamples=resamples, seed=seed + fold))
            for fold, ids in known.items()
            if len(ids)
        }
    return dict.fromkeys(known, CaseDraws(union, draw_cases(len(union), resamples=resamples, seed=seed)))


def all_cases(cases: Iterable[np.ndarray]) -> np.ndarray:
    """Return the cases of all folds, each once, sorted."""
    return np.unique(np.concatenate([np.empty(0, dtype=str), *cases]))


def resampled_classification(
    y_true: ArrayLike,
    probabilities: ArrayLike,
    weights: np.ndarray,
    *,
    with_areas: bool = True,
    positive: int | None = None,
) -> dict[str, np.ndarray]:
    """Compute the classification metrics of each draw.

    A draw without any sample of a class that ``y_true`` has is NaN for the averages over classes: it would estimate
    another quantity than the point estimate.

    Parameters
    ----------
    y_true, probabilities, positive
        Arguments of `ksfusion.results.metrics.classification_metrics`.
    weights : numpy.ndarray, shape (resamples, n_samples)
        Number of times that each sample is drawn.
    with_areas
        Compute the areas under curves too, which take longest; else they are NaN.

    Returns
    -------
    dict
        Metric to values in percent, shape (resamples,).
    """
    labels, scores = check_classification(y_true, probabilities)
    present = np.unique(labels)
    predicted = scores.argmax(axis=1)
    is_true = labels[:, None] == present  # (n, classes)
    is_predicted = predicted[:, None] == present
    right = predicted == labels
    counts = weights.astype(np.float32)  # whole numbers, of which the sums are exact too
    samples = np.column_stack([np.ones(len(labels)), right, is_true, is_predicted, is_true & is_predicted])
    total, hit, *drawn = (counts @ samples.astype(np.float32)).astype(float).T
    metrics = dict.fromkeys(METRICS["classification"], np.full(len(weights), NAN))
    metrics["accuracy"] = 100 * hit / or_undefined(total)
    if len(present) < 2:
        return metrics

    positives, called, true_positives = np.reshape(drawn, (3, len(present), -1))  # (classes, resamples) each
    positives = or_undefined(positives)
    negatives = or_undefined(total - positives)
    told = np.full(len(present), fill_value=True) if positive is None else present == positive
    if not told.any():
        return metrics
    metrics["sensitivity"] = 100 * np.mean((true_positives / positives)[told], axis=0)
    metrics["specificity"] = 100 * np.mean((1 - (called - true_positives) / negatives)[told], axis=0)
    metrics["f1"] = 100 * np.mean((2 * true_positives / (positives + called))[told], axis=0)
    if with_areas:
        areas = [weighted_auc(labels == number, scores[:, number], counts) for number in present[told]]
        metrics["auc"] = 100 * np.mean(areas, axis=0)
    return metrics


def resampled_survival(
    days: ArrayLike, event: ArrayLike, risk: ArrayLike, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute Harrell's C-index of each draw, in percent; NaN where no pair can be compared.

    Parameters
    ----------
    days, event, risk
        Arguments of `ksfusion.results.metrics.survival_metrics`.
    weights : numpy.ndarray, shape (resamples, n_samples)
        Number of times that each sample is drawn.

    Returns
    -------
    dict
        ``c_index`` to values, shape (resamples,).
    """
    followed, died, risks = check_survival(days, event, risk)
    comparable = comparable_pairs(followed, died).astype(np.float32)
    difference = risks[:, None] - risks
    concordance = comparable * np.where(np.abs(difference) <= TIED_RISK, 0.5, difference > 0).astype(np.float32)
    counts = weights.astype(np.float32)

    def weighted_pairs(pairs: np.ndarray) -> np.ndarray:
        total: np.ndarray = np.einsum("rn,rn->r", counts @ pairs, counts, dtype=float)
        return total

    return {"c_index": 100 * weighted_pairs(concordance) / or_undefined(weighted_pairs(comparable))}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the central 95 % of a bootstrap distribution.

    Draws in which the metric is undefined are left out; where they are half or more, the interval is NaN.
    """
    known = values[np.isfinite(values)]
    if 2 * len(known) <= len(values):
        return NAN, NAN
    tail = (100 - COVERAGE) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)
