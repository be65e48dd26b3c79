"""What is scored of a method and task in each fold, and its mean over folds and seeds with an interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import pandas as pd

from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.measures import Measure
from ksfusion.results.metrics import NAN
from ksfusion.results.metrics.names import UNORDERED
from ksfusion.results.runs import Run, average_by_case
from ksfusion.results.statistics import LEAST_CASES, SEED, CaseDraws, draws_by_fold, interval

Level: TypeAlias = Literal["sample", "case"]
LEVELS: tuple[Level, ...] = get_args(Level)


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
    known = {
        number: {seed: value for seed, value in scores.values[metric].items() if not np.isnan(value)}
        for number, scores in by_fold.items()
    }
    seeds = sorted({seed for by_seed in known.values() for seed in by_seed})
    per_seed = np.array([np.mean([by_seed[seed] for by_seed in known.values() if seed in by_seed]) for seed in seeds])
    drawn = mean_draws(by_fold, metric)
    low, high = (NAN, NAN) if drawn is None else interval(drawn)
    reasons = [skipped] if skipped else []
    # A task that was skipped lacks test predictions for that reason, not for want of samples.
    if any(scores.n for scores in by_fold.values()) or not skipped:
        told = {number: scores.reasons[metric] for number, scores in by_fold.items() if scores.reasons[metric]}
        reasons += [f"fold {number}: {text}" if len(by_fold) > 1 else text for number, text in told.items()]
    if seeds and np.isnan(low) and metric not in UNORDERED:
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
