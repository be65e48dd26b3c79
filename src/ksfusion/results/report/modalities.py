"""Whether methods use both modalities, as the report shows it: the figure, and a metric of each task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL
from ksfusion.results.metrics import metric_label
from ksfusion.results.modalities.changes import PERMUTATIONS
from ksfusion.results.plots.modalities import CHANGES, TITLE, modalities_caption
from ksfusion.results.report.gallery import PageImage
from ksfusion.results.statistics import COVERAGE
from ksfusion.results.tables.modalities import as_it_is, shown_metric
from ksfusion.results.wording import DASH, MINUS, heading

NOTES = (
    f"Genes or patches permuted: whole cases change places within their cohort, {PERMUTATIONS} times; samples of a "
    "case stay together, those of a case with fewer samples are given more than once, and the last of one with more to "
    "none. Values are means over permutations, seeds and folds. A method that uses a modality loses by it.",
    "Additive projection (Hessel and Lee 2020): of all scores that are a sum of one part from the slide and one from "
    "the genes, those closest to the model's over all pairs of some test samples of the first seed; of classes the "
    "logits are projected, of survival the risk. What is lost needs an interaction of the two; a risk is no sum of "
    "logits, so that a method whose logits are sums can lose there.",
    f"Intervals ({COVERAGE} %) by bootstrap over the test cases, trained models and permutations as they are. All "
    "metrics and cohorts stand in results/tables/modalities.tsv.",
)


class LossCell(TypedDict):
    """What is lost in print, and its interval; empty where missing."""

    value: str
    interval: str


class LossRow(TypedDict):
    """A method: its metric as it is, and what is lost by each change."""

    label: str
    cells: list[LossCell]


class LossTask(TypedDict):
    """A metric of a task, and what is missing."""

    heading: str
    columns: list[str]
    rows: list[LossRow]
    missing: list[str]


class ModalityFigure(PageImage):
    """The figure."""

    title: str
    caption: str


class ModalitySection(TypedDict):
    """Whether methods use both modalities."""

    title: str
    figure: ModalityFigure
    tasks: list[LossTask]
    notes: Sequence[str]


def modality_section(
    table: pd.DataFrame | None, image: PageImage | None, titles: Mapping[str, str], caveats: Sequence[str] = ()
) -> ModalitySection | None:
    """Return what the methods lose; None where they were not audited.

    Parameters
    ----------
    table
        The table of `ksfusion.stages.make_modalities`.
    image
        Its figure.
    titles
        Titles of tasks, by name, of those that have one.
    caveats
        Sentences that stand wherever results do.
    """
    if table is None or table.empty or image is None:
        return None
    return ModalitySection(
        title=TITLE,
        figure=ModalityFigure(**image, title=TITLE, caption=modalities_caption(table, caveats)),
        tasks=[
            _task(rows, heading(str(task), titles))
            for task, rows in table[table["cohort"] == ALL].groupby("task", sort=False)
        ],
        notes=NOTES,
    )


def _task(rows: pd.DataFrame, printed: str) -> LossTask:
    metric = shown_metric(rows["metric"])
    own = rows[rows["metric"] == metric]
    found = {(row.method, row.permuted): row for row in own.itertuples()}
    return LossTask(
        heading=printed,
        columns=[metric_label(metric), *(f"lost: {name}" for name, *_ in CHANGES.values())],
        rows=[
            LossRow(
                label=METHODS[method].label,
                cells=[
                    _as_it_is(found[method, next(iter(CHANGES))]),
                    *(_cell(found[method, change]) for change in CHANGES),
                ],
            )
            for method in own["method"].unique()
        ],
        missing=[
            f"{', '.join(dict.fromkeys(METHODS[method].label for method in of_reason['method']))}: {reason}"
            for reason, of_reason in own[own["reason"] != ""].groupby("reason", sort=False)
        ],
    )


def _as_it_is(row: Any) -> LossCell:
    """Return the metric of the test samples as they are."""
    whole = as_it_is(row.metric, row.value, row.drop)
    return LossCell(value=DASH if math.isnan(whole) else f"{whole:.1f}", interval="")


def _cell(row: Any) -> LossCell:
    interval = "" if math.isnan(row.ci_low) else f"{_number(row.ci_low)} to {_number(row.ci_high)}"
    return LossCell(value=DASH if math.isnan(row.drop) else _number(row.drop), interval=interval)


def _number(value: float) -> str:
    """Return a number of percentage points; without a sign where it is printed as 0."""
    text = f"{value:.1f}".replace("-", MINUS)
    return "0.0" if text == f"{MINUS}0.0" else text
