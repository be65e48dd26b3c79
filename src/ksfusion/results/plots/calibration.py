"""Predicted probabilities against what happened, a panel per method: of classes, and of survival at given times."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ksfusion.methods.registry import METHODS
from ksfusion.results.calibration import alive_at, class_calibration, survival_calibration
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.classes import class_colour, class_entries, figure_with_legend, reasons_of, shown_classes
from ksfusion.results.plots.panels import label_outer, note_in, wrapped
from ksfusion.results.plots.style import CLASS_COLOURS, MUTED
from ksfusion.results.runs import Run, outcome_columns

NO_CURVE = "the run has no survival curve"


def draw_class_calibration(runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str) -> Figure:
    """Draw the predicted probability of each class, or of the positive one, against how often it was right."""
    figure, panels = figure_with_legend(len(methods), title=title, entries=class_entries(runs, task))
    _, probabilities = outcome_columns(task)
    for method, (axes,) in zip(methods, panels, strict=True):
        axes.set_title(METHODS[method].label)
        tables = [run.test for run in runs if run.method == method and not run.reason]
        if not tables:
            note_in(axes, reasons_of(runs, method, ""))
            continue
        samples = pd.concat(tables)
        cases = samples["case_id"].to_numpy()
        _frame(axes)
        for number in shown_classes(task):
            predicted = samples[probabilities[number]].to_numpy()
            happened = (samples["y"] == number).to_numpy()
            _draw_groups(axes, class_calibration(predicted, happened, cases), class_colour(number))
    label_outer(panels, xlabel="Predicted probability, percent", ylabels=["Frequency, percent"])
    return figure


def draw_survival_calibration(
    runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str, times: Sequence[float]
) -> Figure:
    """Draw the predicted survival at each time against Kaplan-Meier's estimate in groups of test cases.

    Parameters
    ----------
    runs
        With their curves.
    task, methods, title
        Contents of the figure, in the order of its panels, and its title.
    times
        Days.
    """
    colours = {at: CLASS_COLOURS[number % len(CLASS_COLOURS)] for number, at in enumerate(times)}
    entries = [(f"day {at:g}", Line2D([], [], color=colour, linewidth=1.6)) for at, colour in colours.items()]
    figure, panels = figure_with_legend(len(methods), title=title, entries=entries)
    for method, (axes,) in zip(methods, panels, strict=True):
        axes.set_title(METHODS[method].label)
        own = [run for run in runs if run.method == method and not run.reason]
        if not all(run.curves.cuts for run in own) or not own:
            note_in(axes, reasons_of(runs, method, NO_CURVE))
            continue
        last = min(run.curves.cuts[-1] for run in own)
        cases = predicted_survival(own, [at for at in times if at <= last])
        _frame(axes)
        missing = [f"day {at:g}: beyond the last cut, day {last:g}" for at in times if at > last]
        for at in [at for at in times if at <= last]:
            found = survival_calibration(
                cases[at].to_numpy(), cases["days"].to_numpy(float), cases["event"].to_numpy(bool), at
            )
            if found.empty:
                missing.append(f"day {at:g}: no group is followed so long")
            _draw_groups(axes, found, colours[at])
        axes.text(0.02, 0.99, "\n".join(wrapped(text, 30) for text in missing), va="top", fontsize=7, color=MUTED)
    label_outer(panels, xlabel="Predicted survival, percent", ylabels=["Kaplan-Meier, percent"])
    return figure


def predicted_survival(runs: Sequence[Run], times: Sequence[float]) -> pd.DataFrame:
    """Return the test cases of each fold: days, event, and the predicted survival at each time.

    Parameters
    ----------
    runs
        Good runs of one method, with their curves.
    times
        Days; the names of their columns.

    Returns
    -------
    pandas.DataFrame
        The prediction is the mean over seeds and over the samples of a case.
    """
    tables = [
        run.test[["case_id", "days", "event"]].assign(fold=run.fold, **{str(at): alive_at(run, at) for at in times})
        for run in runs
    ]
    rules = {"days": "first", "event": "first", **{str(at): "mean" for at in times}}
    cases = pd.concat(tables).groupby(["fold", "case_id"], sort=True).agg(rules)
    return cases.rename(columns={str(at): at for at in times})


def _frame(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
    axes.set_yticks([0, 0.5, 1], ["0", "50", "100"])


def _draw_groups(axes: Axes, found: pd.DataFrame, colour: str) -> None:
    axes.vlines(found["predicted"], found["low"], found["high"], color=colour, alpha=0.4, linewidth=1.1)
    axes.plot(found["predicted"], found["observed"], "o-", color=colour, markersize=3.6, linewidth=1.3)
