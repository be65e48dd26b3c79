"""The table of modalities: how much each metric falls when genes or patches are those of others, or do not interact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.core.storage import read_tsv
from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.measures import PaperMeasure
from ksfusion.results.metrics import METRICS
from ksfusion.results.metrics.names import IN_ITS_UNIT, LOWER_IS_BETTER
from ksfusion.results.modalities.changes import ADDITIVE, CHANGE, GENES, OWN, PATCHES, PERMUTATION, PERMUTATIONS
from ksfusion.results.runs import IDENTITY, Run, outcome_columns
from ksfusion.results.statistics import RESAMPLES
from ksfusion.results.tables.folds import FoldScores, FoldTables, average, score_folds, skipped_text

NUMBERS = ["value", "drop", "ci_low", "ci_high"]
COLUMNS = ["method", "task", "metric", "cohort", "permuted", *NUMBERS, "n", "reason"]
CHANGES = (GENES, PATCHES, ADDITIVE)
NOT_FINITE = "predictions are not finite"
ONE_CASE = "one test case, so that there is none to change places with"


def modality_table(
    audited: pd.DataFrame,
    runs: Sequence[Run],
    *,
    tasks: Sequence[ShownTask],
    methods: Sequence[str],
    shared: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Return how much the metrics of each method fall.

    Parameters
    ----------
    audited : pandas.DataFrame
        Table that `ksfusion.stages.audit_modalities` has written.
    runs
        The runs of these methods, of which those without a model say why.
    tasks, methods
        Tasks and methods, in the order of the table.
    shared
        Methods that were not trained because they are others under another name: each to the one whose runs are its
        own too.
    resamples
        Number of bootstrap resamples of the cases for an interval.

    Returns
    -------
    pandas.DataFrame
        With `COLUMNS`, in order of method, task, metric, cohort and what is changed. ``value`` is the metric with
        permuted genes or patches, the mean over permutations, seeds and folds, or that of the additive projection;
        ``drop`` is how much better the same samples as they are score. The interval is over cases, the trained models
        and the permutations as they are.
    """
    rows = []
    for method in methods:
        trained = (shared or {}).get(method, method)
        for task in tasks:
            own = audited[(audited["method"] == trained) & (audited["task"] == task.name)]
            skipped = skipped_text([run for run in runs if (run.task, run.method) == (task.name, method)])
            rows += [(method, task.name, *row) for row in _task_rows(own, task, skipped, resamples)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({**dict.fromkeys(NUMBERS, float), "n": int})


def _task_rows(own: pd.DataFrame, task: ShownTask, skipped: str, resamples: int) -> list[tuple[str | float, ...]]:
    """Return the rows of a method and task without these, in order of metric, cohort and change."""
    _, prediction = outcome_columns(task)
    if len(own) and not np.isfinite(own[prediction].to_numpy(float)).all():
        own, skipped = own.iloc[:0], "; ".join(text for text in (skipped, NOT_FINITE) if text)
    rows: dict[str, list[tuple[str | float, ...]]] = {metric: [] for metric in METRICS[task.kind]}
    for cohort in (ALL, *sorted(own["cohort"].unique())):
        here = own if cohort == ALL else own[own["cohort"] == cohort]
        for change in CHANGES:
            value, drop = _compare(here, change, task, resamples)
            for metric, found in rows.items():
                after = average(value, metric, "sample", cohort, ALL, skipped)
                lost = average(drop, metric, "sample", cohort, ALL, skipped)
                interval = (lost.ci_low, lost.ci_high)
                found.append((metric, cohort, change, after.mean, lost.mean, *interval, lost.n, lost.reason))
    return [row for found in rows.values() for row in found]


def _compare(
    here: pd.DataFrame, change: str, task: ShownTask, resamples: int
) -> tuple[dict[int, FoldScores], dict[int, FoldScores]]:
    """Return the scores of what is changed, fold by fold, and how much lower they are than of the same as it is."""
    changed = here[here[CHANGE] == change]
    before = here[here[CHANGE] == OWN].merge(changed[[*IDENTITY, "sample_id"]].drop_duplicates())
    first, second = (_by_seed(_tables(rows), task, resamples) for rows in (before, changed))
    values, drops = {}, {}
    for fold, scores in second.items():
        own = before[before["fold"] == fold]
        cases = own.groupby("cohort")["case_id"].nunique()
        alone = list(cases.index[cases == 1]) if change != ADDITIVE else []
        said = [f"{cohort}: {ONE_CASE}" for cohort in alone]
        reasons = {metric: "; ".join(filter(None, [reason, *said])) for metric, reason in scores.reasons.items()}
        # Where no case has another to change places with, nothing is told.
        known = {} if len(alone) == len(cases) else scores.values
        values[fold] = replace(
            scores, reasons=reasons, values={metric: known.get(metric, {}) for metric in METRICS[task.kind]}
        )
        drops[fold] = _drop(first[fold], values[fold])
    return values, drops


def _drop(before: FoldScores, after: FoldScores) -> FoldScores:
    """Return how much worse a fold's scores are afterwards."""
    sign = {metric: -1 if metric in LOWER_IS_BETTER else 1 for metric in after.values}
    return replace(
        after,
        values={
            metric: {seed: sign[metric] * (before.values[metric][seed] - value) for seed, value in by_seed.items()}
            for metric, by_seed in after.values.items()
        },
        draws={metric: sign[metric] * (before.draws[metric] - draws) for metric, draws in after.draws.items()},
    )


def _tables(rows: pd.DataFrame) -> FoldTables:
    """Return the samples of each fold, and of each seed and permutation, numbered together."""
    tables: FoldTables = {}
    for (fold, seed, permutation), table in rows.groupby(["fold", "seed", PERMUTATION]):
        tables.setdefault(fold, {})[seed * PERMUTATIONS + permutation] = table
    return tables


def _by_seed(tables: FoldTables, task: ShownTask, resamples: int) -> dict[int, FoldScores]:
    """Return the scores of each fold, and of each seed the mean over permutations."""
    scores = score_folds(tables, PaperMeasure(task, quick=True), resamples)
    return {fold: replace(found, values=_mean_of_seeds(found.values)) for fold, found in scores.items()}


def _mean_of_seeds(values: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    means: dict[str, dict[int, float]] = {}
    for metric, by_number in values.items():
        of_seed: dict[int, list[float]] = {}
        for number, value in by_number.items():
            of_seed.setdefault(number // PERMUTATIONS, []).append(value)
        means[metric] = {seed: float(np.mean(found)) for seed, found in of_seed.items()}
    return means


def shown_metric(metrics: Iterable[str]) -> str:
    """Return the metric of a task that figure and report show: the first in percent."""
    return next(metric for metric in metrics if metric not in IN_ITS_UNIT)


def as_it_is(metric: str, value: float, drop: float) -> float:
    """Return a metric of the samples as they are, from what is left of it and how much it has fallen."""
    return value - drop if metric in LOWER_IS_BETTER else value + drop


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its numbers as text of four decimals, empty where missing."""
    text = table[COLUMNS].copy()
    for column in NUMBERS:
        text[column] = ["" if np.isnan(value) else f"{value:.4f}" for value in table[column]]
    return text


def read_modalities(path: Path | None) -> pd.DataFrame | None:
    """Read the table as `ksfusion.stages.make_modalities` writes it; None where none is given."""
    if path is None:
        return None
    table = read_tsv(path, dtype={"cohort": str, "reason": str})
    return table.astype(dict.fromkeys(NUMBERS, float)).fillna({"reason": ""})
