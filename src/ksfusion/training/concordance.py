"""Ranking measures by hand: for the choice of the epoch, and for the confidence of a stream in a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ksfusion.terms.ties import TIED_RISK


def concordance_index(days: Tensor, event: Tensor, risk: Tensor) -> Tensor:
    """Return Harrell's C-index; NaN where no pair can be compared.

    A pair can be compared where the earlier of the two is a death, or where both are at the same time and one is a
    death. A tie in risk counts one half.

    Parameters
    ----------
    days, event, risk : Tensor (n,)
        Event is 1 or 0.

    Returns
    -------
    Tensor, scalar
    """
    died = event > 0
    later = (days[:, None] < days) | ((days[:, None] == days) & ~died)  # (n, n)
    comparable = died[:, None] & later
    difference = risk[:, None] - risk
    tied = difference.abs() <= TIED_RISK
    score = torch.where(tied, 0.5, (difference > 0).to(difference.dtype))
    return (score * comparable).sum() / comparable.sum()


def macro_auc(y: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the area under the ROC curve, each class against the rest, averaged; NaN where a class is absent.

    Parameters
    ----------
    y : array (n,)
        Class numbers.
    probabilities : array (n, n_classes)
        Probability of each class.
    """
    areas = []
    for number in range(probabilities.shape[1]):
        inside, outside = probabilities[y == number, number], probabilities[y != number, number]
        if not len(inside) or not len(outside):
            return float("nan")
        higher = np.sign(inside[:, None] - outside)
        areas.append((higher.mean() + 1) / 2)
    return float(np.mean(areas))
