"""The further metrics of class probabilities, of many draws of cases at once; with weights of one they are the metrics.

Areas, precision and balanced accuracy are averaged over the classes that have test samples, or are those of the
positive class. The predicted class is the most probable one, the first of equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ksfusion.results.metrics.areas import or_undefined, weighted_auc
from ksfusion.results.metrics.classes import check_classification
from ksfusion.results.metrics.names import NAN, OF_CLASS, OF_EACH_CLASS, further_class_metrics

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
        Number of the positive class, of two; None where there is none.
    by_class
        Whether each class is scored by itself too, where none is the positive one.
    """

    classes: Sequence[str]
    ordered: bool = False
    positive: int | None = None
    by_class: bool = True

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, in the order of Table S1."""
        positive = None if self.positive is None else self.classes[self.positive]
        return further_class_metrics(self.classes, ordered=self.ordered, positive=positive, by_class=self.by_class)

    def scored_classes(self, present: np.ndarray) -> np.ndarray:
        """Return the numbers of the classes that areas and precision are about: those present, or the positive one.

        Parameters
        ----------
        present : numpy.ndarray of int
            Numbers of the classes that have samples.
        """
        return present if self.positive is None else np.array([self.positive])


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
        without a positive class is a sum over classes, up to 200. NaN where a draw lacks a class that the samples
        have, as far as the metric needs it. ``auc_within`` compares samples of the same cohort alone.
    """
    labels, scores = check_classification(y_true, probabilities)
    present = np.unique(labels)
    counts = weights.astype(float)
    metrics = dict.fromkeys(scoring.metrics, np.full(len(weights), NAN))
    if not len(labels):
        return metrics
    sums = counts @ sample_terms(labels, scores, scoring)
    metrics |= metrics_of_sums(sums, present, scoring)
    if len(present) < 2:
        return metrics
    scored = scoring.scored_classes(present)
    areas = {number: _area_under_precision(labels == number, scores[:, number], counts) for number in scored}
    metrics["auprc"] = np.mean([areas[number] for number in scored], axis=0)
    within = [area_within(labels == number, scores[:, number], cohorts, counts) for number in scored]
    if known := [area for area in within if np.isfinite(area).any()]:
        metrics["auc_within"] = 100 * np.mean(known, axis=0)
    if scoring.by_class and scoring.positive is None:
        margins = _Margins(_confusion(sums, len(scoring.classes)))
        for number in present:
            auc = 100 * weighted_auc(labels == number, scores[:, number], counts)
            values = {"auc": auc, "auprc": areas[number], **_of_class(margins, number)}
            metrics |= {f"{metric}{OF_CLASS}{scoring.classes[number]}": values[metric] for metric in OF_EACH_CLASS}
    return metrics


def sample_terms(labels: np.ndarray, scores: np.ndarray, scoring: ClassScoring) -> np.ndarray:
    """Return what each sample adds to the sums that `metrics_of_sums` reads: (n_samples, n_terms).

    Its cell of the confusion matrix, its squared error, and its gap between probability and frequency by bin.

    Parameters
    ----------
    labels : numpy.ndarray of int, shape (n_samples,)
        Class numbers.
    scores : numpy.ndarray, shape (n_samples, n_classes)
        Probability of each class.
    scoring
        Classes of the task, and which of them is the positive one.
    """
    n_classes = scores.shape[1]
    cells = np.eye(n_classes**2)[labels * n_classes + scores.argmax(axis=1)]
    errors = np.square(scores - np.eye(n_classes)[labels])
    error = errors.sum(axis=1) if scoring.positive is None else errors[:, scoring.positive]
    return np.column_stack([cells, error, _gaps(labels, scores, scoring.positive)])


def metrics_of_sums(sums: np.ndarray, present: np.ndarray, scoring: ClassScoring) -> dict[str, np.ndarray]:
    """Return the metrics that sums over samples determine, in percent: Brier score, calibration error and confusion.

    Parameters
    ----------
    sums : numpy.ndarray, shape (draws, n_terms)
        Of `sample_terms`, over the samples of each draw.
    present : numpy.ndarray of int
        Numbers of the classes that have samples.
    scoring
        Classes of the task, and which of them is the positive one.
    """
    margins, after = _Margins(_confusion(sums, len(scoring.classes))), len(scoring.classes) ** 2
    total = or_undefined(margins.total)
    metrics = {
        "brier": 100 * sums[:, after] / total,
        "calibration_error": 100 * np.abs(sums[:, after + 1 :]).sum(axis=1) / total,
    }
    if len(present) < 2:
        return metrics
    by_class = {number: _of_class(margins, number) for number in present}
    metrics["balanced_accuracy"] = np.mean([by_class[number]["sensitivity"] for number in present], axis=0)
    scored = scoring.scored_classes(present)
    metrics["precision"] = np.mean([by_class[number]["precision"] for number in scored], axis=0)
    metrics["mcc"] = 100 * _matthews(margins)
    if scoring.ordered:
        metrics["quadratic_kappa"] = 100 * _quadratic_kappa(margins)
    return metrics


def _confusion(sums: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the confusion matrix of each draw: (draws, true class, predicted class)."""
    return sums[:, : n_classes**2].reshape(-1, n_classes, n_classes)


class _Margins:
    """The confusion matrix of each draw, with its sums: each class true and called, (draws, classes), and all."""

    def __init__(self, confusion: np.ndarray) -> None:
        self.confusion = confusion
        # Faster than sums over axes as short as these.
        self.true = np.einsum("rtc->rt", confusion)
        self.called = np.einsum("rtc->rc", confusion)
        self.total = np.einsum("rt->r", self.true)
        self.right = np.einsum("rkk->rk", confusion)


def _of_class(margins: _Margins, number: int) -> dict[str, np.ndarray]:
    """Return what the confusion matrix of each draw says of one class against the rest, in percent: each (draws,)."""
    right, true, called = (counts[:, number] for counts in (margins.right, margins.true, margins.called))
    others = margins.total - true
    known = np.where((true > 0) & (others > 0), 100.0, NAN)
    parts = {
        "sensitivity": right / or_undefined(true),
        "specificity": 1 - (called - right) / or_undefined(others),
        # A class that is never called has a precision of 0, as in scikit-learn.
        "precision": right / np.maximum(called, 1),
        "f1": 2 * right / or_undefined(true + called),
    }
    return {metric: known * values for metric, values in parts.items()}


def _area_under_precision(positive: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the area of each draw in percent; NaN where a draw has the class alone, or lacks it: (draws,)."""
    has_others = (counts[:, ~positive] > 0).any(axis=1)
    return np.where(has_others, 100 * average_precision(positive, score, counts), NAN)


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


def _matthews(margins: _Margins) -> np.ndarray:
    """Return Matthews' correlation, of more than two classes by Gorodkin; 0 where one class alone is true or called."""
    total, true, called = margins.total, margins.true, margins.called
    covariance = margins.right.sum(axis=1) * total - np.einsum("rk,rk->r", true, called)
    spread = (total**2 - np.einsum("rk,rk->r", true, true)) * (total**2 - np.einsum("rk,rk->r", called, called))
    known = (true > 0).sum(axis=1) > 1
    return np.where(known, covariance / np.sqrt(np.where(spread > 0, spread, 1)), NAN)


def _quadratic_kappa(margins: _Margins) -> np.ndarray:
    """Return Cohen's kappa with quadratic weights; NaN where all is of one class, true and called."""
    numbers = np.arange(margins.confusion.shape[1])
    cost = np.square(numbers[:, None] - numbers).astype(float)
    observed = np.einsum("rtc,tc->r", margins.confusion, cost)
    expected = np.einsum("rt,rt->r", margins.true @ cost, margins.called)
    kappa: np.ndarray = 1 - observed * margins.total / or_undefined(expected)
    return kappa


def _gaps(labels: np.ndarray, scores: np.ndarray, positive: int | None) -> np.ndarray:
    """Return how far the probability of each sample is from what happened, in the bin of that: (n_samples, bins).

    The probability is that of the predicted class and what happened its being right; or both are of the class that
    counts.
    """
    if positive is None:
        probability, happened = scores.max(axis=1), scores.argmax(axis=1) == labels
    else:
        probability, happened = scores[:, positive], labels == positive
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps: np.ndarray = np.eye(CALIBRATION_BINS)[bins] * (probability - happened)[:, None]
    return gaps
