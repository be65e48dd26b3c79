"""The result tables: every method on the test samples and cases, with intervals and the paper's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import pandas as pd

from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.methods.variants import FULL_METHOD
from ksfusion.results.config import ALL, ShownTask, TableName
from ksfusion.results.metrics import (
    MACRO_METRICS,
    METRICS,
    NAN,
    absent_classes,
    classification_metrics,
    survival_metrics,
)
from ksfusion.results.runs import Run, average_by_case, outcome_columns
from ksfusion.results.statistics import (
    LEAST_CASES,
    RESAMPLES,
    CaseDraws,
    draws_by_fold,
    interval,
    resampled_classification,
    resampled_survival,
)

COLUMNS = [
    "method",
    "task",
    "metric",
    "level",
    "cohort",
    "fold",
    "mean",
    "sd",
    "ci_low",
    "ci_high",
    "paper",
    "n",
    "reason",
]
NUMBERS = ["mean", "sd", "ci_low", "ci_high", "paper"]
Level: TypeAlias = Literal["sample", "case"]
LEVELS: tuple[Level, ...] = get_args(Level)
PAPER_ALPHA = 0.5
TITLES: dict[TableName, str] = {
    "table1": "Methods compared on the test samples",
    "table2": "KS-Fusion without one of its components",
    "alpha": "Sensitivity to alpha",
}


class Score(NamedTuple):
    """A metric of one method and task: a row of the long table, without method, task and the paper's value.

    Attributes
    ----------
    metric, level, cohort, fold
        What was scored.
    mean, sd
        Over seeds, in percent; NaN where not known.
    ci_low, ci_high
        The interval of the mean; NaN where there is none.
    n
        How many samples or cases.
    reason
        What is missing, and why; empty where nothing is.
    """

    metric: str
    level: Level
    cohort: str
    fold: str
    mean: float
    sd: float
    ci_low: float
    ci_high: float
    n: int
    reason: str


# Fold to seed to a table as `Run.test`, or its cases.
FoldTables: TypeAlias = dict[int, dict[int, pd.DataFrame]]


@dataclass(frozen=True)
class FoldScores:
    """The scores of one fold.

    Attributes
    ----------
    n
        How many samples or cases.
    cases
        The cases they are of.
    values
        Metric to the value of each seed.
    draws : mapping of metric to numpy.ndarray (resamples,)
        The mean over seeds of each bootstrap draw.
    reasons
        Metric to what the test samples lack for it, or nothing.
    """

    n: int
    cases: frozenset[str]
    values: Mapping[str, Mapping[int, float]]
    draws: Mapping[str, np.ndarray]
    reasons: Mapping[str, str]


def choose_methods(methods: Iterable[str]) -> dict[TableName, list[str]]:
    """Return the methods of each table.

    Table 1 holds all methods but the ablations and the variants with another alpha, Table 2 ksfusion and the ablations,
    ``alpha`` ksfusion and its variants with another alpha.
    """
    methods = list(methods)
    ablations = [name for name in methods if METHODS[name].ablates]
    alphas = [name for name in methods if METHODS[name].alpha is not None]
    full = [name for name in methods if name == FULL_METHOD]
    return {
        "table1": [name for name in methods if name not in {*ablations, *alphas}],
        "table2": full + ablations if ablations else [],
        "alpha": full + alphas if alphas else [],
    }


def as_text(long: pd.DataFrame) -> pd.DataFrame:
    """Return a long table with its numbers as text of four decimals, empty where missing."""
    text = long[COLUMNS].copy()
    for column in NUMBERS:
        text[column] = long[column].map(lambda value: "" if np.isnan(value) else f"{value:.4f}").astype(object)
    return text


def read_table(path: Path) -> pd.DataFrame:
    """Read a long table as `ksfusion.stages.make_tables` writes it."""
    table = read_tsv(path, dtype={"fold": str, "cohort": str, "reason": str})
    return table.astype(dict.fromkeys(NUMBERS, float)).fillna({"reason": ""})


def result_table(
    runs: Sequence[Run],
    *,
    tasks: Sequence[ShownTask],
    methods: Sequence[str],
    paper: pd.DataFrame | None = None,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Score all runs.

    Parameters
    ----------
    runs
        The runs, as `ksfusion.results.runs.read_runs` returns them.
    tasks, methods
        What is scored, in the order of the table; a method may be any name, such as an oracle's.
    paper : pandas.DataFrame, optional
        Published values to stand beside: method, task, metric, percent.
    resamples
        How often cases are drawn for an interval.

    Returns
    -------
    pandas.DataFrame
        The long table of `COLUMNS`, in order of method, task, metric, level, cohort and fold. A method or task without
        a result has rows with the reason.
    """
    rows_of_paper = () if paper is None else paper.itertuples()
    published = {(row.method, row.task, row.metric): row.percent for row in rows_of_paper}
    folds = sorted({run.fold for run in runs})
    rows = []
    for method in methods:
        for task in tasks:
            own = [run for run in runs if (run.task, run.method) == (task.name, method)]
            found = [score for level in LEVELS for score in _score_level(own, task, level, folds, resamples)]
            order = {metric: position for position, metric in enumerate(METRICS[task.kind])}
            for score in sorted(found, key=lambda score: order[score.metric]):
                is_published = (score.level, score.cohort, score.fold) == ("sample", ALL, ALL)
                paper_value = NAN
                if published and is_published:
                    paper_value = published.get((_published_as(method), task.name, score.metric), NAN)
                rows.append({"method": method, "task": task.name, "paper": paper_value, **score._asdict()})
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({**dict.fromkeys(NUMBERS, float), "n": int})


def _published_as(method: str) -> str:
    """Return the row of the paper that a method is compared with: its KS-Fusion had the alpha of one variant."""
    info = METHODS[method]
    return info.base if info.alpha == PAPER_ALPHA else method


def _score_level(
    runs: Sequence[Run], task: ShownTask, level: Level, folds: Sequence[int], resamples: int
) -> list[Score]:
    """Return the scores of one method, task and level: all samples, then each cohort; all folds, then each."""
    has_result = any(not run.reason for run in runs)
    skipped = skipped_text(runs)
    rows = []
    for cohort in (ALL, *cohorts_of(runs)):
        by_fold = score_folds(tables_by_fold(runs, task, level, cohort, folds), task, resamples)
        for metric in METRICS[task.kind]:
            rows.append(average(by_fold, metric, level, cohort, ALL, skipped))
            if has_result:
                rows += [
                    average({fold: scores}, metric, level, cohort, str(fold), skipped)
                    for fold, scores in by_fold.items()
                ]
    return rows


def cohorts_of(runs: Iterable[Run]) -> list[str]:
    """Return the cohorts among the test samples of runs, sorted."""
    return sorted({cohort for run in runs if not run.reason for cohort in run.test["cohort"]})


def tables_by_fold(runs: Iterable[Run], task: ShownTask, level: Level, cohort: str, folds: Iterable[int]) -> FoldTables:
    """Return the test samples, or cases, of each fold and seed of one method; a run without a result has none.

    Parameters
    ----------
    runs
        The runs of the method and task.
    task
        The task.
    level, cohort
        What is scored; `ALL` cohorts or one.
    folds
        All folds; one without a run stands there empty.
    """
    tables: FoldTables = {fold: {} for fold in folds}
    for run in runs:
        if not run.reason:
            samples = run.test if cohort == ALL else run.test[run.test["cohort"] == cohort]
            if len(samples):
                tables[run.fold][run.seed] = samples if level == "sample" else average_by_case(samples, task)
    return tables


def score_folds(tables: FoldTables, task: ShownTask, resamples: int) -> dict[int, FoldScores]:
    """Score each fold, with the draws of its cases.

    Parameters
    ----------
    tables
        The test samples, or cases, of each fold and seed.
    task
        The task.
    resamples
        How often cases are drawn.
    """
    draws = draws_by_fold(cases_by_fold(tables), resamples=resamples)
    return {fold: _score_fold(by_seed, task, draws.get(fold)) for fold, by_seed in tables.items()}


def cases_by_fold(tables: FoldTables) -> dict[int, set[str]]:
    """Return the cases of each fold."""
    return {fold: {case for table in by_seed.values() for case in table["case_id"]} for fold, by_seed in tables.items()}


def skipped_text(runs: Sequence[Run]) -> str:
    """Return why runs gave nothing, or nothing."""
    reasons = sorted({run.reason for run in runs if run.reason})
    if not runs:
        return "no run"
    if not reasons:
        return ""
    skipped = sum(bool(run.reason) for run in runs)
    text = "; ".join(reasons)
    return text if skipped == len(runs) else f"{skipped} of {len(runs)} runs skipped: {text}"


def _score_fold(tables: Mapping[int, pd.DataFrame], task: ShownTask, drawn: CaseDraws | None) -> FoldScores:
    """Score the seeds of a fold; without a test sample nothing is drawn."""
    metrics = METRICS[task.kind]
    if drawn is None or not tables:
        none = dict.fromkeys(metrics, "no test sample")
        return FoldScores(0, frozenset(), {metric: {} for metric in metrics}, {}, none)
    truth, prediction = outcome_columns(task)
    values: dict[str, dict[int, float]] = {metric: {} for metric in metrics}
    draws: dict[str, list[np.ndarray]] = {metric: [] for metric in metrics}
    for seed, table in tables.items():
        weights = drawn.of_samples(table["case_id"])
        if task.kind == "survival":
            days, event, risk = (table[column].to_numpy() for column in truth + prediction)
            scores, resampled = survival_metrics(days, event, risk), resampled_survival(days, event, risk, weights)
        else:
            labels, probabilities = table["y"].to_numpy(), table[prediction].to_numpy()
            scores = classification_metrics(labels, probabilities)
            resampled = resampled_classification(labels, probabilities, weights)
        one_case = table["case_id"].nunique() == 1
        for metric in metrics:
            values[metric][seed] = scores[metric]
            draws[metric].append(np.full(len(weights), NAN) if one_case else resampled[metric])
    first = next(iter(tables.values()))
    return FoldScores(
        n=len(first),
        cases=frozenset(first["case_id"]),
        values=values,
        draws={metric: np.mean(draws[metric], axis=0) for metric in metrics},
        reasons={metric: _why_limited(metric, values[metric], first, task) for metric in metrics},
    )


def _why_limited(metric: str, values: Mapping[int, float], table: pd.DataFrame, task: ShownTask) -> str:
    """Return what the test samples lack for a metric, or nothing."""
    if task.kind == "survival":
        return "no pair of test samples can be compared" if np.isnan(list(values.values())).all() else ""
    absent = [task.class_labels()[number] for number in absent_classes(table["y"], len(task.classes))]
    if not absent or metric not in MACRO_METRICS:
        return ""
    if len(absent) == len(task.classes) - 1:
        return "one class only among the test samples"
    return f"no test sample of {', '.join(absent)}: average over the other classes"


def average(
    by_fold: Mapping[int, FoldScores], metric: str, level: Level, cohort: str, fold: str, skipped: str
) -> Score:
    """Average a metric over folds, then over seeds.

    Folds are averaged rather than pooled: risks and probabilities of different models have no common scale.

    Parameters
    ----------
    by_fold
        The scores of each fold, or of one.
    metric, level, cohort, fold
        What is averaged.
    skipped
        Why runs gave nothing, or nothing.
    """
    values = pd.DataFrame({number: pd.Series(scores.values[metric], dtype=float) for number, scores in by_fold.items()})
    per_seed = values.mean(axis=1).dropna()
    defined = [number for number in by_fold if number in values and values[number].notna().any()]
    low, high = NAN, NAN
    if len(frozenset().union(*(by_fold[number].cases for number in defined))) >= LEAST_CASES:
        low, high = interval(np.mean([by_fold[number].draws[metric] for number in defined], axis=0))
    reasons = [skipped] if skipped else []
    # A task that was skipped lacks test predictions for that reason, not for want of samples.
    if any(scores.n for scores in by_fold.values()) or not skipped:
        told = {number: scores.reasons[metric] for number, scores in by_fold.items() if scores.reasons[metric]}
        reasons += [f"fold {number}: {text}" if len(by_fold) > 1 else text for number, text in told.items()]
    if defined and np.isnan(low):
        reasons.append("too few test cases for an interval")
    return Score(
        metric=metric,
        level=level,
        cohort=cohort,
        fold=fold,
        mean=float(per_seed.mean()) if len(per_seed) else NAN,
        sd=float(per_seed.std(ddof=1)) if len(per_seed) > 1 else NAN,
        ci_low=low,
        ci_high=high,
        n=sum(scores.n for scores in by_fold.values()),
        reason="; ".join(reasons),
    )
