"""Cox regression as a loss, and the baseline hazard that makes survival curves of its risks.

References
----------
.. [1] Efron, The efficiency of Cox's likelihood function for censored data, JASA 72, 557-565 (1977).
.. [2] Breslow, Covariance analysis of censored survival data, Biometrics 30, 89-99 (1974).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def cox_loss(log_risk: Tensor, days: Tensor, event: Tensor, *, weights: Tensor) -> Tensor:
    """Return the negative partial log-likelihood of a batch for each death, ties by Efron; 0 without a death.

    The risk set of a death are the samples of the batch that are followed until then.

    Parameters
    ----------
    log_risk : Tensor (B,)
        Logarithm of the hazard, up to a constant.
    days, event : Tensor (B,)
        Days to death or to the last contact, and 1 where the case died.
    weights : Tensor (B,)
        Weights of the samples; deaths of one day share their mean.
    """
    died = event > 0
    followed = (days[None, :] >= days[:, None]).to(weights.dtype)
    tied = ((days[None, :] == days[:, None]) & died & died[:, None]).to(weights.dtype)
    number = tied.sum(dim=1).clamp(min=1)
    # Of the deaths of one day, how many have been taken out of the risk set before, as a share of each.
    before = tied.tril(diagonal=-1).sum(dim=1) / number
    counted = weights * (followed - before[:, None] * tied)  # (B, B)
    at_risk = torch.logsumexp(log_risk + counted.log(), dim=1)
    shared = tied @ weights / number
    losses = torch.where(died, shared * at_risk - weights * log_risk, 0)
    return losses.sum() / (weights * died).sum().clamp(min=torch.finfo(weights.dtype).tiny)


def cumulative_hazard(
    log_risk: np.ndarray, days: np.ndarray, event: np.ndarray, weights: np.ndarray, at: Sequence[float]
) -> np.ndarray:
    """Return Breslow's cumulative hazard of a sample whose log risk is 0, at some days.

    Parameters
    ----------
    log_risk : numpy.ndarray, shape (n_samples,)
        Logarithm of the hazard, up to a constant, of the training samples.
    days, event : numpy.ndarray, shape (n_samples,)
        Days to death or to the last contact, and 1 where the case died.
    weights : numpy.ndarray, shape (n_samples,)
        Weights of the samples.
    at
        Days; a death of the same day counts.
    """
    hazard = weights * np.exp(log_risk)
    died = np.flatnonzero(event > 0)
    steps = np.array([weights[sample] / hazard[days >= days[sample]].sum() for sample in died])
    return np.array([steps[days[died] <= day].sum() for day in at])
