"""The metrics of predicted numbers, of many draws of cases at once; with weights of one they are the metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ksfusion.results.metrics.areas import or_undefined
from ksfusion.results.metrics.checks import check_finite


def check_regression(y_true: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted values, each (n,), as arrays, or raise ValueError."""
    truth, values = np.asarray(y_true, dtype=float), np.asarray(predicted, dtype=float)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise ValueError("y_true and predicted must have one value per sample")
    check_finite(y_true=truth, predicted=values)
    return truth, values


def regression_metrics(y_true: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Score predicted numbers.

    Parameters
    ----------
    y_true, predicted : array-like, shape (n_samples,)
        True and predicted values.

    Returns
    -------
    dict
        ``mae``, the mean absolute error, in the unit of ``y_true``; ``r2`` and ``spearman``, in percent, NaN where all
        values, or for the latter all predictions, are the same.

    Raises
    ------
    ValueError
        If shapes do not agree or a value is not finite.
    """
    truth, values = check_regression(y_true, predicted)
    return {
        name: float(found[0]) for name, found in resampled_regression(truth, values, np.ones((1, len(truth)))).items()
    }


def resampled_regression(y_true: ArrayLike, predicted: ArrayLike, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the metrics of each draw.

    Parameters
    ----------
    y_true, predicted
        True and predicted values, see `regression_metrics`.
    weights : numpy.ndarray, shape (resamples, n_samples)
        Number of times that each sample is drawn.

    Returns
    -------
    dict
        Metric to values, shape (resamples,).
    """
    truth, values = check_regression(y_true, predicted)
    counts = weights.astype(float)
    total = or_undefined(counts.sum(axis=1))
    centred = truth - truth.mean() if len(truth) else truth
    spread = counts @ np.square(centred) / total - np.square(counts @ centred / total)
    error = counts @ np.square(values - truth) / total
    return {
        "mae": counts @ np.abs(values - truth) / total,
        "r2": 100 * (1 - error / _positive(spread, np.square(centred).max(initial=0))),
        "spearman": 100 * rank_correlation(_ranks(truth, counts), _ranks(values, counts), counts),
    }


def _positive(spread: np.ndarray, scale: float) -> np.ndarray:
    """Return spreads that may stand below a fraction: NaN where there is none but for rounding."""
    return np.where(spread > 1e-12 * scale, spread, np.nan)


def _ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the place of each sample among those of each draw, the mean of equal ones: (resamples, n_samples)."""
    below = (values[:, None] < values).astype(float) + 0.5 * (values[:, None] == values)  # (others, samples)
    places: np.ndarray = counts @ below
    return places


def rank_correlation(first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the correlation of ranks of each draw; NaN where all of one are equal: (resamples,).

    Parameters
    ----------
    first, second : numpy.ndarray, shape (resamples or 1, n_samples)
        Ranks.
    counts : numpy.ndarray, shape (resamples or 1, n_samples)
        Number of times that each sample is drawn.
    """
    total = or_undefined(counts.sum(axis=1, keepdims=True))
    apart = [ranks - (counts * ranks).sum(axis=1, keepdims=True) / total for ranks in (first, second)]
    covariance, *spreads = (
        (counts * one * other).sum(axis=1) for one, other in (apart, [apart[0]] * 2, [apart[1]] * 2)
    )
    scale = float(np.square(first).max(initial=0)) * float(counts.sum(axis=1).max(initial=0))
    product = [np.where(spread > 1e-12 * scale, spread, np.nan) for spread in spreads]
    correlation: np.ndarray = covariance / np.sqrt(product[0] * product[1])
    return correlation
