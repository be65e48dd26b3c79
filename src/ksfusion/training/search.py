"""A small search of training settings, on the validation samples alone."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ksfusion.core.errors import UserError
from ksfusion.core.malloc import keep_freed_memory
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_text, write_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.training.data import FoldData, read_fold
from ksfusion.training.loop import fit_method, on_device
from ksfusion.training.objective import OBJECTIVES
from ksfusion.training.reproducible import reproducible
from ksfusion.training.resume import key_of
from ksfusion.training.trials import Trials

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

# Searched by orders of magnitude.
LOGARITHMIC = ("lr", "weight_decay")
RESULTS = ["selected_by", "value", "val_loss", "best_epoch", "reason"]


def search_settings(
    store: Path,
    expression: Path,
    selected: Path,
    samples_ledger: Path,
    cases: Path,
    splits: Path,
    *,
    chosen: Path,
    trials: Path,
    task: Mapping[str, Any],
    method: str,
    fold: int,
    seed: int,
    settings: Mapping[str, Any],
    space: Mapping[str, Sequence[float]],
    n_trials: int,
    device: str = "cpu",
    threads: int = 1,
) -> None:
    """Train a method with several settings and write down which gives the best validation result.

    The first trial has the configured settings, so that what is chosen is no worse on the validation samples; the
    others are drawn by a tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS). Of the test samples neither
    features nor genes nor labels are used. Where there is nothing to choose by, the configured settings are chosen.
    A search that was killed goes on after its last finished trial, to the same files (see `Trials`).

    Parameters
    ----------
    store, expression, selected, samples_ledger, cases, splits, task, method, fold, settings, device, threads
        See `ksfusion.training.loop.train`.
    chosen
        JSON file: ``settings`` (name to value), ``trial`` (from 0), ``value`` and ``selected_by``, ``reason``.
    trials
        Table: one row per trial, with its settings, its validation result and why it failed.
    seed
        Of every training, and of the search.
    space
        Name of a setting to its lowest and highest value.
    n_trials
        How many are drawn.

    Raises
    ------
    UserError
        If no trial ends with a finite loss.
    """
    info = METHODS[method]
    files = (store, expression, selected, samples_ledger, cases, splits)
    fold_data = read_fold(*files, task=task, fold=fold, modalities=info.modalities)
    data = fold_data.only("train", "val")
    run = {"task": task["name"], "method": method, "fold": fold, "seed": seed}
    reason = OBJECTIVES[task["kind"]].reason_to_skip(data.samples.iloc[data.labelled("train")])
    if not reason and not len(data.labelled("val")):
        reason = "no labelled validation sample"
    made_by = provenance(
        ("ksfusion.training.search", info.module),
        {**run, "task": dict(task), "training": dict(settings), "space": dict(space), "trials": n_trials},
    )
    where = torch.device(device)
    versions = [metadata.version(package) for package in ("optuna", "torch")]
    made_from = {"provenance": made_by, "device": where.type, "threads": threads, "versions": versions}
    kept = Trials(chosen.parent, key_of(made_from, files), seed)
    if not reason:
        keep_freed_memory()
        _run_trials(
            kept, on_device(data, where), run, task, settings, space, n_trials=n_trials, device=where, threads=threads
        )
    rows = kept.rows()
    table = pd.DataFrame(rows, columns=["trial", *space, *RESULTS])
    best = _best(table) if rows else {"trial": None, "value": None, "selected_by": None}
    values = {key: rows[best["trial"]][key] if rows else settings[key] for key in space}
    write_tsv(table, trials, made_by)
    choice = {"settings": values, **best, "reason": reason, "provenance": made_by}
    write_text(json.dumps(choice, indent=1, sort_keys=True) + "\n", chosen)
    kept.remove()


def _run_trials(
    kept: Trials,
    data: FoldData,
    run: Mapping[str, Any],
    task: Mapping[str, Any],
    settings: Mapping[str, Any],
    space: Mapping[str, Sequence[float]],
    *,
    n_trials: int,
    device: torch.device,
    threads: int,
) -> None:
    """Run the trials that are not finished: the configured settings, then ``n_trials`` that are drawn."""
    for number in range(len(kept.rows()), n_trials + 1):
        trial = kept.ask(number) if number else None
        values = {key: settings[key] if trial is None else _draw(trial, key, *space[key]) for key in space}
        name = f"{', '.join(f'{key} {value}' for key, value in run.items())}, trial {number}"
        row = {"trial": number, **values, "reason": ""}
        try:
            with reproducible(run["seed"], device=device, threads=threads):
                _, objective, fitted = fit_method(
                    data,
                    task=task,
                    method=run["method"],
                    seed=run["seed"],
                    settings={**settings, **values},
                    device=device,
                    name=name,
                )
            metric, loss = fitted.val[objective.metric], fitted.val["loss"]
            row |= {
                "selected_by": fitted.selected_by,
                "value": -loss if metric is None else metric,
                "val_loss": loss,
                "best_epoch": fitted.best_epoch,
            }
        except UserError as error:
            row |= {"value": math.nan, "reason": str(error)}
        kept.keep(row, trial)
        log.info("%s: %s: value %.4g", name, values, row["value"])


def _draw(trial: optuna.Trial, key: str, low: float, high: float) -> float:
    """Draw a value, to four digits: what the table shows is what was trained with."""
    value = trial.suggest_float(key, low, high, log=key in LOGARITHMIC)
    return float(np.clip(float(f"{value:.4g}"), low, high))


def _best(table: pd.DataFrame) -> dict[str, Any]:
    """Return the trial with the highest value, the first of equal ones."""
    if table["value"].isna().all():
        raise UserError(table["reason"].iloc[0])
    row = table.loc[table["value"].idxmax()]
    return {"trial": int(row["trial"]), "value": float(row["value"]), "selected_by": row["selected_by"]}
