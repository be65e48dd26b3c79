"""How a method is trained beside its losses: as the paper has it, or otherwise where its registration says so."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from ksfusion.training.coordination import Coordination, coordinate


class Validation(NamedTuple):
    """How a model does on the validation samples after an epoch; NaN where there is nothing to measure.

    Attributes
    ----------
    score
        Macro AUC or C-index, from 0 to 1, or R2, up to 1.
    loss
        Loss of the task; NaN without validation samples.
    accuracy
        Share of samples whose class has the highest logit; NaN where there are no classes.
    """

    score: float
    loss: float
    accuracy: float

    @property
    def merit(self) -> tuple[float, ...]:
        """What epochs are compared by, higher being better: the score, then the loss; the loss without a score."""
        return (-self.loss,) if math.isnan(self.score) else (self.score, -self.loss)


class Strategy:
    """The paper's way to train; a subclass departs from it."""

    def steps(self, n_samples: int, *, batch_size: int) -> int:
        """Return the number of steps of an epoch: the last batch may be smaller than the others."""
        return math.ceil(n_samples / batch_size)

    def shares(self, epoch: int, *, epochs: int, steps: int) -> np.ndarray:
        """Return how far along the schedule of the learning rate the steps of an epoch are: from 0 towards 1.

        Parameters
        ----------
        epoch, epochs
            Number of the epoch, from 1, and of all epochs.
        steps
            Number of steps of an epoch.

        Returns
        -------
        numpy.ndarray (steps,)
            Steps already taken, as a share of all steps of all epochs.
        """
        return np.arange((epoch - 1) * steps, epoch * steps) / (epochs * steps)

    def times_to_cut(self, cases: pd.DataFrame) -> pd.Series[float]:
        """Return the times, in days, whose quartiles cut survival time into intervals: those of deaths.

        Parameters
        ----------
        cases : pandas.DataFrame
            ``days`` and ``event`` of the training cases, a row each.
        """
        return cases.loc[cases["event"] == 1, "days"]

    def is_better(self, found: Validation, best: Validation) -> bool:
        """Return whether an epoch takes the place of the best one before; without validation samples each does."""
        return math.isnan(found.loss) or found.merit > best.merit

    def chosen_by(self, metric: str, best: Validation) -> str:
        """Return what the best epoch was chosen by, given the name of the task's metric."""
        if math.isnan(best.loss):
            return "last"
        return "loss" if math.isnan(best.score) else metric

    def coordinate(
        self, first: Tensor, second: Tensor, *, first_confidence: Tensor, second_confidence: Tensor
    ) -> tuple[Tensor, Tensor, Coordination]:
        """Coordinate the two halves of the classifier's gradient, each as one vector."""
        return coordinate(first, second, first_confidence=first_confidence, second_confidence=second_confidence)
