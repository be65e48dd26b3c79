"""The paper's published values beside those of a study of its cohort, and what keeps the two apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL
from ksfusion.results.metrics.names import metric_label, printed_value
from ksfusion.results.statistics import COVERAGE
from ksfusion.results.tables.layout import PAPER_NOTE
from ksfusion.results.tables.markdown import escape
from ksfusion.results.tables.partial import of_modalities
from ksfusion.results.wording import DASH, heading
from ksfusion.terms.gene_sets import BUILTIN, is_builtin

COLUMNS = ["task", "method", "metric", "published", "here", "ci_low", "ci_high", "inside", "n", "cases", "reason"]
YES, NO = "yes", "no"
NO_TASK, NO_METHOD = "the task is not one of this study", "the method is not one of this study"
# What a task's values are of; where that differs, so does what a metric means.
DEFINING = ("kind", "column", "classes", "positive", "time", "event", "unit")
# Blocks of the configuration that make a result, and keys in them that only say how it is computed, or of what files.
BLOCKS = ("slides", "stain", "patches", "features", "genes", "splits", "training")
NO_DIFFERENCE = {
    *(f"slides.{key}" for key in ("reader", "batches", "max_failed_fraction", "timeout", "stage", "regions")),
    *(f"features.{key}" for key in ("path", "weights", "batch_size", "compile")),
    "training.tensorboard",
}
NOTES = (
    PAPER_NOTE,
    "The interval is of the value here; the published one has an uncertainty of its own, which its tables do not give. "
    "Even where both are of equally good models more than one value in twenty lies outside.",
    "Its tables do not say how AUC, specificity and F1 are averaged over classes, nor which C-index is meant. No "
    "published sensitivity is the accuracy of its row, as one weighted by the classes would be: here each class counts "
    "the same, AUC is of one class against the rest, the C-index is Harrell's.",
    "The paper's split was not published: its test cases are others than those here.",
)


class Reproduced(NamedTuple):
    """The study that reproduces, and the paper: what each was configured with.

    Attributes
    ----------
    config
        Its configuration, as it is recorded.
    paper
        The same of the paper's.
    """

    config: Mapping[str, Any]
    paper: Mapping[str, Any]

    def why_not(self, method: str, task: str) -> str:
        """Return why nothing here is what was published of a method and task; empty where something is."""
        if task not in self.config["tasks"]:
            return NO_TASK
        if method not in self.config["methods"]:
            return NO_METHOD
        own, published = self.config["tasks"][task], self.paper["tasks"][task]
        changed = [key for key in DEFINING if own.get(key) != published.get(key)]
        return f"the task has another {', '.join(changed)} than the paper's: another metric" if changed else ""

    def departures(self) -> Iterator[str]:
        """Yield the settings that differ from the paper's: key, value, and the paper's in brackets."""
        shared = [name for name in self.paper["tasks"] if name in self.config["tasks"]]
        own, paper = (
            _flat(
                {
                    **{block: values[block] for block in BLOCKS},
                    "tasks": {name: values["tasks"][name] for name in shared},
                }
            )
            for values in self
        )
        for key in dict.fromkeys([*paper, *own]):
            ours, theirs = own.get(key), paper.get(key)
            # The shipped sets of the version with which the study began.
            same = ours == theirs or (theirs == BUILTIN and is_builtin(str(ours)))
            if key not in NO_DIFFERENCE and not same:
                yield f"{key}: {_in_yaml(ours)} [{_in_yaml(theirs)}]"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their keys with dots."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _in_yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def compare_with_published(published: pd.DataFrame, results: pd.DataFrame, study: Reproduced) -> pd.DataFrame:
    """Put each published value beside the one here.

    Parameters
    ----------
    published
        Published values: method, task, metric, percent.
    results
        Long tables (`ksfusion.results.tables.scores.COLUMNS`), one below the other.
    study
        The settings here, and the paper's.

    Returns
    -------
    pandas.DataFrame
        The table of `COLUMNS`, in the order of the published values: of all test samples, over folds and seeds.
        ``inside``: yes or no, empty where the two cannot be compared, for the ``reason``.
    """
    own = of_modalities(results)
    own = own[(own["cohort"] == ALL) & (own["fold"] == ALL) & (own["split"] == "test")]
    found: dict[tuple[str, ...], Any] = {(row.method, row.task, row.metric, row.level): row for row in own.itertuples()}
    rows = []
    for value in published.itertuples():
        key = (value.method, value.task, value.metric)
        row = {"task": value.task, "method": value.method, "metric": value.metric, "published": value.percent}
        rows.append({**row, **_beside(value.percent, found, key, study.why_not(value.method, value.task))})
    return pd.DataFrame(rows, columns=COLUMNS)


def _beside(
    published: float, found: Mapping[tuple[str, ...], Any], key: tuple[str, str, str], why: str
) -> dict[str, Any]:
    """Return the rest of the row of a published value."""
    sample, case = (found.get((*key, level)) for level in ("sample", "case"))
    if why or sample is None:
        nothing = dict.fromkeys(("here", "ci_low", "ci_high"), math.nan)
        return {**nothing, "inside": "", "n": 0, "cases": 0, "reason": why or "no result in the tables"}
    reason = sample.reason
    if not reason and math.isnan(sample.ci_low):
        reason = "no interval"
    inside = "" if reason else YES if sample.ci_low <= published <= sample.ci_high else NO
    values = {"here": sample.mean, "ci_low": sample.ci_low, "ci_high": sample.ci_high}
    return {**values, "inside": inside, "n": sample.n, "cases": case.n if case else 0, "reason": reason}


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its numbers as text, empty where missing."""
    text = table.copy()
    for column, digits in {"published": 2, "here": 4, "ci_low": 4, "ci_high": 4}.items():
        text[column] = ["" if math.isnan(value) else f"{value:.{digits}f}" for value in table[column]]
    return text


def to_markdown(table: pd.DataFrame, departures: Sequence[str], *, study: str | None, caveats: Sequence[str]) -> str:
    """Return the table as Markdown, to be read on a terminal too, with what is to be known of it.

    Parameters
    ----------
    table
        See `compare_with_published`.
    departures
        The settings that differ from the paper's.
    study
        Name of the study.
    caveats
        Sentences that stand wherever results do.
    """
    lines = ["# The published values, and those here", ""]
    lines += [escape(study), ""] if study else []
    lines += [*_summary(table), "", *_rows(table), ""]
    notes = [*caveats, *_reasons(table), *NOTES]
    notes.append(
        f"Settings that differ from those of resources/cohorts/glioma.yaml: {'; '.join(departures)}."
        if departures
        else "No setting that makes a result differs from resources/cohorts/glioma.yaml."
    )
    return "\n".join([*lines, *(f"- {escape(note)}" for note in notes)]) + "\n"


def _summary(table: pd.DataFrame) -> Iterator[str]:
    compared = table[table["inside"] != ""]
    inside = (compared["inside"] == YES).sum()
    yield (
        f"{len(table)} published values, {len(compared)} compared: {inside} inside the {COVERAGE} % interval of the "
        f"value here, {len(compared) - inside} outside."
    )


def _rows(table: pd.DataFrame) -> Iterator[str]:
    """Yield the rows of the values that there are here."""
    header = ["Task", "Method", "Metric", "Published", "Here", "Interval", "Inside", "Samples", "Cases"]
    body = []
    for row in table[table["here"].notna()].itertuples():
        ends = [printed_value(row.metric, end) for end in (row.ci_low, row.ci_high)]
        interval = DASH if math.isnan(row.ci_low) else " to ".join(ends)
        names = [heading(row.task, {}), escape(_label(row.method)), metric_label(row.metric)]
        values = [f"{row.published:.2f}", printed_value(row.metric, row.here), interval, row.inside or DASH]
        body.append([*names, *values, str(row.n), str(row.cases)])
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    rule = ["-" * width for width in widths[:3]] + ["-" * (width - 1) + ":" for width in widths[3:]]
    for cells in (header, rule, *body):
        padded = [text.ljust(width) for text, width in zip(cells[:3], widths, strict=False)]
        padded += [text.rjust(width) for text, width in zip(cells[3:], widths[3:], strict=True)]
        yield f"| {' | '.join(padded)} |"


def _reasons(table: pd.DataFrame) -> Iterator[str]:
    """Yield why values are not compared, and of which methods or tasks they are."""
    for reason, rows in table[table["inside"] == ""].groupby("reason", sort=False):
        of_methods = reason == NO_METHOD
        names = rows["method" if of_methods else "task"].unique()
        listed = ", ".join(_label(name) if of_methods else heading(name, {}) for name in names)
        yield f"Not compared, {len(rows)} values of {listed}: {reason}."


def _label(method: str) -> str:
    return METHODS[method].label if method in METHODS else method
