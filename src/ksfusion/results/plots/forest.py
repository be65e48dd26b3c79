"""How far each method is from the reference, metric by metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ShownTask
from ksfusion.results.metrics import METRICS
from ksfusion.results.metrics.names import label_with_direction
from ksfusion.results.plots.panels import label_outer, note_in, panel_figure, sentence_figure, wrapped
from ksfusion.results.plots.style import DIFFERS, INK, SEED_SPREAD
from ksfusion.results.runs import Run
from ksfusion.results.statistics import COVERAGE
from ksfusion.results.tables.differences import Comparisons, survives

ROW, LEAST_HEIGHT = 0.26, 1.1  # inches
LABELS, LABEL_GAP = 1.75, 0.08  # inches, left of the first panel
# Panels up to which the legend has no room for two columns.
FEW = 3
# Of a row's height, how far the spread over seeds stands below that over cases.
BELOW = 0.26


def draw_forest(
    runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str, comparisons: Comparisons
) -> Figure:
    """Draw the difference of each method from the reference, with its interval and its spread over seeds.

    Parameters
    ----------
    runs
        Not read: the comparisons are made of them.
    task, methods
        Task, and methods in the order of the rows.
    title
        Title of the figure.
    comparisons
        With the reference.
    """
    shown = comparisons.shown(methods)
    shown = shown[shown["task"] == task.name]
    names = [method for method in methods if method in set(shown["method"])]
    if shown["difference"].isna().all():
        return sentence_figure(title, f"Nothing to draw: {'; '.join(sorted(set(shown['reason'])))}.")
    metrics, height = METRICS[task.kind], max(ROW * len(names), LEAST_HEIGHT)
    width = 1.55 if len(metrics) > 1 else 3.8
    figure, panels = panel_figure(
        len(metrics),
        title=title,
        width=width,
        heights=(height,),
        left=LABELS,
        between=0.25,
        footer=0.45 if len(metrics) > FEW else 0.75,
        columns=len(metrics),
    )
    figure.texts[0].set_x(LABEL_GAP / figure.get_figwidth())  # a title is measured for the whole width
    for metric, (axes,) in zip(metrics, panels, strict=True):
        axes.set_title(label_with_direction(metric))
        rows = shown[shown["metric"] == metric].set_index("method").reindex(names)
        if rows["difference"].isna().all():
            note_in(axes, "; ".join(sorted(set(rows["reason"]))))
            continue
        _draw_rows(axes, rows)
    label_outer(
        panels, xlabel="Difference" if task.kind == "regression" else "Points", ylabels=[""], columns=len(metrics)
    )
    (first,) = panels[0]
    for number, name in enumerate(names):
        y = 1 - (number + 0.6) / len(names)
        label = wrapped(METHODS[name].label, 28, most=2)
        first.text(
            -LABEL_GAP / width, y, label, transform=first.transAxes, ha="right", va="center", fontsize=8, color=INK
        )
    figure.legend(handles=_keys(comparisons), loc="lower left", ncols=2 if len(metrics) > FEW else 1)
    return figure


def _draw_rows(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a metric of all methods, the first at the top."""
    axes.axvline(0, color=INK, linewidth=0.8)
    places, differs = np.arange(len(rows)), survives(rows).to_numpy()
    middle, spread = rows["difference"].to_numpy(), rows["sd_seeds"].to_numpy()
    axes.hlines(places, rows["ci_low"], rows["ci_high"], color=INK, linewidth=1.3)
    axes.hlines(places + BELOW, middle - spread, middle + spread, color=SEED_SPREAD, linewidth=1.8)
    for chosen, face in ((differs, DIFFERS), (~differs, "white")):
        axes.plot(middle[chosen], places[chosen], "o", markersize=4.6, markerfacecolor=face, markeredgecolor=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(places, [""] * len(rows))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _keys(comparisons: Comparisons) -> list[Line2D]:
    """Return what the legend shows."""
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 4.6, "markeredgecolor": INK}
    return [
        Line2D([], [], color=INK, linewidth=1.3, label=f"over cases: {COVERAGE} % interval"),
        Line2D([], [], color=SEED_SPREAD, linewidth=1.8, label="over seeds: \N{PLUS-MINUS SIGN} standard deviation"),
        Line2D([], [], markerfacecolor=DIFFERS, label=f"differs ({comparisons.threshold()})", **dot),
        Line2D([], [], markerfacecolor="white", label="not shown to differ", **dot),
    ]
