"""What the training objectives of all kinds of tasks have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import numpy as np
import pandas as pd
from torch import Tensor

from ksfusion.terms.tasks import TaskOutcome, prediction_columns


class BaseObjective:
    """An objective whose predictions are the columns of its task, without accuracy, complete before training."""

    @staticmethod
    def columns(task: TaskOutcome) -> list[str]:
        """Return the columns of the predictions of a model."""
        return prediction_columns(task)

    def accuracy(self, logits: Tensor, truth: Mapping[str, Tensor]) -> float:
        """Return the share of samples that are predicted rightly: NaN where the task has no classes.

        Parameters
        ----------
        logits : Tensor (n, n_outputs)
            Logits of the samples.
        truth : mapping of name to Tensor (n,)
            Their truth, as the objective gives it.
        """
        return math.nan

    def completed(self, logits: Tensor, train: pd.DataFrame, weights: np.ndarray) -> Self:
        """Return the objective with what is estimated from the model's training outputs (nothing here).

        Parameters
        ----------
        logits : Tensor (n, n_outputs)
            Logits of the training samples, of the trained model.
        train : pandas.DataFrame (n,)
            These, with their truth.
        weights : numpy.ndarray (n,)
            Their weights.
        """
        return self
