"""What was asked, and the answer in three sentences, no more of it than the tests allow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL
from ksfusion.results.metrics.names import is_low_best, metric_label, printed_value
from ksfusion.results.statistics import COVERAGE
from ksfusion.results.tables.differences import Comparisons, survives
from ksfusion.results.wording import in_words

# Of metrics whose value by guessing is known.
CHANCE = {"auc": 50.0, "c_index": 50.0}


class Lead(NamedTuple):
    """The method with the highest mean in the first metric of a task, and the one after it.

    Attributes
    ----------
    task, metric
        Whose mean it is.
    first, second
        The rows of the long table; no second where one method alone has a result.
    """

    task: str
    metric: str
    first: Any
    second: Any | None


def listed(words: list[str]) -> str:
    """Return words as a list in a sentence."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def question(table: pd.DataFrame, n_cases: int, titles: Mapping[str, str]) -> str:
    """Return what was asked of the methods in the long table of `make-tables`.

    Parameters
    ----------
    table
        The long table of all methods.
    n_cases
        Cases in use.
    titles
        Titles of tasks, by name, of those that have one.
    """
    tasks = listed([in_words(task, titles) for task in table["task"].unique()])
    methods = table["method"].nunique()
    compared = f"{methods} methods are compared" if methods > 1 else "One method is scored"
    return (
        f"How well are {tasks} predicted for cases that a model has not seen? {compared} on the same splits of "
        f"{n_cases} cases; no case is tested by a model that was trained on it."
    )


def answer(table: pd.DataFrame, comparisons: Comparisons | None, titles: Mapping[str, str]) -> list[str]:
    """Return three sentences: which method has the highest mean, by how much, and what of it a test shows.

    They are about the first metric of each task, by sample, over all cohorts and folds.

    Parameters
    ----------
    table
        The long table of all methods.
    comparisons
        With the reference.
    titles
        Titles of tasks, by name, of those that have one.
    """
    leads = list(leads_of(table))
    if not leads:
        return ["No method has a result."]
    sentences = [f"On the test samples {listed([_best(lead, titles) for lead in leads])}."]
    margins = [text for lead in leads if (text := _margin(lead, titles))]
    if margins:
        sentences.append(f"The distance to the next method is {listed(margins)}.")
    return [*sentences, _tested(leads, table, comparisons, titles)]


def leads_of(table: pd.DataFrame) -> Iterator[Lead]:
    """Yield the lead in the first metric of each task, by sample, over all cohorts and folds.

    Parameters
    ----------
    table
        The long table of all methods.
    """
    whole = table[(table["level"] == "sample") & (table["cohort"] == ALL) & (table["fold"] == ALL)]
    for task, rows in whole.groupby("task", sort=False):
        metric = rows["metric"].iloc[0]
        found = rows[(rows["metric"] == metric) & rows["mean"].notna()]
        ordered = list(found.sort_values("mean", ascending=is_low_best(metric), kind="stable").itertuples())
        if ordered:
            yield Lead(str(task), metric, ordered[0], ordered[1] if len(ordered) > 1 else None)


def _best(lead: Lead, titles: Mapping[str, str]) -> str:
    first, end = lead.first, "lowest" if is_low_best(lead.metric) else "highest"
    mean, low, high = (printed_value(lead.metric, value) for value in (first.mean, first.ci_low, first.ci_high))
    certain = "too few for an interval" if math.isnan(first.ci_low) else f"{COVERAGE} % interval {low} to {high}"
    chance = ", below chance" if lead.metric in CHANCE and first.mean < CHANCE[lead.metric] else ""
    value = f"{mean} on {int(first.n)} test samples, {certain}{chance}"
    label, metric = METHODS[first.method].label, metric_label(lead.metric)
    return f"for {in_words(lead.task, titles)} {label} has the {end} {metric} ({value})"


def _margin(lead: Lead, titles: Mapping[str, str]) -> str:
    if lead.second is None:
        return ""
    distance = abs(lead.first.mean - lead.second.mean)
    told = printed_value(lead.metric, distance)
    return f"{told} for {in_words(lead.task, titles)} ({METHODS[lead.second.method].label})"


def _tested(leads: list[Lead], table: pd.DataFrame, comparisons: Comparisons | None, titles: Mapping[str, str]) -> str:
    """Return what the tests say of the first metrics."""
    if comparisons is None:
        return "No difference between methods was tested."
    shown = comparisons.shown(table["method"])
    metrics = pd.DataFrame([(lead.task, lead.metric) for lead in leads], columns=["task", "metric"])
    tested = shown.merge(metrics, on=["task", "metric"])
    tested = tested[tested["p"].notna()]
    reference = comparisons.printed_reference()
    if tested.empty:
        return f"No difference from {reference} could be tested."
    found = tested[survives(tested)]
    counted = f"Of the {len(tested)} differences from {reference} in these metrics"
    if found.empty:
        return f"{counted} none is shown by a test ({comparisons.threshold()}), so that none of the methods stands out."
    said = [
        f"{in_words(row.task, titles)}, {METHODS[row.method].label} {_side(row.metric, row.difference)}"
        for row in found.itertuples()
    ]
    return f"{counted} {len(found)} {_is(len(found))} shown by a test ({comparisons.threshold()}): {'; '.join(said)}."


def _side(metric: str, difference: float) -> str:
    side = "above" if difference > 0 else "below"
    return f"{printed_value(metric, abs(difference))} {side}{', where low is good' if is_low_best(metric) else ''}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
