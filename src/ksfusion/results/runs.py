"""What the training runs left: their test predictions, of samples and of cases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_parquet

IDENTITY = ("task", "method", "fold", "seed")


@dataclass(frozen=True, eq=False)
class Run:
    """One trained model, or why there is none.

    Attributes
    ----------
    task, method, fold, seed
        Which model.
    folder
        Where its files are.
    reason
        Why the run has no predictions; empty for a good run.
    best_epoch
        The epoch that was kept, or None.
    test : pandas.DataFrame
        Labelled test samples: sample_id, case_id, cohort, and the columns of `outcome_columns`.
    """

    task: str
    method: str
    fold: int
    seed: int
    folder: Path
    reason: str
    best_epoch: int | None
    test: pd.DataFrame


def outcome_columns(task: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the columns of truth and of prediction in ``predictions.parquet`` for a kind of task."""
    if task["kind"] == "survival":
        return ["days", "event"], ["risk"]
    return ["y"], [f"prob_{name}" for name in task["classes"]]


def read_runs(
    run_dirs: Iterable[Path], tasks: Iterable[Mapping[str, Any]], *, shared: Mapping[str, str] | None = None
) -> list[Run]:
    """Read runs in order of task, method, fold and seed; those of other tasks are left out.

    Parameters
    ----------
    run_dirs
        Their folders.
    tasks
        ``name``, ``kind`` and ``classes`` of each task.
    shared
        Methods that were not trained because they are others under another name: each such method to the one whose
        runs are its own too.

    Raises
    ------
    UserError
        If a run's files are missing or not what they should be, or two runs are the same.
    """
    by_name = {task["name"]: task for task in tasks}
    runs: dict[tuple, Run] = {}
    for folder in sorted(Path(run_dir) for run_dir in run_dirs):
        metrics = _read_metrics(folder / "metrics.json")
        if metrics["task"] not in by_name:
            continue
        run = _read_run(folder, metrics, by_name[metrics["task"]])
        identity = (run.task, run.method, run.fold, run.seed)
        if identity in runs:
            raise UserError(f"{folder}: the same run as {runs[identity].folder}; give each run once")
        runs[identity] = run
    for method, trained in (shared or {}).items():
        for run in [run for run in runs.values() if run.method == trained]:
            runs[run.task, method, run.fold, run.seed] = replace(run, method=method)
    return [runs[identity] for identity in sorted(runs)]


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if missing := [key for key in (*IDENTITY, "status") if key not in metrics]:
            raise ValueError(f"lacks {', '.join(missing)}")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a run's metrics ({error}); train this run again") from error
    return metrics


def _read_run(folder: Path, metrics: Mapping[str, Any], task: Mapping[str, Any]) -> Run:
    truth, prediction = outcome_columns(task)
    columns = ["sample_id", "case_id", "cohort", *truth, *prediction]
    reason = "" if metrics["status"] == "ok" else str(metrics.get("reason") or metrics["status"])
    test = pd.DataFrame(columns=columns)
    if not reason:
        table = read_parquet(folder / "predictions.parquet")
        if missing := [column for column in (*columns, "split") if column not in table]:
            raise UserError(f"{folder / 'predictions.parquet'}: lacks {', '.join(missing)}; train this run again")
        test = table.loc[table["split"] == "test", columns].dropna(subset=truth)
        test = test.sort_values("sample_id", ignore_index=True)
        test[truth + prediction] = test[truth + prediction].astype(float)
        if not np.isfinite(test[prediction].to_numpy()).all():
            reason = "predictions are not finite"
        elif test.empty:
            reason = "no labelled test sample"
    return Run(
        task=metrics["task"],
        method=metrics["method"],
        fold=int(metrics["fold"]),
        seed=int(metrics["seed"]),
        folder=folder,
        reason=reason,
        best_epoch=metrics.get("best_epoch"),
        test=test,
    )


def average_by_case(samples: pd.DataFrame, task: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per case: the mean prediction over its samples, and its own truth.

    Parameters
    ----------
    samples : pandas.DataFrame
        As `Run.test`.
    task
        ``kind`` and ``classes``.

    Returns
    -------
    pandas.DataFrame
        Sorted by case_id, which also stands as sample_id.
    """
    truth, prediction = outcome_columns(task)
    rules = {**dict.fromkeys(["cohort", *truth], "first"), **dict.fromkeys(prediction, "mean")}
    cases = samples.groupby("case_id", sort=True).agg(rules).reset_index()
    return cases.assign(sample_id=cases["case_id"])


def mean_prediction(runs: Iterable[Run], task: Mapping[str, Any]) -> pd.DataFrame:
    """Return each test sample once, its prediction averaged over the runs (the seeds of one fold)."""
    truth, prediction = outcome_columns(task)
    rows = pd.concat([run.test for run in runs], ignore_index=True)
    rules = {**dict.fromkeys(["case_id", "cohort", *truth], "first"), **dict.fromkeys(prediction, "mean")}
    return rows.groupby("sample_id", sort=True).agg(rules).reset_index()
