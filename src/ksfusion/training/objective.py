"""The training objective of a task: encoded labels, loss, predictions and the validation metric."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.terms.tasks import TaskKind, TaskOutcome, probability_column
from ksfusion.training.concordance import macro_auc
from ksfusion.training.coordination import class_confidence
from ksfusion.training.losses import balanced_class_weights, classification_loss
from ksfusion.training.objective_base import BaseObjective
from ksfusion.training.regression_objective import Regression
from ksfusion.training.strategy import Strategy
from ksfusion.training.survival_objective import CoxSurvival, Survival


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
class Classification(BaseObjective):
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
    metric: ClassVar[str] = "auc"

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

    def confidence(self, logits: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Return the batch's sum of the probability of the true class by one stream."""
        return class_confidence(logits, truth["y"])

    def accuracy(self, logits: Tensor, truth: Mapping[str, Tensor]) -> float:
        """Return the share of samples whose class has the highest logit."""
        return float((logits.argmax(dim=1) == truth["y"]).double().mean())

    def why_undefined(self, truth: Mapping[str, Tensor]) -> str:
        """Return why `score` is NaN."""
        counts = np.bincount(truth["y"].numpy(), minlength=self.n_outputs)
        absent = [name for name, count in zip(self.classes, counts, strict=True) if count == 0]
        return f"no validation sample of class {', '.join(absent)}"

    def predictions(self, logits: Tensor) -> pd.DataFrame:
        """Return class probabilities."""
        columns = list(map(probability_column, self.classes))
        return pd.DataFrame(logits.double().softmax(dim=1).numpy(), columns=columns)

    def describe(self) -> dict[str, Any]:
        """Return what was fitted on the training samples."""
        return {"class_weights": list(self.class_weights)}


Objective = Classification | Survival | Regression
OBJECTIVES: Mapping[TaskKind, type[Objective]] = {
    "classification": Classification,
    "survival": Survival,
    "regression": Regression,
}


def objective_class(task: TaskOutcome) -> type[Objective]:
    """Return the objective of a network: for survival Cox's partial likelihood or discrete-time hazards."""
    return CoxSurvival if task.kind == "survival" and task.survival_model.loss == "cox" else OBJECTIVES[task.kind]


def restored_objective(config: Mapping[str, Any]) -> Objective:
    """Return the objective of a run from its ``config.json``, as `Objective.describe` has put it there."""
    kind: TaskKind = config["task"]["kind"]
    if kind == "classification":
        return Classification(tuple(config["classes"]), tuple(config["class_weights"]))
    if kind == "regression":
        return Regression(config["mean"], config["sd"])
    cuts = tuple(config["bins"])
    return CoxSurvival(cuts, tuple(config["baseline"])) if "baseline" in config else Survival(cuts)
