"""The methods by subgroup of the test samples, and whether their results differ between subgroups.

The heterogeneity test is Wald's of equal metrics: the differences between the subgroups' means over folds and seeds,
weighed by their covariance over draws of cases, which takes along that a case may be in two subgroups. It is
approximate, and the more so the smaller the subgroups are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ksfusion.core.storage import read_tsv
from ksfusion.results.config import ALL, COHORT, ShownTask
from ksfusion.results.grouping import UNKNOWN, group_of, groups_in_order
from ksfusion.results.measures import Measure, PaperMeasure
from ksfusion.results.metrics import NAN
from ksfusion.results.runs import Run
from ksfusion.results.stage_settings import MakeSubgroupsSettings
from ksfusion.results.statistics import LEAST_CASES, CaseDraws, draws_by_fold
from ksfusion.results.tables.external import on_each_cohort
from ksfusion.results.tables.folds import (
    LEVELS,
    FoldTables,
    Level,
    average,
    cases_by_fold,
    score_fold,
    score_folds,
    skipped_text,
    tables_by_fold,
)
from ksfusion.results.tables.scores import TEST, number_texts, with_split
from ksfusion.terms.splits import EXTERNAL

NUMBERS = ["mean", "sd", "ci_low", "ci_high", "p"]
TOO_FEW_GROUPS = f"no test: fewer than two subgroups of {LEAST_CASES} cases that determine the metric"
UNDEFINED = "no test: undefined in half of the draws or more"
NO_VARIANCE = "no test: the differences have no variance"


class SubgroupScore(NamedTuple):
    """A row of the table of subgroups.

    Attributes
    ----------
    method, task, metric, level
        What is scored.
    subgroup, value
        The column, and the subgroup.
    mean, sd
        Over seeds, in percent; NaN where not known.
    ci_low, ci_high
        The interval of the mean over draws of the subgroup's cases; NaN where there is none.
    n, cases
        How many samples or cases of the subgroup, and how many cases.
    p
        Of the null that the subgroups of the column do not differ; NaN where this one is not among those tested.
    reason
        What is missing, and why; empty where nothing is.
    """

    method: str
    task: str
    metric: str
    level: Level
    subgroup: str
    value: str
    mean: float
    sd: float
    ci_low: float
    ci_high: float
    n: int
    cases: int
    p: float
    reason: str


COLUMNS = list(SubgroupScore._fields)


def all_subgroups(
    runs: Sequence[Run], columns: Mapping[str, Mapping[str, str]], settings: MakeSubgroupsSettings
) -> pd.DataFrame:
    """Score all runs by subgroup of the test samples, and of each external cohort.

    Parameters
    ----------
    runs, columns, settings
        See `subgroup_table`.

    Returns
    -------
    pandas.DataFrame
        With `COLUMNS` and ``split``; where there are external cohorts ``cohort`` too, which is `ALL` for the test
        samples. The column ``cohort`` makes no subgroups of an external one.
    """
    others = {name: values for name, values in columns.items() if name != COHORT}

    def score(of_cohort: Sequence[Run], external: str) -> pd.DataFrame:
        return subgroup_table(of_cohort, others, settings, repeated=True).assign(split=EXTERNAL, cohort=external)

    table = subgroup_table(runs, columns, settings).assign(split=TEST)
    outside = [rows for rows in on_each_cohort(runs, score) if len(rows)]
    return pd.concat([table.assign(cohort=ALL), *outside], ignore_index=True) if outside else table


def subgroup_table(
    runs: Sequence[Run],
    columns: Mapping[str, Mapping[str, str]],
    settings: MakeSubgroupsSettings,
    *,
    repeated: bool = False,
) -> pd.DataFrame:
    """Score all runs by subgroup.

    Parameters
    ----------
    runs
        The runs, as `ksfusion.results.runs.read_runs` returns them.
    columns
        Values of each column by sample_id, empty where unknown.
    settings
        Tasks and methods in the order of the table, where numbers are cut, and how often cases are drawn.
    repeated
        Whether the models of all folds score the same samples.

    Returns
    -------
    pandas.DataFrame
        With `COLUMNS`; a method without a result has no row.
    """
    rows = [
        row
        for method in settings.methods
        for task in settings.tasks
        if (own := [run for run in runs if (run.task, run.method) == (task.name, method)])
        for level in LEVELS
        for name, values in columns.items()
        for row in _score_column(
            own, task, level, name, _grouped(values, settings.ranges.get(name, ())), settings, repeated=repeated
        )
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({**dict.fromkeys(NUMBERS, float), "n": int, "cases": int})


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its numbers as text, empty where missing: four decimals, or digits of a p."""
    text = table[[*COLUMNS, *(name for name in ("split", COHORT) if name in table)]].copy()
    for column in NUMBERS:
        text[column] = number_texts(table[column], table["metric"])
    text["p"] = ["" if np.isnan(value) else format(value, ".4g") for value in table["p"]]
    return text


def read_subgroups(path: Path | None) -> pd.DataFrame | None:
    """Read a table as `ksfusion.stages.make_subgroups` writes it; None where there is none."""
    if path is None:
        return None
    table = read_tsv(path, dtype={"subgroup": str, "value": str, "reason": str})
    return with_split(table.astype(dict.fromkeys(NUMBERS, float)).fillna({"reason": ""}))


class _Groups(NamedTuple):
    """The subgroup of each sample, and the subgroups in order."""

    of_sample: Mapping[str, str]
    names: Sequence[str]


def _grouped(values: Mapping[str, str], edges: Sequence[float]) -> _Groups:
    of_sample = {sample_id: group_of(value, edges) for sample_id, value in values.items()}
    return _Groups(of_sample, groups_in_order(list(values.values()), edges))


def _score_column(
    runs: Sequence[Run],
    task: ShownTask,
    level: Level,
    column: str,
    groups: _Groups,
    settings: MakeSubgroupsSettings,
    *,
    repeated: bool,
) -> Iterator[SubgroupScore]:
    """Yield the scores of a method by the subgroups of one column that have test samples: metric by metric."""
    folds, measure, skipped = sorted({run.fold for run in runs}), PaperMeasure(task, quick=True), skipped_text(runs)
    found: dict[str, FoldTables] = {}
    for name in groups.names:
        tables = tables_by_fold([_only(run, name, groups) for run in runs], task, level, ALL, folds)
        if any(tables.values()):
            found[name] = tables
    cases = {name: frozenset().union(*cases_by_fold(tables).values()) for name, tables in found.items()}
    # Too few cases have no interval, for which one draw is enough.
    large = [name for name in found if len(cases[name]) >= LEAST_CASES]
    scored = {
        name: score_folds(tables, measure, settings.resamples if name in large else 1) for name, tables in found.items()
    }
    drawn: dict[str, dict[str, np.ndarray]] = {}
    if len(comparable := [name for name in large if name != UNKNOWN]) > 1:
        everywhere = cases_by_fold(tables_by_fold(runs, task, level, ALL, folds))
        joint = draws_by_fold(everywhere, resamples=settings.resamples)
        drawn = {name: _joint_draws(found[name], measure, joint) for name in comparable}
    for metric in measure.metrics:
        scores = {
            name: average(by_fold, metric, level, ALL, ALL, skipped, repeated=repeated)
            for name, by_fold in scored.items()
        }
        tested = [name for name in drawn if not any(fold.reasons[metric] for fold in scored[name].values())]
        means = np.array([scores[name].mean for name in tested])
        p, untested = heterogeneity(means, np.array([drawn[name][metric] for name in tested]))
        for name, score in scores.items():
            reasons = (score.reason, untested)
            yield SubgroupScore(
                method=runs[0].method,
                task=task.name,
                metric=metric,
                level=level,
                subgroup=column,
                value=name,
                mean=score.mean,
                sd=score.sd,
                ci_low=score.ci_low,
                ci_high=score.ci_high,
                n=score.n,
                cases=len(cases[name]),
                p=p if name in tested else NAN,
                reason="; ".join(text for text in reasons if text),
            )


def _only(run: Run, group: str, groups: _Groups) -> Run:
    """Return a run with the test samples of one subgroup."""
    of_sample = run.test["sample_id"].map(groups.of_sample).fillna(UNKNOWN)
    return replace(run, test=run.test[of_sample == group])


def _joint_draws(tables: FoldTables, measure: Measure, joint: Mapping[int, CaseDraws]) -> dict[str, np.ndarray]:
    """Return of each metric the mean over folds in each draw of the cases of all subgroups together."""
    scores = [score_fold(fold, by_seed, measure, joint[fold]) for fold, by_seed in tables.items() if by_seed]
    return {metric: np.mean([score.draws[metric] for score in scores], axis=0) for metric in measure.metrics}


def heterogeneity(means: np.ndarray, draws: np.ndarray) -> tuple[float, str]:
    """Test whether subgroups have the same mean.

    Parameters
    ----------
    means : numpy.ndarray, shape (n_groups,)
        Mean of each subgroup.
    draws : numpy.ndarray, shape (n_groups, resamples)
        The same in each draw of the cases of all subgroups; those in which one is NaN are left out.

    Returns
    -------
    p : float
        NaN where it cannot be tested.
    reason : str
        Why it cannot; empty where it can.
    """
    from scipy.stats import chi2

    if len(means) < 2:
        return NAN, TOO_FEW_GROUPS
    known = draws[:, np.isfinite(draws).all(axis=0)]
    if 2 * known.shape[1] <= draws.shape[1]:
        return NAN, UNDEFINED
    covariance = np.cov(known[1:] - known[0]).reshape(len(means) - 1, -1)
    difference = means[1:] - means[0]
    if np.linalg.matrix_rank(covariance) < len(difference):
        return NAN, NO_VARIANCE
    return float(chi2.sf(difference @ np.linalg.solve(covariance, difference), len(difference))), ""
