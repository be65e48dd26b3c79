"""Baselines: ridge regressions fitted on training cases, and their model read back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.core.errors import UserError
from ksfusion.methods.baselines import FIXED_PENALTY
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.checkpoint import MODEL, read_run_config, read_weights
from ksfusion.training.covariates import Coding, Covariates
from ksfusion.training.fold_tables import labelled
from ksfusion.training.objective import OBJECTIVES, Classification, Objective
from ksfusion.training.ridge import ClassRidge, CoxRidge, NumberRidge, Ridge
from ksfusion.training.strategy import Strategy, Validation
from ksfusion.training.survival_objective import Survival

log = logging.getLogger(__name__)

# From simple to flexible, in observations; of equally good ones the first is kept.
PENALTIES = (10_000.0, 1000.0, 100.0, 10.0, 1.0)
# Without validation cases.
DEFAULT_PENALTY = 100.0
HISTORY_COLUMNS = ["penalty", "val_loss", "val_metric"]
RIDGES: dict[str, type[Ridge]] = {"classification": ClassRidge, "survival": CoxRidge, "regression": NumberRidge}
MEAN, SCALE = "mean", "scale"


class NoCoefficientsError(UserError):
    """A regression that does not come to an end."""


@dataclass(frozen=True)
class BaselineModel:
    """A fitted baseline: what it makes of covariates."""

    coding: Coding
    ridge: Ridge

    def logits(self, covariates: Covariates) -> Tensor:
        """Return log odds of the classes, or of the hazards of the survival intervals, (n, outputs), float64."""
        return torch.from_numpy(self.ridge.logits(self.coding.matrix(covariates)))

    def tensors(self) -> dict[str, Tensor]:
        """Return what `ksfusion.training.checkpoint.write_run` keeps of it."""
        arrays = {**self.ridge.tensors(), MEAN: self.coding.mean, SCALE: self.coding.scale}
        return {name: torch.from_numpy(np.ascontiguousarray(array, dtype=float)) for name, array in arrays.items()}

    def describe(self) -> dict[str, Any]:
        """Return what ``config.json`` says of it."""
        return {"coding": self.coding.describe(), "columns": self.coding.labels()}


@dataclass(frozen=True)
class FittedBaseline:
    """The outcome of a fit.

    Attributes
    ----------
    model
        The model.
    objective
        What the task asks of a model, fitted on the training cases.
    penalty
        The penalty of genes or patches; None for a method that reads neither.
    selected_by
        What it was chosen by, on validation cases: ``auc``, ``c_index`` or ``r2`` (the highest; equal ones by loss), or
        ``loss``; ``default`` without validation cases, ``fixed`` where there was nothing to choose.
    val
        Metric (percent, None where undefined) and loss (None without validation cases).
    history : pandas.DataFrame
        A row for each penalty tried.
    """

    model: BaselineModel
    objective: Objective
    penalty: float | None
    selected_by: str
    val: dict[str, float | None]
    history: pd.DataFrame

    def configuration(self) -> dict[str, Any]:
        """Return what ``config.json`` says of it."""
        fitted = {"n_outputs": self.objective.n_outputs, "penalty": self.penalty}
        return {**fitted, **self.model.describe(), **self.objective.describe()}

    def describe(self) -> dict[str, Any]:
        """Return what ``metrics.json`` says of it."""
        return {"best_epoch": None, "penalty": self.penalty, "selected_by": self.selected_by, "val": self.val}


def fit_regression(
    covariates: Covariates, samples: pd.DataFrame, task: TaskOutcome, *, chosen_penalty: bool
) -> FittedBaseline:
    """Fit a baseline on the training cases, each counting once with the mean of its samples.

    Parameters
    ----------
    covariates
        Covariates of the samples that the baseline reads.
    samples : pandas.DataFrame
        Samples of `ksfusion.training.data.FoldData`, in the same order.
    task
        Task to predict.
    chosen_penalty
        Whether the penalty is chosen on validation cases, that with the highest AUC or C-index.

    Raises
    ------
    NoCoefficientsError
        If none are found with any penalty.
    """
    (train, rows), (val, val_rows) = (_cases(covariates, samples, split) for split in ("train", "val"))
    coding = Coding.fit(train)
    objective = OBJECTIVES[task.kind].fit(rows, np.ones(len(rows)), task, Strategy())
    tried = PENALTIES if chosen_penalty and len(val_rows) else (DEFAULT_PENALTY if chosen_penalty else FIXED_PENALTY,)
    matrix, history = coding.matrix(train), []
    best: tuple[BaselineModel, float, Validation] | None = None
    for penalty in tried:
        try:
            ridge = _fit_ridge(matrix, rows, objective, coding.penalties(penalty, FIXED_PENALTY))
        except ValueError as error:
            log.warning("penalty %g: no coefficients are found (%s)", penalty, error)
            history.append((penalty, np.nan, np.nan))
            continue
        model = BaselineModel(coding, ridge)
        found = _validate(model, val, val_rows, objective)
        log.info("penalty %g: validation %s %.4g, loss %.4g", penalty, objective.metric, 100 * found.score, found.loss)
        history.append((penalty, found.loss, 100 * found.score))
        if best is None or found.merit > best[2].merit:
            best = model, penalty, found
    if best is None:
        raise NoCoefficientsError(f"no coefficients are found with any penalty ({', '.join(f'{p:g}' for p in tried)})")
    model, penalty, found = best
    kept = {objective.metric: 100 * found.score, "loss": found.loss}
    return FittedBaseline(
        model=model,
        objective=objective,
        penalty=penalty if chosen_penalty else None,
        selected_by=_selected_by(objective, found, len(tried), chosen_penalty),
        val={name: value if np.isfinite(value) else None for name, value in kept.items()},
        history=pd.DataFrame(history, columns=HISTORY_COLUMNS),
    )


def _cases(covariates: Covariates, samples: pd.DataFrame, split: str) -> tuple[Covariates, pd.DataFrame]:
    """Return the labelled cases of a split: what is read of them, and their truth, a row each."""
    known = labelled(samples, split)
    rows = samples.iloc[known]
    cases = covariates.rows(known).by_case(rows["case_id"])
    return cases, rows.drop_duplicates("case_id").reset_index(drop=True)


def _fit_ridge(x: np.ndarray, rows: pd.DataFrame, objective: Objective, penalties: np.ndarray) -> Ridge:
    if isinstance(objective, Classification):
        return ClassRidge.fit(x, rows["y"].to_numpy(int), objective.class_weights, penalties)
    if isinstance(objective, Survival):
        return CoxRidge.fit(x, rows["days"].to_numpy(float), rows["event"].to_numpy(int), objective.cuts, penalties)
    return NumberRidge.fit(x, objective.truth(rows)["value"].numpy().astype(float), penalties)


def _validate(model: BaselineModel, val: Covariates, rows: pd.DataFrame, objective: Objective) -> Validation:
    """Score a model on the validation cases."""
    if not len(rows):
        return Validation(np.nan, np.nan, np.nan)
    logits, truth = model.logits(val), objective.truth(rows)
    loss = float(objective.loss(logits, truth, torch.ones(len(rows), dtype=logits.dtype)))
    return Validation(objective.score(logits, truth), loss, objective.accuracy(logits, truth))


def _selected_by(objective: Objective, found: Validation, n_tried: int, chosen_penalty: bool) -> str:
    if not chosen_penalty:
        return "fixed"
    if n_tried == 1:
        return "default"
    return "loss" if np.isnan(found.score) else objective.metric


def load_baseline(folder: Path | str) -> BaselineModel:
    """Read the model of a baseline's run from its folder.

    Raises
    ------
    UserError
        If the run was skipped, has failed or collapsed, so that there is no model.
    DamagedFileError
        If the coefficients or what describes them are damaged.
    """
    folder = Path(folder)
    config = read_run_config(folder)
    tensors = {name: tensor.numpy() for name, tensor in read_weights(folder / MODEL).items()}
    coding = Coding.of(config["coding"], tensors[MEAN], tensors[SCALE])
    return BaselineModel(coding, RIDGES[config["task"]["kind"]].of(tensors, config.get("bins", ())))
