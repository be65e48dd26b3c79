"""How far methods are from the reference, as the report shows it: what survives in sentences, and all in tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.metrics import METRICS
from ksfusion.results.metrics.names import IN_ITS_UNIT, label_with_direction, metric_label, printed_value
from ksfusion.results.statistics import COVERAGE
from ksfusion.results.tables.differences import NULLS, SPREADS, Comparisons, survives
from ksfusion.results.wording import DASH, heading

# Those of the paper's tables; the others are of Table S1.
METRIC_NAMES = [metric for metrics in METRICS.values() for metric in metrics]


class ComparedCell(TypedDict):
    """A difference in print: the value, its spread over cases and over seeds, its p; empty where missing."""

    value: str
    interval: str
    seeds: str
    p: str
    differs: bool


class ComparedRow(TypedDict):
    """A method's differences."""

    label: str
    cells: list[ComparedCell]


class ComparedMetrics(TypedDict):
    """The differences of a task in some metrics, what is to be said of them, and what is missing."""

    name: str
    sentences: list[str]
    metrics: list[str]
    rows: list[ComparedRow]
    missing: list[str]


class ComparedTask(TypedDict):
    """The differences of a task: in the metrics of the paper's tables, then in those of Table S1."""

    heading: str
    parts: list[ComparedMetrics]


class ComparisonSection(TypedDict):
    """The differences from a reference."""

    reference: str
    tasks: list[ComparedTask]
    notes: list[str]


def comparison_section(comparisons: Comparisons | None, titles: Mapping[str, str]) -> ComparisonSection | None:
    """Return the differences of the test samples; None where nothing was compared.

    Parameters
    ----------
    comparisons
        With the reference.
    titles
        Titles of tasks, by name, of those that have one.
    """
    if comparisons is None or comparisons.table.empty:
        return None
    shown = comparisons.shown(comparisons.table["method"])
    notes = (
        [f"A difference survives where {comparisons.threshold()}.", NULLS, SPREADS]
        if shown["p"].notna().any()
        else [SPREADS]
    )
    return ComparisonSection(
        reference=comparisons.printed_reference(),
        tasks=[_task(rows, heading(task, titles), comparisons) for task, rows in shown.groupby("task", sort=False)],
        notes=notes,
    )


def _task(rows: pd.DataFrame, printed: str, comparisons: Comparisons) -> ComparedTask:
    of_paper = rows["metric"].isin(METRIC_NAMES)
    parts = [("All differences", rows[of_paper]), ("In the metrics of Table S1", rows[~of_paper])]
    return ComparedTask(heading=printed, parts=[_metrics(name, own, comparisons) for name, own in parts if len(own)])


def _metrics(name: str, rows: pd.DataFrame, comparisons: Comparisons) -> ComparedMetrics:
    cells = {(row.method, row.metric): _cell(row, differs) for row, differs in _with_verdict(rows)}
    metrics = list(rows["metric"].unique())
    return ComparedMetrics(
        name=name,
        sentences=list(_sentences(rows, comparisons)),
        metrics=[label_with_direction(metric) for metric in metrics],
        rows=[
            ComparedRow(label=METHODS[method].label, cells=[cells[method, metric] for metric in metrics])
            for method in rows["method"].unique()
        ],
        missing=[_missing(reason, of_reason, rows) for reason, of_reason in _by_reason(rows)],
    )


def _by_reason(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield from rows[rows["reason"] != ""].groupby("reason", sort=False)


def _missing(reason: str, rows: pd.DataFrame, whole: pd.DataFrame) -> str:
    """Return what is missing of which methods, and in which metrics where not in all."""
    methods, metrics = rows["method"].unique(), rows["metric"].unique()
    about = [metric_label(metric) for metric in metrics] if len(metrics) < whole["metric"].nunique() else []
    every = len(methods) == whole["method"].nunique() and about
    about += [] if every else [METHODS[method].label for method in methods]
    return f"{', '.join(about)}: {reason}"


def _with_verdict(rows: pd.DataFrame) -> Iterator[tuple[Any, bool]]:
    return zip(rows.itertuples(), survives(rows), strict=True)


def _cell(row: Any, differs: bool) -> ComparedCell:
    return ComparedCell(
        value=DASH if math.isnan(row.difference) else _signed(row.metric, row.difference),
        interval=""
        if math.isnan(row.ci_low)
        else " to ".join(_signed(row.metric, end) for end in (row.ci_low, row.ci_high)),
        seeds="" if math.isnan(row.sd_seeds) else f"\N{PLUS-MINUS SIGN}{printed_value(row.metric, row.sd_seeds)}",
        p="" if math.isnan(row.p_corrected) else printed_p(row.p_corrected),
        differs=bool(differs),
    )


def _signed(metric: str, value: float) -> str:
    """Return a difference in a metric with its sign; none where it is printed as 0."""
    text = printed_value(metric, value)
    return f"+{text}" if value > 0 and float(text) else text


def printed_p(value: float) -> str:
    """Return a p-value in print."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _sentences(rows: pd.DataFrame, comparisons: Comparisons) -> Iterator[str]:
    """Yield what the tests allow to be said: which methods are above or below the reference, and by how much."""
    if rows["p"].isna().all():
        yield "Nothing could be tested."
        return
    found = rows[survives(rows)]
    if found.empty:
        yield f"No difference is shown by a test ({comparisons.threshold()})."
    for metric, of_metric in found.groupby("metric", sort=False):
        yield f"{label_with_direction(metric)}: {'; '.join(_said(row) for row in of_metric.itertuples())}."


def _said(row: Any) -> str:
    """Return a difference in words, with its interval seen from the same side."""
    side, low, high = ("above", row.ci_low, row.ci_high) if row.difference > 0 else ("below", -row.ci_high, -row.ci_low)
    ends = " to ".join(printed_value(row.metric, end) for end in (low, high))
    interval = "" if math.isnan(low) else f" ({COVERAGE} % interval {ends})"
    points = "" if row.metric in IN_ITS_UNIT else " points"
    return f"{METHODS[row.method].label} is {printed_value(row.metric, abs(row.difference))}{points} {side}{interval}"
