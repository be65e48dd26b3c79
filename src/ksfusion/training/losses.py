"""Losses of the kinds of task; Cox's is in `ksfusion.training.cox`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional


def classification_loss(logits: Tensor, y: Tensor, *, class_weights: Tensor, weights: Tensor) -> Tensor:
    """Return the mean cross-entropy, each sample counting as its weight times that of its class.

    Parameters
    ----------
    logits : Tensor (B, K)
        Log odds of the classes.
    y : Tensor (B,), int64
        Class numbers.
    class_weights : Tensor (K,)
        Weights of the classes, see `balanced_class_weights`.
    weights : Tensor (B,)
        Weights of the samples.
    """
    weights = weights * class_weights[y]
    losses = functional.cross_entropy(logits, y, reduction="none")
    # A class that training lacks weighs nothing; samples of that class alone have loss 0.
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def survival_loss(logits: Tensor, interval: Tensor, event: Tensor, *, weights: Tensor) -> Tensor:
    """Return the negative log-likelihood of discrete-time survival (Zadeh and Schmid 2021, arXiv:1909.11474).

    The hazard of an interval is the probability of dying in it when alive at its start. A death contributes the
    probability of living up to its interval and dying in it; a censored case that of living through its interval.

    Parameters
    ----------
    logits : Tensor (B, intervals)
        Log odds of the hazards.
    interval : Tensor (B,), int64
        Interval in which the case died or was last seen.
    event : Tensor (B,)
        1 where it died, 0 where it was censored.
    weights : Tensor (B,)
        Weights of the samples.
    """
    log_hazard, log_survival = functional.logsigmoid(logits), functional.logsigmoid(-logits)  # (B, intervals)
    order = torch.arange(logits.shape[1], device=logits.device)
    lived = (log_survival * (order < interval[:, None])).sum(dim=1)  # (B,)
    own = interval[:, None]
    last = torch.where(event > 0, log_hazard.gather(1, own).squeeze(1), log_survival.gather(1, own).squeeze(1))
    return -((lived + last) * weights).sum() / weights.sum()


def regression_loss(predicted: Tensor, value: Tensor, *, weights: Tensor) -> Tensor:
    """Return the mean squared error.

    Parameters
    ----------
    predicted, value : Tensor (B,)
        Predicted and true values.
    weights : Tensor (B,)
        Weights of the samples.
    """
    return ((predicted - value).square() * weights).sum() / weights.sum()


def survival_curve(logits: Tensor) -> Tensor:
    """Return the probability of being alive at the end of each interval, (B, intervals)."""
    return functional.logsigmoid(-logits).cumsum(dim=1).exp()


def risk(logits: Tensor) -> Tensor:
    """Return minus the sum of the survival curve, (B,): higher means an earlier death."""
    return -survival_curve(logits).sum(dim=1)


def interval_cuts(days: ArrayLike, n_intervals: int = 4) -> list[float]:
    """Return the quantiles of the event times (one per uncensored training case) that cut time into intervals."""
    shares = np.arange(1, n_intervals) / n_intervals
    return [float(cut) for cut in np.quantile(np.asarray(days, dtype=float), shares)]


def interval_of(days: ArrayLike, cuts: Sequence[float]) -> np.ndarray:
    """Return the number of the interval of each time; a time on a cut belongs to the later interval."""
    return np.searchsorted(np.asarray(cuts), np.asarray(days, dtype=float), side="right")


def balanced_class_weights(y: ArrayLike, weights: ArrayLike, n_classes: int) -> np.ndarray:
    """Return a weight per class (n_classes,): all classes that occur count the same; 0 for one that does not occur."""
    totals = np.bincount(np.asarray(y), weights=np.asarray(weights, dtype=float), minlength=n_classes)
    present = totals > 0
    return np.where(present, totals.sum() / (present.sum() * np.where(present, totals, 1)), 0.0)
