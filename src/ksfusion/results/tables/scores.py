"""The result tables: every method on the test samples and cases, with intervals and the paper's values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.methods.variants import FULL_METHOD
from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.measures import Measure, paper_measure
from ksfusion.results.metrics import NAN
from ksfusion.results.metrics.names import IN_ITS_UNIT
from ksfusion.results.runs import Run
from ksfusion.results.stage_settings import TableName
from ksfusion.results.statistics import EXTERNAL_SEED, RESAMPLES, SEED
from ksfusion.results.tables.folds import (
    LEVELS,
    Level,
    Score,
    average,
    cohorts_of,
    mean_draws,
    score_folds,
    skipped_text,
    tables_by_fold,
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
PAPER_ALPHA = 0.5
TITLES: dict[TableName, str] = {
    "table1": "Methods compared on the test samples",
    "table2": "KS-Fusion without one of its components",
    "alpha": "Sensitivity to alpha",
    "table_s1": "Further metrics of the test samples",
}


# Method, task, metric and level of a score over all folds and cohorts, to its value in each draw of the cases.
DrawsOfScores: TypeAlias = dict[tuple[str, str, str, Level], np.ndarray]


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
