"""The further metrics of class probabilities, of many draws of cases at once; with weights of one they are the metrics.

Areas, precision and balanced accuracy are averaged over the classes that have test samples, or are those of the class
that counts. The predicted class is the most probable one, the first of equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ksfusion.results.metrics.classes import check_classification
from ksfusion.results.metrics.names import NAN, OF_CLASS, OF_EACH_CLASS, further_class_metrics
from ksfusion.results.statistics import or_undefined, weighted_auc

# Equally wide bins of predicted probability.
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class ClassScoring:
    """What is asked of the classes of a task.

    Attributes
    ----------
    classes
        Names, in the order of their numbers.
    ordered
        Whether they have an order.
    positive
        Number of the class that counts, of two; None where all do.
    """

    classes: Sequence[str]
    ordered: bool = False
    positive: int | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, in the order of Table S1."""
        counts = None if self.positive is None else self.classes[self.positive]
        return further_class_metrics(self.classes, ordered=self.ordered, positive=counts)


def further_classification(
    y_true: np.ndarray, probabilities: np.ndarray, cohorts: np.ndarray, weights: np.ndarray, scoring: ClassScoring
) -> dict[str, np.ndarray]:
    """Compute the further metrics of each draw.

    Parameters
    ----------
    y_true : numpy.ndarray, shape (n_samples,)
        Class numbers.
    probabilities : numpy.ndarray, shape (n_samples, n_classes)
        Probability of each class.
    cohorts : numpy.ndarray, shape (n_samples,)
        The cohort of each sample.
    weights : numpy.ndarray, shape (resamples, n_samples)
        Number of times that each sample is drawn.
    scoring
        Classes of the task, and which of them is the positive one.

    Returns
    -------
    dict
        Metric to values in percent, shape (resamples,); of ``brier`` and ``calibration_error`` 0 is best, and ``brier``
        without a class that counts is a sum over classes, up to 200. NaN where a draw lacks a class that the samples
        have, as far as the metric needs it. ``auc_within`` compares samples of the same cohort alone.
    """
    labels, scores = check_classification(y_true, probabilities)
    present = np.unique(labels)
    counts = weights.astype(float)
    metrics = dict.fromkeys(scoring.metrics, np.full(len(weights), NAN))
    if not len(labels):
        return metrics
    confusion = _confusion(labels, scores.argmax(axis=1), counts, scores.shape[1])
    metrics["brier"] = 100 * _brier(labels, scores, counts, scoring.positive)
    metrics["calibration_error"] = 100 * _calibration_error(labels, scores, counts, scoring.positive)
    if len(present) < 2:
        return metrics
    told = present if scoring.positive is None else [scoring.positive]
    by_class = {number: _of_class(labels == number, scores[:, number], counts, confusion, number) for number in present}
    metrics["balanced_accuracy"] = np.mean([by_class[number]["sensitivity"] for number in present], axis=0)
    for metric in ("auprc", "precision"):
        metrics[metric] = np.mean([by_class[number][metric] for number in told], axis=0)
    metrics["mcc"] = 100 * _matthews(confusion)
    if scoring.ordered:
        metrics["quadratic_kappa"] = 100 * _quadratic_kappa(confusion)
    within = [area_within(labels == number, scores[:, number], cohorts, counts) for number in told]
    if known := [area for area in within if np.isfinite(area).any()]:
        metrics["auc_within"] = 100 * np.mean(known, axis=0)
    for number, values in by_class.items():
        named = {f"{metric}{OF_CLASS}{scoring.classes[number]}": values[metric] for metric in OF_EACH_CLASS}
        metrics |= {name: values for name, values in named.items() if name in metrics}
    return metrics


def _confusion(labels: np.ndarray, predicted: np.ndarray, counts: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the confusion matrix of each draw: (resamples, true class, predicted class)."""
    cells = np.eye(n_classes**2)[labels * n_classes + predicted]
    return (counts @ cells).reshape(-1, n_classes, n_classes)


def _of_class(
    positive: np.ndarray, score: np.ndarray, counts: np.ndarray, confusion: np.ndarray, number: int
) -> dict[str, np.ndarray]:
    """Return the metrics of one class against the rest, in percent: each (resamples,)."""
    right, true, called = confusion[:, number, number], confusion[:, number].sum(1), confusion[:, :, number].sum(1)
    others = confusion.sum(axis=(1, 2)) - true
    known = np.where((true > 0) & (others > 0), 100.0, NAN)
    parts = {
        "auc": weighted_auc(positive, score, counts),
        "auprc": average_precision(positive, score, counts),
        "sensitivity": right / or_undefined(true),
        "specificity": 1 - (called - right) / or_undefined(others),
        # A class that is never called has a precision of 0, as in scikit-learn.
        "precision": right / np.maximum(called, 1),
        "f1": 2 * right / or_undefined(true + called),
    }
    return {metric: known * values for metric, values in parts.items()}


def average_precision(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the precision-recall curve of each draw, as a sum of steps: (resamples,).

    Parameters
    ----------
    positive : numpy.ndarray of bool, shape (n_samples,)
        Whether each sample is of the class.
    score : numpy.ndarray, shape (n_samples,)
        Higher where the class is more likely.
    weights : numpy.ndarray, shape (resamples, n_samples)
        Number of times that each sample is drawn.
    """
    order = np.argsort(-score, kind="stable")
    last_of_equals = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    drawn = weights[:, order]
    hits = np.cumsum(drawn * positive[order], axis=1)[:, last_of_equals]
    called = np.cumsum(drawn, axis=1)[:, last_of_equals]
    steps = np.diff(hits, axis=1, prepend=0)
    area: np.ndarray = (steps * hits / np.maximum(called, 1)).sum(axis=1) / or_undefined(hits[:, -1])
    return area


def area_within(positive: np.ndarray, score: np.ndarray, cohorts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each draw over pairs of the same cohort; NaN without any: (resamples,).

    Parameters
    ----------
    positive, score, weights
        Arguments of `average_precision`.
    cohorts : numpy.ndarray, shape (n_samples,)
        The cohort of each sample.
    """
    up, down = weights[:, positive], weights[:, ~positive]
    same = cohorts[positive][:, None] == cohorts[~positive]
    above, below = score[positive][:, None], score[~positive]
    ordered = same * ((above > below) + 0.5 * (above == below))
    pairs = np.einsum("rn,rn->r", up @ same.astype(float), down)
    area: np.ndarray = np.einsum("rn,rn->r", up @ ordered, down) / or_undefined(pairs)
    return area


def _matthews(confusion: np.ndarray) -> np.ndarray:
    """Return Matthews' correlation, of more than two classes by Gorodkin; 0 where one class alone is true or called."""
    total = confusion.sum(axis=(1, 2))
    true, called = confusion.sum(axis=2), confusion.sum(axis=1)
    right = np.einsum("rkk->r", confusion)
    covariance = right * total - (true * called).sum(axis=1)
    spread = (total**2 - (true**2).sum(axis=1)) * (total**2 - (called**2).sum(axis=1))
    known = (true > 0).sum(axis=1) > 1
    return np.where(known, covariance / np.sqrt(np.where(spread > 0, spread, 1)), NAN)


def _quadratic_kappa(confusion: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa with quadratic weights; NaN where all is of one class, true and called."""
    numbers = np.arange(confusion.shape[1])
    cost = np.square(numbers[:, None] - numbers)
    by_chance = confusion.sum(axis=2)[:, :, None] * confusion.sum(axis=1)[:, None, :]
    observed, expected = ((table * cost).sum(axis=(1, 2)) for table in (confusion, by_chance))
    kappa: np.ndarray = 1 - observed * confusion.sum(axis=(1, 2)) / or_undefined(expected)
    return kappa


def _mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    mean: np.ndarray = counts @ values / or_undefined(counts.sum(axis=1))
    return mean


def _brier(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray, positive: int | None) -> np.ndarray:
    """Return the mean squared error of the probabilities, of the class that counts or summed over all."""
    errors = np.square(scores - np.eye(scores.shape[1])[labels])
    return _mean(errors.sum(axis=1) if positive is None else errors[:, positive], counts)


def _calibration_error(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray, positive: int | None) -> np.ndarray:
    """Return how far probabilities are from frequencies, over bins by their share of the samples.

    The probability is that of the predicted class and the frequency that of its being right; or both are of the class
    that counts.
    """
    if positive is None:
        probability, happened = scores.max(axis=1), scores.argmax(axis=1) == labels
    else:
        probability, happened = scores[:, positive], labels == positive
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.eye(CALIBRATION_BINS)[bins] * (probability - happened)[:, None]
    error: np.ndarray = np.abs(counts @ gaps).sum(axis=1) / or_undefined(counts.sum(axis=1))
    return error
