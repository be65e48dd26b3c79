"""Predicted against true numbers, a panel per method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.panels import label_outer, note_in, panel_figure
from ksfusion.results.plots.style import MUTED, method_colours
from ksfusion.results.runs import Run, mean_prediction
from ksfusion.terms.tasks import PREDICTED

# Of the span of all values, left free at both ends.
MARGIN = 0.05


def draw_regression(runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str) -> Figure:
    """Draw what was predicted of each test sample, the mean over seeds, against what is true."""
    figure, panels = panel_figure(len(methods), title=title, heights=(2.5,), gap=0.75)
    tables = {method: predictions_of([run for run in runs if run.method == method], task) for method in methods}
    values = np.concatenate([table[["y", PREDICTED]].to_numpy().ravel() for table in tables.values()])
    low, high = values.min(), values.max()
    margin = MARGIN * (high - low) or 1.0
    colours = method_colours(methods)
    for method, (axes,) in zip(methods, panels, strict=True):
        axes.set_title(METHODS[method].label)
        table = tables[method]
        if table.empty:
            reasons = sorted({run.reason for run in runs if run.method == method and run.reason})
            note_in(axes, "; ".join(reasons) or "no run")
            continue
        axes.plot([low, high], [low, high], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.plot(
            table["y"], table[PREDICTED], "o", color=colours[method], markersize=3.4, alpha=0.65, markeredgewidth=0
        )
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    label_outer(panels, xlabel="True", ylabels=["Predicted"])
    return figure


def predictions_of(runs: Sequence[Run], task: ShownTask) -> pd.DataFrame:
    """Return ``y`` and what was predicted of each test sample and fold, the mean over seeds.

    Parameters
    ----------
    runs
        Runs of one method and task.
    task
        The task.
    """
    good = [run for run in runs if not run.reason]
    parts = [mean_prediction([run for run in good if run.fold == fold], task) for fold in {run.fold for run in good}]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["y", PREDICTED], dtype=float)
