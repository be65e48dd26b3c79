"""Decision curves: what it is worth to treat by a prediction, at each probability at which one would.

References
----------
.. [1] Vickers and Elkin, Decision curve analysis: a novel method for evaluating prediction models, Medical Decision
       Making 26, 565-574 (2006).
"""

from __future__ import annotations

import numpy as np

# A threshold of 1 would weigh a false positive endlessly.
THRESHOLDS = np.arange(1, 100) / 100


def net_benefit(
    probability: np.ndarray, happened: np.ndarray, weights: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> np.ndarray:
    """Return the net benefit of each draw at each threshold: (resamples, n_thresholds).

    That is the share of true positives less that of false positives, each of which costs the odds of the threshold.

    Parameters
    ----------
    probability : numpy.ndarray, shape (n_samples,)
        Predicted for the positive class; from the threshold on a sample is positive.
    happened : numpy.ndarray of bool, shape (n_samples,)
        Whether a sample is of the class.
    weights : numpy.ndarray, shape (resamples, n_samples)
        Number of times that each sample is drawn.
    thresholds : numpy.ndarray, shape (n_thresholds,)
        Between 0 and 1.
    """
    worth = np.where(happened[:, None], 1.0, -thresholds / (1 - thresholds))
    called = probability[:, None] >= thresholds
    benefit: np.ndarray = weights @ (called * worth) / weights.sum(axis=1, keepdims=True)
    return benefit
