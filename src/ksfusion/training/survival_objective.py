"""The training objective of survival: discrete time with a hazard for each interval, or Cox regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.terms.tasks import RISK, TaskOutcome, hazard_columns
from ksfusion.training.concordance import concordance_index
from ksfusion.training.coordination import survival_confidence
from ksfusion.training.cox import cox_loss, cumulative_hazard
from ksfusion.training.losses import interval_cuts, interval_of, risk, survival_loss
from ksfusion.training.objective_base import BaseObjective
from ksfusion.training.strategy import Strategy

# Of a log risk whose exponential is still a number.
LARGEST = 700.0


@dataclass(frozen=True)
class Survival(BaseObjective):
    """Discrete-time survival.

    Attributes
    ----------
    cuts
        Days that divide time into intervals: those of the task, or quantiles of the times that the strategy names.
    """

    cuts: Sequence[float]
    metric: ClassVar[str] = "c_index"

    @classmethod
    def fit(cls, train: pd.DataFrame, weights: np.ndarray, task: TaskOutcome, strategy: Strategy) -> Self:
        """Cut time as the task says, or at quantiles of the training cases' times, each case once."""
        model = task.survival_model
        if isinstance(model.cuts, list):
            return cls(tuple(model.cuts))
        return cls(tuple(interval_cuts(strategy.times_to_cut(train.drop_duplicates("case_id")), model.intervals)))

    @staticmethod
    def reason_to_skip(train: pd.DataFrame) -> str:
        """Return why these training samples teach nothing; empty when they do."""
        return "" if (train["event"] == 1).any() else "no event among the training samples"

    @property
    def n_outputs(self) -> int:
        """One logit per interval."""
        return len(self.cuts) + 1

    def truth(self, samples: pd.DataFrame) -> dict[str, Tensor]:
        """Return days, event and interval of labelled samples."""
        days = samples["days"].to_numpy(np.float64)
        event = samples["event"].to_numpy(np.float32)
        interval = interval_of(days, self.cuts).astype(np.int64)
        return {
            name: torch.from_numpy(part) for name, part in (("days", days), ("event", event), ("interval", interval))
        }

    def loss(self, logits: Tensor, truth: Mapping[str, Tensor], weights: Tensor) -> Tensor:
        """Return the negative log-likelihood."""
        return survival_loss(logits, truth["interval"], truth["event"], weights=weights)

    def score(self, logits: Tensor, truth: Mapping[str, Tensor]) -> float:
        """Return the C-index; NaN where no pair can be compared."""
        return float(concordance_index(truth["days"], truth["event"], risk(logits.double())))

    def confidence(self, logits: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Return the batch's C-index of one stream; NaN where no pair can be compared."""
        return survival_confidence(logits, truth["days"], truth["event"])

    def why_undefined(self, truth: Mapping[str, Tensor]) -> str:
        """Return why `score` is NaN."""
        return f"no comparable pair among {len(truth['days'])} validation samples"

    @staticmethod
    def columns(task: TaskOutcome) -> list[str]:
        """Return the columns of `predictions`."""
        return _columns(task.survival_model.intervals)

    def predictions(self, logits: Tensor) -> pd.DataFrame:
        """Return the hazard of each interval, and the risk."""
        logits = logits.double()
        values = torch.cat([logits.sigmoid(), risk(logits)[:, None]], dim=1)
        return pd.DataFrame(values.numpy(), columns=_columns(self.n_outputs))

    def describe(self) -> dict[str, Any]:
        """Return what was fitted on the training samples."""
        return {"bins": list(self.cuts)}


def _columns(n_intervals: int) -> list[str]:
    return [*hazard_columns(n_intervals), RISK]


@dataclass(frozen=True)
class CoxSurvival(Survival):
    """Cox regression: one log risk, and Breslow's curve at the cuts, the last interval ending with the follow-up.

    Attributes
    ----------
    cuts
        As of `Survival`.
    baseline
        Cumulative hazard of a sample whose log risk is 0 at each cut and at the end of the training samples' follow-up;
        None before training.
    """

    baseline: Sequence[float] | None = None

    @property
    def n_outputs(self) -> int:
        """One log risk."""
        return 1

    def loss(self, logits: Tensor, truth: Mapping[str, Tensor], weights: Tensor) -> Tensor:
        """Return the negative partial log-likelihood of the batch."""
        return cox_loss(logits[:, 0], truth["days"], truth["event"], weights=weights)

    def score(self, logits: Tensor, truth: Mapping[str, Tensor]) -> float:
        """Return the C-index; NaN where no pair can be compared."""
        return float(concordance_index(truth["days"], truth["event"], logits[:, 0].double()))

    def confidence(self, logits: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Return the batch's C-index of one stream; NaN where no pair can be compared."""
        return concordance_index(truth["days"], truth["event"], logits[:, 0])

    def completed(self, logits: Tensor, train: pd.DataFrame, weights: np.ndarray) -> Self:
        """Return the objective with Breslow's baseline of the trained model.

        Parameters
        ----------
        logits : Tensor (n, 1)
            Logits of the training samples.
        train : pandas.DataFrame (n,)
            These, with ``days`` and ``event``.
        weights : numpy.ndarray (n,)
            Their weights.
        """
        days, event = (train[name].to_numpy(float) for name in ("days", "event"))
        ends = [*self.cuts, max(days.max(), self.cuts[-1])]
        baseline = cumulative_hazard(logits[:, 0].double().numpy(), days, event, weights, ends)
        return replace(self, baseline=tuple(baseline.tolist()))

    def predictions(self, logits: Tensor) -> pd.DataFrame:
        """Return the hazard of each interval by Breslow's curve, and the log risk."""
        if self.baseline is None:
            raise ValueError("estimate the baseline hazard on the training samples first (completed)")
        log_risk = logits[:, :1].double().numpy()
        hazards = -np.expm1(-np.diff(self.baseline, prepend=0.0) * np.exp(np.minimum(log_risk, LARGEST)))
        return pd.DataFrame(np.hstack([hazards, log_risk]), columns=_columns(len(self.cuts) + 1))

    def describe(self) -> dict[str, Any]:
        """Return what was fitted on the training samples."""
        return {**super().describe(), "baseline": None if self.baseline is None else list(self.baseline)}
