"""The results of a bundle on labelled cases, as a study's long tables, beside those of the study's own test cases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from ksfusion.bundles.contents import METRICS
from ksfusion.bundles.draws import read_draws
from ksfusion.bundles.evaluation import Evaluated, as_runs
from ksfusion.bundles.read import Bundle
from ksfusion.core.storage import read_tsv
from ksfusion.results.config import ALL, Times
from ksfusion.results.further_measures import FurtherMeasures
from ksfusion.results.measures import paper_measure
from ksfusion.results.runs import Run
from ksfusion.results.tables.external import KEY, drop_table, no_drops, on_each_cohort
from ksfusion.results.tables.partial import ALONE
from ksfusion.results.tables.scores import DrawsOfScores, result_table
from ksfusion.terms.modalities import MODALITIES, PAIRED

SAME_CASES = "cases of the study are among them: no interval"


def scores(
    bundle: Bundle, found: Evaluated, runs: Sequence[Run], resamples: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the results on each cohort.

    Parameters
    ----------
    bundle
        The bundle.
    found
        What it is evaluated on.
    runs
        The members as runs (`ksfusion.bundles.evaluation.as_runs`).
    resamples
        Draws of the cases for the intervals.

    Returns
    -------
    table, further
        Long tables of the metrics of the paper's tables, and of the further ones. Where a cohort has samples with a
        slide or genes alone beside paired ones, these are scored alone, and the others have rows of their own.
    drops
        Of both, against the study's test samples (`ksfusion.results.tables.external.COLUMNS`).
    """
    study = read_draws(bundle.folder, bundle.method, bundle.task.name)
    drops = [no_drops()]

    score = partial(result_table, tasks=[bundle.task], methods=[bundle.method], resamples=resamples)

    def score_with_drop(of_runs: Sequence[Run], external: str, measures: Any) -> pd.DataFrame:
        draws: DrawsOfScores = {}
        table = score(of_runs, external=external, measures=measures, draws=draws)
        if external in found.of_study:
            drops.append(drop_table(_inside(bundle, table), table, {}, {}).assign(reason=SAME_CASES))
        else:
            drops.append(drop_table(_inside(bundle, table), table, *_as_many(study, draws)))
        return table

    def of_all(measures: Any) -> pd.DataFrame:
        tables = on_each_cohort(runs, partial(score_with_drop, measures=measures))
        return pd.concat(tables, ignore_index=True).assign(**{MODALITIES: ALL})

    table, further = of_all(paper_measure), of_all(FurtherMeasures(Times().times))
    parts = [table]
    for kind in ALONE:
        if others := _with_one(found, kind):
            rows = on_each_cohort(as_runs(bundle, others), score)
            parts.append(pd.concat(rows).assign(**{MODALITIES: kind}))
    table = pd.concat(parts, ignore_index=True)
    return table, further, pd.concat([part for part in drops if len(part)] or drops, ignore_index=True)


def _with_one(found: Evaluated, kind: str) -> dict[Any, pd.DataFrame]:
    """Return the samples of one kind, of the cohorts that have paired ones beside them; empty without any."""
    tables = {}
    for member, table in found.tables.items():
        if MODALITIES in table:
            paired = set(table.loc[table[MODALITIES] == PAIRED, "cohort"])
            tables[member] = table[(table[MODALITIES] == kind) & table["cohort"].isin(paired)]
    return tables if any(len(table) for table in tables.values()) else {}


def _as_many(*draws: DrawsOfScores) -> list[DrawsOfScores]:
    """Return draws of which there are as many on all sides: those of a study are as many as it wanted."""
    fewest = min((len(drawn) for side in draws for drawn in side.values()), default=0)
    return [{key: drawn[:fewest] for key, drawn in side.items()} for side in draws]


def _inside(bundle: Bundle, external: pd.DataFrame) -> pd.DataFrame:
    """Return the results on the study's own test samples, as the bundle has them, of all that is in a long table."""
    study = read_tsv(bundle.folder / METRICS, dtype=dict.fromkeys([*KEY, "fold", "cohort"], str))
    study = study[(study["cohort"] == ALL) & (study["fold"] == ALL)]
    if MODALITIES in study:
        study = study[study[MODALITIES].fillna(ALL).isin([ALL, PAIRED])]
    rows = external.loc[external["fold"] == ALL, KEY].drop_duplicates()
    known = study.drop_duplicates(KEY)[[*KEY, "mean", "n"]].astype({"mean": float, "n": float})
    return rows.merge(known, on=KEY, how="left").fillna({"n": 0}).assign(cohort=ALL, fold=ALL)
