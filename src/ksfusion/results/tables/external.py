"""External cohorts beside the test samples: the same tables of their samples, and how far results drop there.

The interval of a drop is by bootstrap over the cases of both, which are drawn independently: none is in both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.core.storage import read_tsv
from ksfusion.results.config import ALL
from ksfusion.results.metrics import NAN
from ksfusion.results.metrics.names import UNORDERED
from ksfusion.results.runs import Run, external_cohorts
from ksfusion.results.statistics import LEAST_CASES, interval
from ksfusion.results.tables.scores import DrawsOfScores, number_texts
from ksfusion.terms.splits import EXTERNAL

KEY = ["method", "task", "metric", "level"]
COLUMNS = [*KEY, "cohort", "test", "external", "drop", "ci_low", "ci_high", "n_test", "n", "reason"]
NUMBERS = ["test", "external", "drop", "ci_low", "ci_high"]
# Of samples or cases that are not those of the test split.
TEST_WORD = re.compile(r"\btest (samples?|cases?)\b")


@dataclass(frozen=True)
class ScoredCohorts:
    """The long table of the test samples and of each external cohort, and their drops."""

    table: pd.DataFrame
    drops: pd.DataFrame


def on_each_cohort(runs: Sequence[Run], score: Callable[..., pd.DataFrame]) -> list[pd.DataFrame]:
    """Return a table of each external cohort, whose reasons speak of its samples.

    Parameters
    ----------
    runs
        The runs of the study.
    score
        Returns the table of runs that have the samples of a cohort in the place of their test samples; it takes the
        runs, and the cohort as ``external``.
    """
    tables = [score([run.on_external(cohort) for run in runs], external=cohort) for cohort in external_cohorts(runs)]
    return [table.assign(reason=table["reason"].map(without_test)) for table in tables]


def without_test(text: str) -> str:
    """Return a text about test samples, or cases, that are those of an external cohort."""
    return TEST_WORD.sub(r"\1", text)


def score_all(runs: Sequence[Run], score: Callable[..., pd.DataFrame]) -> ScoredCohorts:
    """Score the test samples, and each external cohort by itself.

    Parameters
    ----------
    runs
        The runs.
    score
        Returns the long table of runs, and adds the draws of its scores to a mapping, as
        `ksfusion.results.tables.scores.result_table` does; it takes the runs, the external cohort that they are of
        (empty for the test samples) as ``external``, and the mapping as ``draws``.
    """
    inside: DrawsOfScores = {}
    tables = [score(runs, external="", draws=inside)]
    drops = [no_drops()]

    def scored(own: Sequence[Run], external: str) -> pd.DataFrame:
        outside: DrawsOfScores = {}
        table = score(own, external=external, draws=outside)
        drops.append(drop_table(tables[0], table, inside, outside))
        return table

    tables += on_each_cohort(runs, scored)
    return ScoredCohorts(
        pd.concat(tables, ignore_index=True), pd.concat([part for part in drops if len(part)] or drops[:1])
    )


def drop_table(
    test: pd.DataFrame, external: pd.DataFrame, test_draws: DrawsOfScores, external_draws: DrawsOfScores
) -> pd.DataFrame:
    """Return how far each result on an external cohort is below that on the test samples.

    Parameters
    ----------
    test, external
        Long tables of the test samples and of the cohort.
    test_draws, external_draws
        Their scores in each draw of the cases, by method, task, metric and level.

    Returns
    -------
    pandas.DataFrame
        With `COLUMNS`, over all folds, in the order of ``external``; ``drop`` is the test result less the external one.
        Of p-values there is none.
    """
    inside = test[(test["cohort"] == ALL) & (test["fold"] == ALL)].set_index(KEY)
    rows = []
    for row in external[(external["fold"] == ALL) & ~external["metric"].isin(UNORDERED)].itertuples():
        key = (row.method, row.task, row.metric, row.level)
        of_test = inside.loc[key]
        low, high = NAN, NAN
        drop = of_test["mean"] - row.mean
        if known := not np.isnan(drop) and key in test_draws and key in external_draws:
            low, high = interval(test_draws[key] - external_draws[key])
        reason = f"fewer than {LEAST_CASES} cases on one side: no interval" if not (np.isnan(drop) or known) else ""
        if np.isnan(drop):
            reason = "no result on the test samples" if np.isnan(of_test["mean"]) else "no result on the cohort"
        values = (row.cohort, of_test["mean"], row.mean, drop, low, high, int(of_test["n"]), int(row.n), reason)
        rows.append((*key, *values))
    return pd.DataFrame(rows, columns=COLUMNS)


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of drops with its numbers as text, as those of `ksfusion.results.tables.scores.as_text`."""
    text = table[COLUMNS].copy()
    for column in NUMBERS:
        text[column] = number_texts(table[column].astype(float), table["metric"])
    return text


def no_drops() -> pd.DataFrame:
    """Return a table of drops of no cohort."""
    return pd.DataFrame(columns=COLUMNS)


def read_drops(path: Path | None) -> pd.DataFrame:
    """Read the table of drops as `ksfusion.stages.make_tables` writes it; empty where none is given."""
    if path is None:
        return no_drops()
    table = read_tsv(path, dtype={"cohort": str, "reason": str})
    return table.astype(dict.fromkeys(NUMBERS, float)).fillna({"reason": ""})


def cohorts_in(table: pd.DataFrame) -> list[str]:
    """Return the external cohorts of a long table, in its order."""
    return list(table.loc[table["split"] == EXTERNAL, "cohort"].unique())


def outside(cohort: str) -> str:
    """Return what an external cohort is called in titles."""
    return f"external cohort {cohort}"


def title_outside(title: str, cohort: str) -> str:
    """Return the title of a table of the test samples for the same of an external cohort."""
    return f"{without_test(title)}: {outside(cohort)}"
