"""A small search of training settings, on the validation samples alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch

from ksfusion.training.config import SearchSettings
from ksfusion.training.data import FoldData
from ksfusion.training.distillation import Teacher
from ksfusion.training.fit import NotFiniteLossError
from ksfusion.training.fit_method import fit_method
from ksfusion.training.reproducible import THREADS, reproducible
from ksfusion.training.trials import Trials

log = logging.getLogger(__name__)

# Searched by orders of magnitude.
LOGARITHMIC = ("lr", "weight_decay")
RESULTS = ["selected_by", "value", "val_loss", "best_epoch", "reason"]


def run_trials(
    kept: Trials,
    data: FoldData,
    settings: SearchSettings,
    *,
    method: str,
    device: torch.device,
    name: str,
    teacher: Path | None = None,
) -> None:
    """Run the trials that are not finished: the configured settings, then those that are drawn.

    Parameters
    ----------
    kept
        Trials that are finished; each new one is added.
    data
        Training and validation samples.
    settings
        Task, configured settings, ranges, number of trials and seed.
    method
        Name of the method.
    device
        Device of the model.
    name
        Name of the search, for messages.
    teacher
        Run that the method learns from, where it has a teacher.
    """
    for number in range(len(kept.rows()), settings.trials + 1):
        trial = kept.ask(number) if number else None
        values = {
            key: getattr(settings.training, key) if trial is None else _draw(trial, key, *limits)
            for key, limits in settings.space.items()
        }
        row: dict[str, Any] = {"trial": number, **values, "reason": ""}
        try:
            with reproducible(settings.seed, device=device, threads=THREADS):
                _, objective, fitted = fit_method(
                    data,
                    task=settings.task,
                    method=method,
                    seed=settings.seed,
                    settings=settings.training.model_copy(update=values),
                    device=device,
                    name=f"{name}, trial {number}",
                    teacher=Teacher.read(teacher) if teacher else None,
                )
            value, loss = fitted.val[objective.metric], fitted.val["loss"]
            if value is None and loss is not None:
                value = -loss
            row |= {
                "selected_by": fitted.selected_by,
                "value": value,
                "val_loss": loss,
                "best_epoch": fitted.best_epoch,
            }
        except NotFiniteLossError as error:
            row |= {"value": math.nan, "reason": str(error)}
        kept.keep(row, trial)
        log.info("%s, trial %d: %s: value %.4g", name, number, values, row["value"])


def _draw(trial: optuna.Trial, key: str, low: float, high: float) -> float:
    """Draw a value, to four digits: what the table shows is what was trained with."""
    value = trial.suggest_float(key, low, high, log=key in LOGARITHMIC)
    return float(np.clip(float(f"{value:.4g}"), low, high))


def trial_table(kept: Trials, searched: Iterable[str]) -> pd.DataFrame:
    """Return the finished trials, a row each: number, the searched settings, and how it went."""
    return pd.DataFrame(kept.rows(), columns=["trial", *searched, *RESULTS])


def best_trial(table: pd.DataFrame, settings: SearchSettings) -> dict[str, Any]:
    """Return ``settings``, ``trial``, ``value``, ``selected_by`` and ``reason`` of the trial with the highest value.

    Of equal ones it is the first. Without trials, and where all have failed, the configured settings are chosen: the
    training with them says so if it fails too.
    """
    if table["value"].isna().all():
        configured = {key: getattr(settings.training, key) for key in settings.space}
        why = f"all trials failed, the first: {table['reason'].iloc[0]}" if len(table) else ""
        return {"settings": configured, "trial": None, "value": None, "selected_by": None, "reason": why}
    best = table.loc[table["value"].idxmax()]
    return {
        "settings": {key: float(best[key]) for key in settings.space},
        "trial": int(best["trial"]),
        "value": float(best["value"]),
        "selected_by": best["selected_by"],
        "reason": "",
    }
