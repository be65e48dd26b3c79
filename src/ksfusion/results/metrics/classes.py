"""The metrics of class probabilities in the paper's tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ksfusion.results.metrics.areas import weighted_auc
from ksfusion.results.metrics.checks import check_finite
from ksfusion.results.metrics.names import METRICS, NAN


def classification_metrics(
    y_true: ArrayLike, probabilities: ArrayLike, *, positive: int | None = None
) -> dict[str, float]:
    """Score class probabilities.

    AUC (one class against the rest), sensitivity, specificity and F1 are averaged over the classes that have test
    samples, each class counting the same, or are those of one class. With one class only they are NaN.
    `absent_classes` names the classes that an average leaves out. The predicted class is the most probable one, the
    first of equals.

    Parameters
    ----------
    y_true : array-like, shape (n_samples,)
        Class numbers.
    probabilities : array-like, shape (n_samples, n_classes)
        Probability of each class.
    positive
        Number of the class whose AUC, sensitivity, specificity and F1 are told; None for averages over classes.

    Returns
    -------
    dict
        ``auc``, ``accuracy``, ``sensitivity``, ``specificity``, ``f1``, in percent; all NaN without samples.

    Raises
    ------
    ValueError
        If shapes do not agree, a value is not finite, or a class number has no column.
    """
    from sklearn import config_context
    from sklearn.metrics import confusion_matrix

    labels, scores = check_classification(y_true, probabilities)
    metrics = dict.fromkeys(METRICS["classification"], NAN)
    if len(labels) == 0:
        return metrics
    predicted = scores.argmax(axis=1)
    metrics["accuracy"] = 100 * float(np.mean(predicted == labels))
    present = np.unique(labels)
    if len(present) < 2:
        return metrics
    if positive is not None:
        present = present[present == positive]

    with config_context(assume_finite=True, skip_parameter_validation=True):  # checked above
        counts = confusion_matrix(labels, predicted, labels=np.arange(scores.shape[1]))  # (true, predicted)
    once = np.ones((1, len(labels)))
    areas = [weighted_auc(labels == number, scores[:, number], once)[0] for number in present]
    true_positives = np.diag(counts)[present]
    positives, called = counts.sum(axis=1)[present], counts.sum(axis=0)[present]
    true_negatives = len(labels) - positives - called + true_positives
    per_class = {
        "auc": areas,
        "sensitivity": true_positives / positives,
        "specificity": true_negatives / (len(labels) - positives),
        "f1": 2 * true_positives / (positives + called),
    }
    metrics.update({name: 100 * float(np.mean(values)) if len(present) else NAN for name, values in per_class.items()})
    return metrics


def absent_classes(y_true: ArrayLike, n_classes: int) -> list[int]:
    """Return the class numbers without a sample: `classification_metrics` averages over the others."""
    return sorted(set(range(n_classes)) - set(np.asarray(y_true, dtype=int).tolist()))


def check_classification(y_true: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return class numbers (n,) and probabilities (n, n_classes) as arrays, or raise ValueError."""
    labels, scores = np.asarray(y_true, dtype=float), np.asarray(probabilities, dtype=float)
    if labels.ndim != 1 or scores.ndim != 2 or len(labels) != len(scores):
        raise ValueError("y_true must be (n_samples,) and probabilities (n_samples, n_classes)")
    check_finite(y_true=labels, probabilities=scores)
    if (labels != labels.astype(int)).any() or (labels < 0).any() or (labels >= scores.shape[1]).any():
        raise ValueError("y_true must be class numbers, each with a column in probabilities")
    return labels.astype(int), scores
