"""The paper's layout of a long table: a row per method, a group of columns per task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL
from ksfusion.results.metrics.names import (
    IN_ITS_UNIT,
    UNORDERED,
    is_low_best,
    metric_label,
    printed_value,
)
from ksfusion.results.statistics import COVERAGE
from ksfusion.results.tables.differences import Comparisons, marked_cells
from ksfusion.results.tables.folds import Level
from ksfusion.results.tables.partial import of_modalities, whose
from ksfusion.results.wording import DASH, heading, in_words
from ksfusion.terms.oracles import ORACLES

PAPER_NOTE = (
    "The paper's 22 accuracies are all exact multiples of 1/236: it scored 236 test samples, and most likely one run "
    "each rather than the mean of three. Compare its values with the bootstrap intervals over cases (about 5 points to "
    "either side there), not with the standard deviation over seeds, which leaves out the choice of the cases."
)
EXTERNAL_NOTES = (
    "Nothing was fitted, chosen or trained on this cohort.",
    f"Drop: the mean on the test samples less that on this cohort, with its {COVERAGE} % interval by bootstrap over "
    "the cases of both, drawn independently; above 0 the method is worse here, where less is good better.",
)
# What methods read, by the letters of their inputs; none is the cohort alone.
MODALITIES = {"p": "patches of the slide", "g": "genes", "c": "clinical columns"}


@dataclass(frozen=True)
class Cell:
    """A metric of a method; NaN where missing.

    ``differs`` from the reference: its difference survives the correction. ``n`` samples or cases were scored.
    ``metric``: its name, by which it is printed. ``drop`` of an external cohort against the test samples, ``drop_low``
    and ``drop_high``: its interval.
    """

    mean: float
    ci_low: float
    ci_high: float
    paper: float
    best: bool
    differs: bool = False
    n: int = 0
    metric: str = ""
    drop: float = math.nan
    drop_low: float = math.nan
    drop_high: float = math.nan

    @property
    def value(self) -> str:
        """The mean, one decimal, or three digits where it has a unit."""
        return DASH if math.isnan(self.mean) else printed_value(self.metric, self.mean)

    @property
    def interval(self) -> str:
        """The interval, or nothing."""
        if math.isnan(self.ci_low):
            return ""
        # A dash before a minus would be hard to read.
        between = DASH if self.ci_low >= 0 else " to "
        return between.join(printed_value(self.metric, end) for end in (self.ci_low, self.ci_high))

    @property
    def about(self) -> str:
        """How many were scored, and the interval in words, or nothing where nothing is known."""
        if math.isnan(self.mean):
            return ""
        low, high = (printed_value(self.metric, end) for end in (self.ci_low, self.ci_high))
        return f"n = {self.n}, {COVERAGE} % interval {low} to {high}" if self.interval else f"n = {self.n}"

    @property
    def published(self) -> str:
        """The paper's value, or nothing."""
        return "" if math.isnan(self.paper) else f"{self.paper:.2f}"

    @property
    def dropped(self) -> str:
        """The drop and its interval, or nothing."""
        if math.isnan(self.drop):
            return ""
        drop, low, high = (printed_value(self.metric, value) for value in (self.drop, self.drop_low, self.drop_high))
        return drop if math.isnan(self.drop_low) else f"{drop} ({low} to {high})"


@dataclass(frozen=True)
class Row:
    """A method's row."""

    method: str
    label: str
    modalities: str
    cells: tuple[Cell, ...]

    @property
    def has_paper(self) -> bool:
        """Whether the paper publishes any of it."""
        return any(cell.published for cell in self.cells)

    @property
    def has_drop(self) -> bool:
        """Whether any of it is compared with the test samples."""
        return any(cell.dropped for cell in self.cells)

    @property
    def below(self) -> Iterator[tuple[str, list[str]]]:
        """What stands below the values: a name, and the text of each cell."""
        further = {"paper": [cell.published for cell in self.cells], "drop": [cell.dropped for cell in self.cells]}
        return ((name, texts) for name, texts in further.items() if any(texts))


@dataclass(frozen=True)
class Layout:
    """A table as the paper prints it.

    Attributes
    ----------
    groups
        What a task is called, and the labels of its metrics.
    rows
        One per method.
    notes
        Sentences to stand under the table.
    low_is_best
        Labels of the metrics of which lower is better.
    """

    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    low_is_best: tuple[str, ...] = ()

    @property
    def metrics(self) -> list[str]:
        """Labels of all columns."""
        return [label for _, labels in self.groups for label in labels]

    @property
    def group_starts(self) -> list[int]:
        """Number of the first column of each task."""
        lengths = [len(labels) for _, labels in self.groups]
        return [sum(lengths[:number]) for number in range(len(lengths))]


def lay_out(
    long: pd.DataFrame,
    *,
    level: Level = "sample",
    cohort: str = ALL,
    caveats: Sequence[str] = (),
    titles: Mapping[str, str] | None = None,
    comparisons: Comparisons | None = None,
    drops: pd.DataFrame | None = None,
    modalities: str = "",
) -> Layout:
    """Arrange the rows of a long table over all folds.

    Parameters
    ----------
    long : pandas.DataFrame
        With the columns of `ksfusion.results.tables.scores.COLUMNS`.
    level, cohort
        The level and the cohort whose rows are shown.
    caveats
        Sentences that stand first among the notes.
    titles
        Titles of tasks, by name, of those that have one.
    comparisons
        Comparisons of these methods with a reference, by which values are marked.
    drops
        Drops against the test samples, where the cohort is an external one (`ksfusion.results.tables.external`).
    modalities
        Test samples with a slide or genes alone; those that methods are compared on else
        (`ksfusion.results.tables.partial`).
    """
    titles, long = titles or {}, of_modalities(long, modalities)
    chosen = long[(long["level"] == level) & (long["cohort"] == cohort) & (long["fold"] == ALL)]
    columns = list(dict.fromkeys(zip(chosen["task"], chosen["metric"], strict=True)))
    best = {
        (task, metric): rows["mean"].min() if is_low_best(metric) else rows["mean"].max()
        for (task, metric), rows in chosen.groupby(["task", "metric"])
    }
    found = {(row.method, row.task, row.metric): row for row in chosen.itertuples()}
    lost = _drops_of(drops, level, cohort)
    marked: set[tuple[str, str, str]] = set()
    footnotes: list[str] = []
    if comparisons and not modalities:
        compared = comparisons.shown(chosen["method"], level=level, cohort=cohort)
        compared = compared[compared["metric"].isin(chosen["metric"])]
        marked, footnotes = marked_cells(compared), list(comparisons.footnotes(compared))

    def cell(method: str, task: str, metric: str) -> Cell:
        row = found.get((method, task, metric))
        if row is None:
            return Cell(math.nan, math.nan, math.nan, math.nan, best=False)
        in_print, best_in_print = (printed_value(metric, mean) for mean in (row.mean, best[task, metric]))
        is_best = chosen["method"].nunique() > 1 and in_print == best_in_print != "nan" and metric not in UNORDERED
        is_marked = (method, task, metric) in marked
        values = (row.mean, row.ci_low, row.ci_high, row.paper)
        drop = lost.get((method, task, metric), (math.nan,) * 3)
        return Cell(*values, is_best, is_marked, int(row.n), metric, *drop)

    rows = tuple(
        Row(
            method=method,
            label=_printed(method)[0],
            modalities="+".join(_printed(method)[1]) or DASH,
            cells=tuple(cell(method, task, metric) for task, metric in columns),
        )
        for method in chosen["method"].unique()
    )
    groups = tuple(
        (heading(task, titles), tuple(metric_label(metric) for of_task, metric in columns if of_task == task))
        for task in chosen["task"].unique()
    )
    n_folds = long.loc[long["fold"] != ALL, "fold"].nunique()
    counted = f"{whose(chosen)} {level}s" if drops is None else f"{level.capitalize()}s of {cohort}"
    notes = [*_notes(chosen, counted, n_folds, titles), *(EXTERNAL_NOTES if drops is not None else ())]
    lowest = tuple(dict.fromkeys(metric_label(metric) for _, metric in columns if is_low_best(metric)))
    return Layout(groups, rows, (*caveats, *notes, *footnotes), lowest)


def _drops_of(
    drops: pd.DataFrame | None, level: Level, cohort: str
) -> dict[tuple[str, str, str], tuple[float, float, float]]:
    """Return drop and interval by method, task and metric."""
    if drops is None:
        return {}
    own = drops[(drops["cohort"] == cohort) & (drops["level"] == level)]
    return {(row.method, row.task, row.metric): (row.drop, row.ci_low, row.ci_high) for row in own.itertuples()}


def _printed(method: str) -> tuple[str, str]:
    """Return what a method, or an oracle, is called, and what it reads."""
    return ORACLES[method] if method in ORACLES else (METHODS[method].label, METHODS[method].modalities)


def _notes(chosen: pd.DataFrame, counted: str, n_folds: int, titles: Mapping[str, str]) -> Iterator[str]:
    """Yield sentences on how many samples or cases were scored, and what is missing."""
    counts = chosen.groupby("task", sort=False)["n"].max()
    if len(counts):
        scored = ", ".join(f"{in_words(task, titles)} {count}" for task, count in counts.items())
        over = "folds and seeds" if n_folds > 1 else "seeds"
        how = f"mean over {over}, with the {COVERAGE} % interval by bootstrap over cases"
        own_unit = [metric_label(metric) for metric in chosen["metric"].unique() if metric in IN_ITS_UNIT]
        unit = f", {', '.join(own_unit)} in the unit of what is predicted" if own_unit else ""
        yield f"In percent{unit}: {how}. {counted}: {scored}."
        read = {letter for method in chosen["method"].unique() for letter in _printed(method)[1]}
        yield "; ".join(f"{letter}: {what}" for letter, what in MODALITIES.items() if letter in read | {"p", "g"}) + "."
    missing = chosen[chosen["reason"] != ""]
    for (task, reason), rows in missing.groupby(["task", "reason"], sort=False):
        whole = chosen[chosen["task"] == task]
        metrics, methods = rows["metric"].unique(), rows["method"].unique()
        about = [metric_label(metric) for metric in metrics] if len(metrics) < whole["metric"].nunique() else []
        about += [_printed(method)[0] for method in methods] if len(methods) < whole["method"].nunique() else []
        details = f" ({', '.join(about)})" if about else ""
        yield f"{heading(task, titles)}{details}: {reason}."
