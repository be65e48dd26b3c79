"""The area under the ROC curve, of many draws of the samples at once."""

from __future__ import annotations

import numpy as np

from ksfusion.results.metrics.names import NAN


def or_undefined(total: np.ndarray) -> np.ndarray:
    """Return totals that may stand below a fraction: NaN where nothing was drawn."""
    return np.where(total > 0, total, NAN)


def weighted_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the exact area under the ROC curve of each draw; ties count one half, NaN without both classes.

    Parameters
    ----------
    positive : numpy.ndarray of bool, shape (n_samples,)
        Whether each sample is of the class.
    score : numpy.ndarray, shape (n_samples,)
        Higher where the class is more likely.
    weights : numpy.ndarray, shape (resamples, n_samples)
        Number of times that each sample is drawn.

    Returns
    -------
    numpy.ndarray, shape (resamples,)
    """
    counts = weights.astype(np.float32, copy=False)
    up, down = counts[:, positive], counts[:, ~positive]
    above, below = score[positive][:, None], score[~positive]
    ordered = (above > below) + 0.5 * (above == below)  # (positives, negatives)
    ordered_pairs = np.einsum("rn,rn->r", up @ ordered.astype(np.float32), down, dtype=float)
    area: np.ndarray = ordered_pairs / or_undefined(up.sum(axis=1, dtype=float) * down.sum(axis=1, dtype=float))
    return area
