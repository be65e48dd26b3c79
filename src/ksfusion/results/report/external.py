"""External cohorts as the report shows them: tables of each by itself with the drop, and a sentence on the leaders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TypedDict

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.metrics.names import metric_label, printed_value
from ksfusion.results.report.answer import leads_of, listed
from ksfusion.results.report.sections import SECTION_TITLES, ResultSection
from ksfusion.results.report.subgroups import SubgroupTable, subgroup_tables
from ksfusion.results.stage_settings import TableName
from ksfusion.results.statistics import COVERAGE
from ksfusion.results.tables.differences import Comparisons
from ksfusion.results.tables.external import cohorts_in
from ksfusion.results.tables.layout import Layout, lay_out
from ksfusion.results.tables.supplement import lay_out_supplement
from ksfusion.results.wording import in_words


class ExternalSection(TypedDict):
    """The results on an external cohort: tables by sample and by case, parts of Table S1, and subgroups."""

    cohort: str
    tables: list[ResultSection]
    supplement: list[tuple[str, Layout]]
    subgroups: list[SubgroupTable]


def external_sections(
    results: Mapping[TableName, pd.DataFrame],
    supplement: pd.DataFrame,
    drops: pd.DataFrame,
    subgroups: pd.DataFrame | None,
    *,
    tasks: Sequence[ShownTask],
    caveats: Sequence[str],
    titles: Mapping[str, str],
    comparisons: Comparisons | None = None,
) -> list[ExternalSection]:
    """Return the section of each external cohort; none where there is no such cohort.

    Parameters
    ----------
    results, supplement
        The long tables of `ksfusion.stages.make_tables`.
    drops
        Its table of drops against the test samples.
    subgroups
        The table of `ksfusion.stages.make_subgroups`.
    tasks
        The tasks, in the order of the tables.
    caveats
        Sentences that stand first among the notes of each table.
    titles
        Titles of tasks, by name, of those that have one.
    comparisons
        With the reference.
    """
    shown = partial(lay_out, caveats=caveats, titles=titles, comparisons=comparisons, drops=drops)
    sections = []
    for cohort in cohorts_in(results["table1"]):
        tables = [
            ResultSection(
                id=name,
                title=SECTION_TITLES[name].partition(". ")[0],
                samples=shown(long, cohort=cohort),
                cases=shown(long, cohort=cohort, level="case"),
            )
            for name, long in results.items()
            if cohort in cohorts_in(long)
        ]
        parts = lay_out_supplement(supplement, tasks, caveats=caveats, cohort=cohort, drops=drops)
        own = subgroup_tables(subgroups, titles, caveats, external=cohort)
        sections.append(ExternalSection(cohort=cohort, tables=tables, supplement=list(parts), subgroups=own))
    return sections


def external_sentences(table: pd.DataFrame, drops: pd.DataFrame, titles: Mapping[str, str]) -> Iterator[str]:
    """Yield of each external cohort what becomes there of the methods that lead on the test samples.

    Parameters
    ----------
    table
        The long table of all methods.
    drops
        Drops against the test samples.
    titles
        Titles of tasks, by name, of those that have one.
    """
    whole = table[(table["level"] == "sample") & (table["fold"] == ALL)]
    found = {(row.cohort, row.task, row.method, row.metric): row for row in whole.itertuples()}
    of_samples = drops[drops["level"] == "sample"]
    lost = {(row.cohort, row.task, row.method, row.metric): row for row in of_samples.itertuples()}
    for cohort in cohorts_in(table):
        said = []
        for lead in leads_of(table):
            key = (cohort, lead.task, lead.first.method, lead.metric)
            row, drop, label = found.get(key), lost.get(key), METHODS[lead.first.method].label
            if row is None or math.isnan(row.mean):
                continue
            value = printed_value(lead.metric, row.mean)
            text = f"for {in_words(lead.task, titles)} the {metric_label(lead.metric)} of {label} is {value}"
            if drop is not None and not math.isnan(drop.drop):
                ends = [printed_value(lead.metric, end) for end in (drop.ci_low, drop.ci_high)]
                certain = "" if math.isnan(drop.ci_low) else f", {COVERAGE} % interval {ends[0]} to {ends[1]}"
                less = printed_value(lead.metric, drop.drop)
                text += f" on {int(row.n)} samples, a drop of {less} against the test samples{certain}"
            said.append(text)
        if said:
            yield f"On the external cohort {cohort}, on which nothing was fitted, chosen or trained, {listed(said)}."
