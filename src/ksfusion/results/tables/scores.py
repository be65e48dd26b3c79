"""The result tables: every method on the test samples and cases, with intervals and the paper's values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import pandas as pd

from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.methods.variants import FULL_METHOD
from ksfusion.results.config import ALL, ShownTask, TableName
from ksfusion.results.measures import Measure, paper_measure
from ksfusion.results.metrics import NAN
from ksfusion.results.metrics.names import IN_ITS_UNIT, UNORDERED
from ksfusion.results.runs import Run, average_by_case
from ksfusion.results.statistics import (
    EXTERNAL_SEED,
    LEAST_CASES,
    RESAMPLES,
    SEED,
    CaseDraws,
    draws_by_fold,
    interval,
)
from ksfusion.terms.modalities import MODALITIES
from ksfusion.terms.splits import EXTERNAL

TEST = "test"
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
    MODALITIES,
    "split",
]
NUMBERS = ["mean", "sd", "ci_low", "ci_high", "paper"]
Level: TypeAlias = Literal["sample", "case"]
LEVELS: tuple[Level, ...] = get_args(Level)
PAPER_ALPHA = 0.5
TITLES: dict[TableName, str] = {
    "table1": "Methods compared on the test samples",
    "table2": "KS-Fusion without one of its components",
    "alpha": "Sensitivity to alpha",
    "table_s1": "Further metrics of the test samples",
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


# Method, task, metric and level of a score over all folds and cohorts, to its value in each draw of the cases.
DrawsOfScores: TypeAlias = dict[tuple[str, str, str, Level], np.ndarray]
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
    ``alpha`` ksfusion and its variants with another alpha, Table S1 the methods of Tables 1 and 2.
    """
    methods = list(methods)
    ablations = [name for name in methods if METHODS[name].ablates]
    alphas = [name for name in methods if METHODS[name].alpha is not None]
    full = [name for name in methods if name == FULL_METHOD]
    return {
        "table1": [name for name in methods if name not in {*ablations, *alphas}],
        "table2": full + ablations if ablations else [],
        "alpha": full + alphas if alphas else [],
        "table_s1": [name for name in methods if name not in alphas],
    }


def as_text(long: pd.DataFrame) -> pd.DataFrame:
    """Return a long table with its numbers as text; see `number_texts`."""
    text = long[COLUMNS].copy()
    for column in NUMBERS:
        text[column] = number_texts(long[column], long["metric"])
    return text


def number_texts(values: pd.Series[float], metrics: pd.Series[str]) -> list[str]:
    """Return numbers as text, empty where missing: with four decimals, or six digits where the metric has a unit."""
    return [
        "" if np.isnan(value) else format(value, ".6g" if metric in IN_ITS_UNIT else ".4f")
        for value, metric in zip(values, metrics, strict=True)
    ]


def read_table(path: Path) -> pd.DataFrame:
    """Read a long table as `ksfusion.stages.make_tables` writes it."""
    table = read_tsv(path, dtype={"fold": str, "cohort": str, "reason": str})
    return with_modalities(with_split(table.astype(dict.fromkeys(NUMBERS, float)).fillna({"reason": ""})))


def with_split(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of results with the column that says of which split they are, which earlier ones lack."""
    return table if "split" in table else table.assign(split=TEST)


def with_modalities(table: pd.DataFrame) -> pd.DataFrame:
    """Return a long table with the column that says what its samples have, which earlier ones lack."""
    return table if MODALITIES in table else table.assign(**{MODALITIES: ALL})


def result_table(
    runs: Sequence[Run],
    *,
    tasks: Sequence[ShownTask],
    methods: Sequence[str],
    paper: pd.DataFrame | None = None,
    resamples: int = RESAMPLES,
    measures: Callable[[ShownTask, Sequence[Run]], Measure] = paper_measure,
    external: str = "",
    draws: DrawsOfScores | None = None,
) -> pd.DataFrame:
    """Score all runs.

    Parameters
    ----------
    runs
        The runs, as `ksfusion.results.runs.read_runs` returns them.
    tasks, methods
        Tasks and methods in the order of the table; a method may be any name, such as an oracle's.
    paper : pandas.DataFrame, optional
        Published values to stand beside: method, task, metric, percent.
    resamples
        Number of bootstrap resamples of the cases for an interval.
    measures
        Measures of a task, given the runs of a method.
    external
        The external cohort that the runs are of (`ksfusion.results.runs.Run.on_external`); empty for the test samples.
    draws
        Gets the draws of the scores over all folds and cohorts, where it is given.

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
            measure = measures(task, own)
            found = [
                pair for level in LEVELS for pair in _score_level(own, task, measure, level, folds, resamples, external)
            ]
            order = {metric: position for position, metric in enumerate(measure.metrics)}
            for score, drawn in sorted(found, key=lambda pair: order[pair[0].metric]):
                is_published = (score.level, score.cohort, score.fold) == ("sample", ALL, ALL)
                paper_value = NAN
                if published and is_published:
                    paper_value = published.get((_published_as(method), task.name, score.metric), NAN)
                row = {"method": method, "task": task.name, "paper": paper_value, **score._asdict()}
                rows.append({**row, "split": EXTERNAL if external else TEST, MODALITIES: ALL})
                if draws is not None and drawn is not None and score.cohort in (ALL, external):
                    draws[method, task.name, score.metric, score.level] = drawn
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({**dict.fromkeys(NUMBERS, float), "n": int})


def _published_as(method: str) -> str:
    """Return the row of the paper that a method is compared with: its KS-Fusion had the alpha of one variant."""
    info = METHODS[method]
    return info.base if info.alpha == PAPER_ALPHA else method


def _score_level(
    runs: Sequence[Run],
    task: ShownTask,
    measure: Measure,
    level: Level,
    folds: Sequence[int],
    resamples: int,
    external: str,
) -> Iterator[tuple[Score, np.ndarray | None]]:
    """Yield the scores of one method, task and level: all samples, then each cohort; all folds, then each.

    Those over all folds have their draws beside them.
    """
    has_result = any(not run.reason for run in runs)
    skipped = skipped_text(runs)
    for cohort in (ALL,) if external else (ALL, *cohorts_of(runs)):
        tables = tables_by_fold(runs, task, level, cohort, folds)
        by_fold = score_folds(tables, measure, resamples, seed=EXTERNAL_SEED if external else SEED)
        for metric in measure.metrics:
            repeated = bool(external)
            score = average(by_fold, metric, level, external or cohort, ALL, skipped, repeated=repeated)
            yield score, mean_draws(by_fold, metric)
            if has_result:
                for fold, scores in by_fold.items():
                    yield average({fold: scores}, metric, level, external or cohort, str(fold), skipped), None


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
        Level and cohort that are scored; `ALL` cohorts or one.
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


def score_folds(tables: FoldTables, measure: Measure, resamples: int, *, seed: int = SEED) -> dict[int, FoldScores]:
    """Score each fold, with the draws of its cases.

    Parameters
    ----------
    tables
        The test samples, or cases, of each fold and seed.
    measure
        Measure to compute.
    resamples, seed
        Number of bootstrap resamples of the cases, and their seed.
    """
    draws = draws_by_fold(cases_by_fold(tables), resamples=resamples, seed=seed)
    return {fold: score_fold(fold, by_seed, measure, draws.get(fold)) for fold, by_seed in tables.items()}


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


def score_fold(fold: int, tables: Mapping[int, pd.DataFrame], measure: Measure, drawn: CaseDraws | None) -> FoldScores:
    """Score the seeds of a fold.

    Parameters
    ----------
    fold
        Its number.
    tables
        The test samples, or cases, of each seed.
    measure
        Measure to compute.
    drawn
        Number of times that each case is drawn; None where there is no case, so that nothing is scored.
    """
    metrics = measure.metrics
    if drawn is None or not tables:
        none = dict.fromkeys(metrics, "no test sample")
        return FoldScores(0, frozenset(), {metric: {} for metric in metrics}, {}, none)
    measured = {
        seed: measure(table, drawn.of_samples(table["case_id"]), fold=fold, seed=seed) for seed, table in tables.items()
    }
    first = next(iter(tables.values()))
    draws = {metric: np.mean([found.draws[metric] for found in measured.values()], axis=0) for metric in metrics}
    if any(table["case_id"].nunique() == 1 for table in tables.values()):
        draws = {metric: np.full_like(values, NAN, dtype=float) for metric, values in draws.items()}
    reasons = next(iter(measured.values())).reasons
    return FoldScores(
        n=len(first),
        cases=frozenset(first["case_id"]),
        values={metric: {seed: found.values[metric] for seed, found in measured.items()} for metric in metrics},
        draws=draws,
        reasons={metric: reasons.get(metric, "") for metric in metrics},
    )


def mean_draws(by_fold: Mapping[int, FoldScores], metric: str) -> np.ndarray | None:
    """Return the mean of a metric over folds and seeds in each draw of the cases; None where these are too few."""
    defined = [scores for scores in by_fold.values() if not np.isnan(list(scores.values[metric].values())).all()]
    enough = len(frozenset().union(*(scores.cases for scores in defined))) >= LEAST_CASES
    if not enough or metric in UNORDERED:
        return None
    mean: np.ndarray = np.mean([scores.draws[metric] for scores in defined], axis=0)
    return mean


def average(
    by_fold: Mapping[int, FoldScores],
    metric: str,
    level: Level,
    cohort: str,
    fold: str,
    skipped: str,
    *,
    repeated: bool = False,
) -> Score:
    """Average a metric over folds, then over seeds.

    Folds are averaged rather than pooled: risks and probabilities of different models have no common scale.

    Parameters
    ----------
    by_fold
        The scores of each fold, or of one.
    metric, level, cohort, fold
        Metric, level, cohort and fold of the mean.
    skipped
        Why runs gave nothing, or nothing.
    repeated
        Whether the models of all folds score the same samples, as those of an external cohort, which count once.
    """
    values = pd.DataFrame({number: pd.Series(scores.values[metric], dtype=float) for number, scores in by_fold.items()})
    per_seed = values.mean(axis=1).dropna()
    drawn = mean_draws(by_fold, metric)
    low, high = (NAN, NAN) if drawn is None else interval(drawn)
    reasons = [skipped] if skipped else []
    # A task that was skipped lacks test predictions for that reason, not for want of samples.
    if any(scores.n for scores in by_fold.values()) or not skipped:
        told = {number: scores.reasons[metric] for number, scores in by_fold.items() if scores.reasons[metric]}
        reasons += [f"fold {number}: {text}" if len(by_fold) > 1 else text for number, text in told.items()]
    if values.notna().any(axis=None) and np.isnan(low) and metric not in UNORDERED:
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
        n=(max if repeated else sum)([scores.n for scores in by_fold.values()] or [0]),
        reason="; ".join(reasons),
    )
