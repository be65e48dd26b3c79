"""Loss and validation metric by epoch, a panel per method."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ShownTask
from ksfusion.results.metrics import METRIC_LABELS
from ksfusion.results.plots.panels import label_outer, note_in, panel_figure
from ksfusion.results.plots.style import method_colours
from ksfusion.results.runs import Run
from ksfusion.terms.tasks import TaskKind

# What epochs are chosen by, in print.
CHOSEN_BY: dict[TaskKind, str] = {"classification": "AUC", "survival": "C-index", "regression": METRIC_LABELS["r2"]}
CURVES = ("train_loss", "val_metric")


def draw_training(runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str) -> Figure:
    """Draw the training loss above the validation metric, each seed and their mean."""
    labels = ("Training loss", f"Validation\n{CHOSEN_BY[task.kind]}")
    figure, panels = panel_figure(len(methods), title=title, heights=(1.25, 1.25), gap=0.8, left=0.9)
    colours = method_colours(methods)
    for method, stack in zip(methods, panels, strict=True):
        stack[0].set_title(METHODS[method].label)
        histories = {run: _read_history(run) for run in runs if run.method == method and not run.reason}
        histories = {run: history for run, history in histories.items() if len(history)}
        if not histories:
            reasons = sorted({run.reason for run in runs if run.method == method and run.reason})
            note_in(stack[0], "; ".join(reasons) or "no history")
            stack[1].set_axis_off()
            continue
        for axes, curve in zip(stack, CURVES, strict=True):
            axes.margins(x=0.03, y=0.12)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.tick_params(axis="x", labelbottom=curve == CURVES[-1])
            for history in histories.values():
                axes.plot(history.index, history[curve], color=colours[method], linewidth=0.7, alpha=0.5)
            mean = pd.concat([history[curve] for history in histories.values()], axis=1).mean(axis=1)
            axes.plot(mean.index, mean, color=colours[method], linewidth=1.9)
        for run, history in histories.items():
            if run.best_epoch is not None and run.best_epoch in history.index:
                kept = history.loc[run.best_epoch, "val_metric"]
                stack[1].plot(run.best_epoch, kept, "o", color=colours[method], markersize=4.5, markeredgecolor="white")
    label_outer(panels, xlabel="Epoch", ylabels=labels)
    _share_y(panels)
    return figure


def _read_history(run: Run) -> pd.DataFrame:
    """Return loss and validation metric by epoch; NaN where the run did not write them."""
    path = run.folder / "history.tsv"
    if not path.is_file():
        return pd.DataFrame()
    return read_tsv(path).set_index("epoch").reindex(columns=list(CURVES)).astype(float)


def _share_y(panels: Sequence[Sequence[Axes]]) -> None:
    """Give the validation metric one scale over all methods, so that panels can be compared."""
    shown = [stack[1] for stack in panels if stack[1].axison]
    limits = [axes.get_ylim() for axes in shown]
    for axes in shown:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
