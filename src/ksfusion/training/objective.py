"""What a task asks of a model: its truth as numbers, its loss, its predictions, and what chooses the epoch."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.terms.tasks import TaskKind, TaskOutcome
from ksfusion.training.concordance import concordance_index, macro_auc
from ksfusion.training.losses import (
    N_INTERVALS,
    balanced_class_weights,
    classification_loss,
    interval_cuts,
    interval_of,
    risk,
    survival_loss,
)
from ksfusion.training.strategy import Strategy


def sample_weights(samples: pd.DataFrame, *, weight_by: Literal["sample", "case"]) -> np.ndarray:
    """Return a weight per sample: 1, or 1 / (samples of its case) so that each case counts the same."""
    if weight_by == "case":
        return (1 / samples.groupby("case_id")["case_id"].transform("size")).to_numpy(float)
    return np.ones(len(samples))


@functools.lru_cache
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return values as a tensor; copying them to a GPU at each step would make the CPU wait for it."""
    return torch.tensor(values, dtype=dtype, device=device)


@dataclass(frozen=True)
class Classification:
    """Classes, weighted so that each counts the same in training.

    Attributes
    ----------
    classes
        Names, in the order of their numbers.
    class_weights
        Weights, see `ksfusion.training.losses.balanced_class_weights`.
    """

    classes: Sequence[str]
    class_weights: Sequence[float]
    metric = "auc"

    @classmethod
    def fit(cls, train: pd.DataFrame, weights: np.ndarray, task: TaskOutcome, strategy: Strategy) -> Classification:
        """Count the classes of the training samples."""
        counts = balanced_class_weights(train["y"].to_numpy(int), weights, len(task.classes))
        return cls(tuple(task.classes), tuple(counts.tolist()))

    @staticmethod
    def reason_to_skip(train: pd.DataFrame) -> str:
        """Return why these training samples teach nothing; empty when they do."""
        found = train["y"].nunique()
        return "" if found > 1 else f"training samples have {found} of the task's classes; at least two are needed"

    @property
    def n_outputs(self) -> int:
        """One logit per class."""
        return len(self.classes)

    def truth(self, samples: pd.DataFrame) -> dict[str, Tensor]:
        """Return the class numbers of labelled samples."""
        return {"y": torch.from_numpy(samples["y"].to_numpy(np.int64))}

    def loss(self, logits: Tensor, truth: Mapping[str, Tensor], weights: Tensor) -> Tensor:
        """Return the class-weighted cross-entropy."""
        class_weights = _constant(tuple(self.class_weights), logits.dtype, logits.device)
        return classification_loss(logits, truth["y"], class_weights=class_weights, weights=weights)

    def score(self, logits: Tensor, truth: Mapping[str, Tensor]) -> float:
        """Return the macro AUC; NaN where a class is absent."""
        return macro_auc(truth["y"].numpy(), logits.double().softmax(dim=1).numpy())

    def accuracy(self, logits: Tensor, truth: Mapping[str, Tensor]) -> float:
        """Return the share of samples whose class has the highest logit."""
        return float((logits.argmax(dim=1) == truth["y"]).double().mean())

    def why_undefined(self, truth: Mapping[str, Tensor]) -> str:
        """Return why `score` is NaN."""
        counts = np.bincount(truth["y"].numpy(), minlength=self.n_outputs)
        absent = [name for name, count in zip(self.classes, counts, strict=True) if count == 0]
        return f"no validation sample of class {', '.join(absent)}"

    @staticmethod
    def columns(task: TaskOutcome) -> list[str]:
        """Return the columns of `predictions`."""
        return [f"prob_{name}" for name in task.classes]

    def predictions(self, logits: Tensor) -> pd.DataFrame:
        """Return class probabilities."""
        columns = [f"prob_{name}" for name in self.classes]
        return pd.DataFrame(logits.double().softmax(dim=1).numpy(), columns=columns)

    def describe(self) -> dict[str, Any]:
        """Return what was fitted on the training samples."""
        return {"class_weights": list(self.class_weights)}


@dataclass(frozen=True)
class Survival:
    """Discrete-time survival.

    Attributes
    ----------
    cuts
        Days that divide time into intervals: quartiles of the times that the strategy names.
    """

    cuts: Sequence[float]
    metric = "c_index"
    n_outputs = N_INTERVALS

    @classmethod
    def fit(cls, train: pd.DataFrame, weights: np.ndarray, task: TaskOutcome, strategy: Strategy) -> Survival:
        """Cut time at the quartiles of the training cases' times, each case once."""
        return cls(tuple(interval_cuts(strategy.times_to_cut(train.drop_duplicates("case_id")))))

    @staticmethod
    def reason_to_skip(train: pd.DataFrame) -> str:
        """Return why these training samples teach nothing; empty when they do."""
        return "" if (train["event"] == 1).any() else "no event among the training samples"

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

    @staticmethod
    def accuracy(logits: Tensor, truth: Mapping[str, Tensor]) -> float:
        """Return NaN: survival has none."""
        return float("nan")

    def why_undefined(self, truth: Mapping[str, Tensor]) -> str:
        """Return why `score` is NaN."""
        return f"no comparable pair among {len(truth['days'])} validation samples"

    @staticmethod
    def columns(task: TaskOutcome | None = None) -> list[str]:
        """Return the columns of `predictions`."""
        return [*(f"hazard_{number}" for number in range(N_INTERVALS)), "risk"]

    def predictions(self, logits: Tensor) -> pd.DataFrame:
        """Return the hazard of each interval, and the risk."""
        logits = logits.double()
        values = torch.cat([logits.sigmoid(), risk(logits)[:, None]], dim=1)
        return pd.DataFrame(values.numpy(), columns=self.columns())

    def describe(self) -> dict[str, Any]:
        """Return what was fitted on the training samples."""
        return {"bins": list(self.cuts)}


Objective = Classification | Survival
OBJECTIVES: Mapping[TaskKind, type[Objective]] = {"classification": Classification, "survival": Survival}
