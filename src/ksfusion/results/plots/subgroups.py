"""The first metric of each method by subgroup of the test samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ShownTask
from ksfusion.results.metrics.names import IN_ITS_UNIT, METRICS, metric_label
from ksfusion.results.plots.panels import COLUMNS, label_outer, note_in, panel_figure, sentence_figure, wrapped
from ksfusion.results.plots.style import INK, MUTED, SWEEP_COLOUR
from ksfusion.results.runs import Run
from ksfusion.results.tables.scores import TEST, with_split
from ksfusion.results.wording import plain

ROW = 0.22  # inches
WIDTH, LABELS, LABEL_GAP, BETWEEN = 2.1, 1.9, 0.08, 0.35  # inches
CHANCE = 50
MOST_ROWS = 40


def draw_subgroups(
    runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str, table: pd.DataFrame
) -> Figure:
    """Draw the first metric of a task in each subgroup, with its interval, and the p-value of each column.

    Parameters
    ----------
    runs
        Not read: the table is made of them.
    task, methods, title
        Contents of the figure, in the order of its panels, and its title.
    table
        Of `ksfusion.stages.make_subgroups`.
    """
    metric = METRICS[task.kind][0]
    own = with_split(table)
    own = own[(own["task"] == task.name) & (own["metric"] == metric) & (own["level"] == "sample")]
    own = own[own["split"] == TEST]
    shown = largest(own[own["method"].isin(methods)])
    if shown["mean"].isna().all():
        reasons = "; ".join(sorted(set(shown["reason"]))) or "no test sample is in a subgroup"
        return sentence_figure(title, f"Nothing to draw: {reasons}.")
    rows = _rows(shown)
    figure, panels = panel_figure(
        len(methods), title=title, width=WIDTH, heights=(ROW * len(rows),), left=LABELS, between=BETWEEN
    )
    figure.texts[0].set_x(LABEL_GAP / figure.get_figwidth())
    unit = metric in IN_ITS_UNIT
    limits = _limits(shown, unit=unit)
    for number, (method, (axes,)) in enumerate(zip(methods, panels, strict=True)):
        axes.set_title(METHODS[method].label)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        of_method = shown[shown["method"] == method].set_index(["subgroup", "value"])
        if of_method["mean"].isna().all():
            note_in(axes, "; ".join(sorted(set(of_method["reason"]))) or "no run")
        else:
            if not unit:
                axes.axvline(CHANCE, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            _draw_rows(axes, rows, of_method)
            axes.set_xlim(limits)
        if number % COLUMNS == 0:
            _name_rows(axes, rows)
    label_outer(panels, xlabel=metric_label(metric) + ("" if unit else ", percent"), ylabels=[""])
    return figure


def _limits(shown: pd.DataFrame, *, unit: bool) -> tuple[float, float]:
    """Return between which values subgroups are drawn: those of a metric in percent beside chance."""
    low, high = shown[["mean", "ci_low"]].min(axis=None), shown[["mean", "ci_high"]].max(axis=None)
    if not unit:
        return min(low, CHANCE) - 4, 103
    margin = 0.06 * (high - low) or 1
    return low - margin, high + margin


def largest(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the largest `MOST_ROWS` subgroups, in the order of the table."""
    sizes = table.groupby(["subgroup", "value"], sort=False)["n"].max().sort_values(ascending=False, kind="stable")
    kept = set(sizes.index[:MOST_ROWS])
    return table[[key in kept for key in zip(table["subgroup"], table["value"], strict=True)]]


def _rows(shown: pd.DataFrame) -> list[tuple[str, str | None, int]]:
    """Return the rows from top to bottom: a column alone, then each of its subgroups with its number of samples."""
    sizes = shown.groupby(["subgroup", "value"], sort=False)["n"].max()
    rows: list[tuple[str, str | None, int]] = []
    for (column, value), n in sizes.items():
        if (column, None, 0) not in rows:
            rows.append((column, None, 0))
        rows.append((column, value, int(n)))
    return rows


def _draw_rows(axes: Axes, rows: Sequence[tuple[str, str | None, int]], found: pd.DataFrame) -> None:
    """Draw the subgroups of a method, the first at the top, and the p-value of a column in the row of its name."""
    for place, (column, value, _) in enumerate(rows):
        if value is None:
            tested = found.loc[[column], "p"].dropna()
            if len(tested):
                axes.text(1, place, _p(tested.iloc[0]), transform=axes.get_yaxis_transform(), ha="right", va="center",
                          fontsize=7, color=MUTED)  # fmt: skip
        elif (column, value) in found.index:
            score = found.loc[(column, value)]
            axes.hlines(place, score["ci_low"], score["ci_high"], color=SWEEP_COLOUR, alpha=0.6, linewidth=1.6)
            face = "white" if np.isnan(score["ci_low"]) else SWEEP_COLOUR
            axes.plot(score["mean"], place, "o", markersize=4.2, markerfacecolor=face, markeredgecolor=SWEEP_COLOUR)
    axes.set_yticks(range(len(rows)), [""] * len(rows))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _name_rows(axes: Axes, rows: Sequence[tuple[str, str | None, int]]) -> None:
    for place, (column, value, n) in enumerate(rows):
        text = plain(column).capitalize() if value is None else wrapped(f"{value} (n = {n})", 30, most=1)
        axes.text(
            -LABEL_GAP / WIDTH,
            place,
            text,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=7.5,
            fontweight="bold" if value is None else "normal",
            color=INK,
        )
