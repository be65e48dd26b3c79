"""The training objective of regression: one number, learned on the scale of the training samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.terms.tasks import PREDICTED, TaskOutcome
from ksfusion.training.losses import regression_loss
from ksfusion.training.objective_base import BaseObjective
from ksfusion.training.strategy import Strategy


@dataclass(frozen=True)
class Regression(BaseObjective):
    """A number. Models predict it in standard deviations from the mean of the training samples.

    Attributes
    ----------
    mean, sd
        Weighted mean and standard deviation of the training samples.
    """

    mean: float
    sd: float
    metric: ClassVar[str] = "r2"
    n_outputs: ClassVar[int] = 1

    @classmethod
    def fit(cls, train: pd.DataFrame, weights: np.ndarray, task: TaskOutcome, strategy: Strategy) -> Self:
        """Take the scale of the training samples."""
        values = train["y"].to_numpy(float)
        mean = float(np.average(values, weights=weights))
        return cls(mean, float(np.sqrt(np.average(np.square(values - mean), weights=weights))))

    @staticmethod
    def reason_to_skip(train: pd.DataFrame) -> str:
        """Return why these training samples teach nothing; empty when they do."""
        return "" if train["y"].nunique() > 1 else "training samples have no two different values"

    def truth(self, samples: pd.DataFrame) -> dict[str, Tensor]:
        """Return the values of labelled samples, on the scale of the training samples."""
        return {"value": torch.from_numpy(((samples["y"].to_numpy(float) - self.mean) / self.sd).astype(np.float32))}

    def loss(self, logits: Tensor, truth: Mapping[str, Tensor], weights: Tensor) -> Tensor:
        """Return the mean squared error."""
        return regression_loss(logits[:, 0], truth["value"], weights=weights)

    def score(self, logits: Tensor, truth: Mapping[str, Tensor]) -> float:
        """Return R2; NaN where all values are the same."""
        value = truth["value"].double()
        spread = (value - value.mean()).square().sum()
        error = (logits[:, 0].double() - value).square().sum()
        return float(1 - error / spread) if len(value) and spread > 0 else float("nan")

    def confidence(self, logits: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Return minus the batch's squared error of one stream, as if the other said the same."""
        return -(2 * logits[:, 0] - truth["value"]).square().sum()

    def why_undefined(self, truth: Mapping[str, Tensor]) -> str:
        """Return why `score` is NaN."""
        return f"no two different values among {len(truth['value'])} validation samples"

    def predictions(self, logits: Tensor) -> pd.DataFrame:
        """Return the predicted values, on their own scale."""
        return pd.DataFrame({PREDICTED: self.mean + self.sd * logits[:, 0].double().numpy()})

    def describe(self) -> dict[str, Any]:
        """Return what was fitted on the training samples."""
        return {"mean": self.mean, "sd": self.sd}
