"""What the headline figures are within cohorts, where to know the cohort helps nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL
from ksfusion.results.metrics.names import metric_label
from ksfusion.results.report.answer import Lead, leads_of, listed
from ksfusion.results.statistics import COVERAGE
from ksfusion.results.tables.scores import TEST, with_split
from ksfusion.results.wording import in_words

WITHIN = "_within"
CONFOUNDED = "cohort_confounded_with_label"


def within_cohorts(
    table: pd.DataFrame, supplement: pd.DataFrame, audit: pd.DataFrame, titles: Mapping[str, str]
) -> list[str]:
    """Return what stands beside the headline: the same metric of the same method within cohorts.

    Parameters
    ----------
    table
        The long table of all methods.
    supplement
        That of Table S1, which has the metrics within cohorts.
    audit
        The findings on the tables, among which are cohorts that give a label away.
    titles
        Titles of tasks, by name, of those that have one.

    Returns
    -------
    list of str
        None where the test samples of each task are of one cohort.
    """
    whole = supplement[(supplement["level"] == "sample") & (supplement["cohort"] == ALL) & (supplement["fold"] == ALL)]
    found = {(row.task, row.method, row.metric): row for row in whole.itertuples()}
    told = [
        (lead, row)
        for lead in leads_of(table)
        if (row := found.get((lead.task, lead.first.method, f"{lead.metric}{WITHIN}"))) and _has_cohorts(table, lead)
    ]
    if not told:
        return []
    figures = listed([_figure(lead, row, titles) for lead, row in told])
    confounded = [in_words(lead.task, titles) for lead, _ in told if _is_confounded(audit, lead.task)]
    return [f"Compared within cohorts alone, {figures}.", *_warning(confounded)]


def _has_cohorts(table: pd.DataFrame, lead: Lead) -> bool:
    rows = with_split(table)
    cohorts = rows.loc[(rows["task"] == lead.task) & (rows["n"] > 0) & (rows["split"] == TEST), "cohort"]
    return len(set(cohorts) - {ALL}) > 1


def _figure(lead: Lead, row: Any, titles: Mapping[str, str]) -> str:
    label, metric, task = METHODS[lead.first.method].label, metric_label(lead.metric), in_words(lead.task, titles)
    if math.isnan(row.mean):
        return f"for {task} the {metric} of {label} is not known ({row.reason})"
    interval = "" if math.isnan(row.ci_low) else f" ({COVERAGE} % interval {row.ci_low:.1f} to {row.ci_high:.1f})"
    return f"for {task} the {metric} of {label} is {row.mean:.1f}{interval}"


def _is_confounded(audit: pd.DataFrame, task: str) -> bool:
    found = audit.loc[audit["check"] == CONFOUNDED, "detail"]
    return any(detail.startswith(f"{task}: ") for detail in found)


def _warning(confounded: list[str]) -> Iterator[str]:
    if confounded:
        yield (
            f"The cohort gives away much of {listed(confounded)}, so that the figure over all cohorts may come in "
            "part from telling cohorts apart; the one within cohorts cannot."
        )
