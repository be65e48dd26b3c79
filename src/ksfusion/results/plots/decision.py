"""Decision curves of a task of two classes, a panel per method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ShownTask
from ksfusion.results.decision import THRESHOLDS, net_benefit
from ksfusion.results.measures import with_all
from ksfusion.results.plots.classes import class_colour, figure_with_legend, reasons_of
from ksfusion.results.plots.panels import label_outer, note_in
from ksfusion.results.plots.style import INK, MUTED
from ksfusion.results.runs import Run, outcome_columns
from ksfusion.results.statistics import COVERAGE, LEAST_CASES, RESAMPLES, draws_by_fold

# Of the highest net benefit, what of the axis lies above it, and below 0.
ABOVE, BELOW = 1.15, 0.25


def draw_decision(
    runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str, resamples: int = RESAMPLES
) -> Figure:
    """Draw the net benefit of each method by the threshold, beside that of treating all and none.

    Parameters
    ----------
    runs, methods, title
        Contents of the figure, in the order of its panels, and its title.
    task
        A class of it counts.
    resamples
        Number of bootstrap resamples of the cases for the interval.
    """
    number = task.positive_number
    assert number is not None
    colour = class_colour(number)
    entries = [
        (f"treat by the method ({task.class_labels()[number]})", Line2D([], [], color=colour, linewidth=1.8)),
        ("treat all", Line2D([], [], color=MUTED, linewidth=1.1)),
        ("treat none", Line2D([], [], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))),
    ]
    figure, panels = figure_with_legend(len(methods), title=title, entries=entries)
    highest = 0.0
    for method, (axes,) in zip(methods, panels, strict=True):
        axes.set_title(METHODS[method].label)
        own = [run for run in runs if run.method == method and not run.reason]
        if not own:
            note_in(axes, reasons_of(runs, method, ""))
            continue
        highest = max(highest, _draw_curves(axes, own, task, number, resamples))
    for axes in (axes for (axes,) in panels if axes.axison):
        top = max(highest, 0.02)
        axes.set(xlim=(0, 1), ylim=(-BELOW * top, ABOVE * top))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    label_outer(panels, xlabel="Threshold probability, percent", ylabels=["Net benefit"])
    return figure


def _draw_curves(axes: Axes, runs: Sequence[Run], task: ShownTask, number: int, resamples: int) -> float:
    """Draw the curves of a method; return their highest value."""
    cases = {run.fold: set(run.test["case_id"]) for run in runs}
    drawn = draws_by_fold(cases, resamples=resamples)
    weights = with_all(np.hstack([drawn[run.fold].of_samples(run.test["case_id"]) for run in runs]))
    probability = np.concatenate([run.test[outcome_columns(task)[1][number]] for run in runs])
    happened = np.concatenate([run.test["y"] == number for run in runs])
    benefit = net_benefit(probability, happened, weights)
    everyone = net_benefit(np.ones_like(probability), happened, weights[:1])[0]
    if len(set().union(*cases.values())) >= LEAST_CASES:
        tail = (100 - COVERAGE) / 2
        low, high = np.percentile(benefit[1:], [tail, 100 - tail], axis=0)
        axes.fill_between(THRESHOLDS, low, high, color=class_colour(number), alpha=0.13, linewidth=0)
    axes.plot(THRESHOLDS, everyone, color=MUTED, linewidth=1.1)
    axes.axhline(0, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.plot(THRESHOLDS, benefit[0], color=class_colour(number), linewidth=1.8)
    return float(max(benefit[0].max(), everyone.max()))
