"""What the training runs left: their predictions of test samples and external cohorts, of samples and of cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_json
from ksfusion.terms.modalities import MODALITIES, PAIRED
from ksfusion.terms.splits import EXTERNAL
from ksfusion.terms.tasks import PREDICTED, PROBABILITY, RISK, TaskOutcome, hazard_columns, prediction_columns

IDENTITY = ("task", "method", "fold", "seed")
Identity: TypeAlias = tuple[str, str, int, int]


@dataclass(frozen=True, eq=False)
class RunCurves:
    """Cut times of the survival curves, and follow-up of the cases on which censoring is estimated.

    Attributes
    ----------
    cuts
        Days at which survival is predicted, ascending; empty where it is not.
    days, event : numpy.ndarray, shape (n_cases,)
        Follow-up of the cases on which censoring is estimated: those of training, or of an external cohort itself.
    """

    cuts: Sequence[float] = ()
    days: np.ndarray = field(default_factory=lambda: np.empty(0))
    event: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))


@dataclass(frozen=True, eq=False)
class Run:
    """One trained model, or why there is none.

    Attributes
    ----------
    task, method, fold, seed
        What was trained.
    folder
        The folder of its files.
    reason
        Why the run has no predictions; empty for a good run.
    best_epoch
        The epoch that was kept, or None.
    test : pandas.DataFrame
        Labelled test samples: sample_id, case_id, cohort, and the columns of `outcome_columns`; where curves were
        asked for those of `survival_columns` too.
    curves
        What the survival curves are about, where they were asked for.
    external
        The same as ``test`` for the samples of each external cohort.
    failure
        Why the run has no model; empty where it has one.
    partial
        The same as ``test`` for test samples with a slide or genes alone, by ``slides only`` and ``genes only``, of
        those that the method serves; ``test`` has the paired ones then. None where all samples of the study have the
        same.
    """

    task: str
    method: str
    fold: int
    seed: int
    folder: Path
    reason: str
    best_epoch: int | None
    test: pd.DataFrame
    curves: RunCurves = field(default_factory=RunCurves)
    external: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    failure: str = ""
    partial: Mapping[str, pd.DataFrame] | None = None

    def on_partial(self, kind: str) -> Run:
        """Return the run with the test samples that have a slide or genes alone in the place of the paired ones."""
        samples = (self.partial or {}).get(kind, self.test.iloc[:0])
        reason = self.failure or _why_unscored(samples, f"no labelled test sample with {kind}")
        return replace(self, test=samples, reason=reason, external={})

    def on_external(self, cohort: str) -> Run:
        """Return the run with an external cohort's samples in the place of the test samples.

        Censoring is then estimated on that cohort.
        """
        samples = self.external.get(cohort, self.test.iloc[:0])
        reason = self.failure or _why_unscored(samples, f"no labelled sample of cohort {cohort}")
        curves = self.curves
        if curves.cuts:
            cases = samples.drop_duplicates("case_id")
            curves = replace(curves, days=cases["days"].to_numpy(float), event=cases["event"].to_numpy(bool))
        return replace(self, test=samples, reason=reason, curves=curves, external={})

    @property
    def identity(self) -> Identity:
        """Task, method, fold and seed, which no two runs share."""
        return self.task, self.method, self.fold, self.seed


def outcome_columns(task: TaskOutcome) -> tuple[list[str], list[str]]:
    """Return the columns of truth and of prediction of a task in ``predictions.parquet``."""
    return ["days", "event"] if task.kind == "survival" else ["y"], prediction_columns(task)


def survival_columns(n_cuts: int) -> list[str]:
    """Return the columns of a run's samples with the probabilities of being alive at its cuts."""
    return [f"alive_{number}" for number in range(n_cuts)]


def read_runs(
    folders: Iterable[Path],
    tasks: Iterable[TaskOutcome],
    *,
    shared: Mapping[str, str] | None = None,
    curves: bool = False,
) -> list[Run]:
    """Read runs in order of task, method, fold and seed; those of other tasks are left out.

    Parameters
    ----------
    folders
        The folder of each run, with ``predictions.parquet`` and ``metrics.json``.
    tasks
        The tasks whose runs are read.
    shared
        Methods that were not trained because they are others under another name: each such method to the one whose
        runs are its own too.
    curves
        Read survival curves too, whose cuts stand in ``config.json``; a run without that file has none.

    Raises
    ------
    UserError
        If a run's files are missing or not what they should be, or two runs are the same.
    """
    by_name = {task.name: task for task in tasks}
    runs: dict[Identity, Run] = {}
    for folder in sorted(folders):
        metrics = _read_metrics(folder / "metrics.json")
        if metrics["task"] not in by_name:
            continue
        run = _read_run(folder, metrics, by_name[metrics["task"]], curves=curves)
        if run.identity in runs:
            raise UserError(f"{folder}: the same run as {runs[run.identity].folder}; give each run once")
        runs[run.identity] = run
    for method, trained in (shared or {}).items():
        for run in [run for run in runs.values() if run.method == trained]:
            same = replace(run, method=method)
            runs[same.identity] = same
    return [runs[identity] for identity in sorted(runs)]


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = read_json(path)
        if missing := [key for key in (*IDENTITY, "status") if key not in metrics]:
            raise ValueError(f"lacks {', '.join(missing)}")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a run's metrics ({error}); train this run again") from error
    return metrics


def _read_run(folder: Path, metrics: Mapping[str, Any], task: TaskOutcome, *, curves: bool) -> Run:
    truth, prediction = outcome_columns(task)
    columns = ["sample_id", "case_id", "cohort", *truth, *prediction]
    failure = reason = "" if metrics["status"] == "ok" else str(metrics.get("reason") or metrics["status"])
    test, found, external = pd.DataFrame(columns=columns), RunCurves(), {}
    partial: dict[str, pd.DataFrame] | None = None
    if not failure:
        table = read_parquet(folder / "predictions.parquet")
        if missing := [column for column in (*columns, "split") if column not in table]:
            raise UserError(f"{folder / 'predictions.parquet'}: lacks {', '.join(missing)}; train this run again")
        if curves and task.kind == "survival":
            found, alive = _read_curves(folder / "config.json", table)
            table = table.join(alive)
            columns += list(alive)
        table = table.sort_values("sample_id", ignore_index=True).astype(dict.fromkeys(truth + prediction, float))
        labelled = table[truth].notna().all(axis=1)
        paired, partial = _by_modalities(table[labelled & (table["split"] == "test")], columns)
        test = paired.reset_index(drop=True)
        external = {
            cohort: _paired_where_any(rows[labelled[rows.index]])[columns].reset_index(drop=True)
            for cohort, rows in table[table["split"] == EXTERNAL].groupby("cohort", sort=True)
        }
        reason = _why_unscored(test, "no labelled test sample")
    return Run(
        task=metrics["task"],
        method=metrics["method"],
        fold=int(metrics["fold"]),
        seed=int(metrics["seed"]),
        folder=folder,
        reason=reason,
        best_epoch=metrics.get("best_epoch"),
        test=test,
        curves=found,
        external=external,
        failure=failure,
        partial=partial,
    )


def _by_modalities(
    samples: pd.DataFrame, columns: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame] | None]:
    """Return the paired samples, and the others by what they have; all, and None, where they have the same."""
    if MODALITIES not in samples:
        return samples[columns], None
    kinds = samples[samples[MODALITIES] != PAIRED].groupby(MODALITIES)
    others = {kind: rows[columns].reset_index(drop=True) for kind, rows in kinds}
    return paired_samples(samples)[columns], others


def paired_samples(table: pd.DataFrame) -> pd.DataFrame:
    """Return the paired samples of a table of predictions; all where samples of the study do not differ in that."""
    return table[table[MODALITIES] == PAIRED] if MODALITIES in table else table


def _paired_where_any(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the paired samples of an external cohort; all where it has none, as one without RNA."""
    paired = paired_samples(samples)
    return paired if len(paired) else samples


def _why_unscored(samples: pd.DataFrame, nothing: str) -> str:
    """Return why predictions of labelled samples cannot be scored; ``nothing``: the reason where there are none."""
    predicted = samples[[name for name in samples if name in (PREDICTED, RISK) or name.startswith(PROBABILITY)]]
    if not np.isfinite(predicted.to_numpy(float)).all():
        return "predictions are not finite"
    return nothing if samples.empty else ""


def external_cohorts(runs: Iterable[Run]) -> list[str]:
    """Return the external cohorts of runs, sorted."""
    return sorted({cohort for run in runs for cohort in run.external})


def _read_curves(path: Path, table: pd.DataFrame) -> tuple[RunCurves, pd.DataFrame]:
    """Return what a run's survival curves are about, and each sample's probability of being alive at the cuts."""
    train = table[table["split"] == "train"].dropna(subset=["days", "event"]).drop_duplicates("case_id")
    bins = read_json(path).get("bins", []) if path.is_file() else []
    cuts = np.unique(bins)
    hazards = table[hazard_columns(len(bins))].to_numpy(float)
    # Of equal cuts the last: the intervals between them are empty.
    alive = np.cumprod(1 - hazards, axis=1)[:, np.searchsorted(bins, cuts, side="right") - 1]
    curves = RunCurves(tuple(cuts.tolist()), train["days"].to_numpy(float), train["event"].to_numpy(bool))
    return curves, pd.DataFrame(alive, index=table.index, columns=survival_columns(len(cuts)))


def average_by_case(samples: pd.DataFrame, task: TaskOutcome) -> pd.DataFrame:
    """Return one row per case: the mean prediction over its samples, and its own truth.

    Parameters
    ----------
    samples : pandas.DataFrame
        As `Run.test`.
    task
        The task that is predicted.

    Returns
    -------
    pandas.DataFrame
        Sorted by case_id, which also stands as sample_id.
    """
    truth, prediction = outcome_columns(task)
    alive = [column for column in samples if column.startswith("alive_")]
    rules = {**dict.fromkeys(["cohort", *truth], "first"), **dict.fromkeys([*prediction, *alive], "mean")}
    cases = samples.groupby("case_id", sort=True).agg(rules).reset_index()
    return cases.assign(sample_id=cases["case_id"])


def mean_prediction(runs: Iterable[Run], task: TaskOutcome) -> pd.DataFrame:
    """Return each test sample once, its prediction averaged over the runs (the seeds of one fold)."""
    truth, prediction = outcome_columns(task)
    rows = pd.concat([run.test for run in runs], ignore_index=True)
    rules = {**dict.fromkeys(["case_id", "cohort", *truth], "first"), **dict.fromkeys(prediction, "mean")}
    return rows.groupby("sample_id", sort=True).agg(rules).reset_index()
