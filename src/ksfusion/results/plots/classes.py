"""What the figures of class probabilities share: colours, counts, the legend of the classes, reasons for no curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ksfusion.results.config import ShownTask
from ksfusion.results.plots.panels import figure_width, panel_figure
from ksfusion.results.plots.style import CLASS_COLOURS
from ksfusion.results.runs import Run

HEIGHT, GAP = 2.75, 0.75  # inches
# Of a legend: what it says, and of which line.
Entry: TypeAlias = tuple[str, Line2D]


def class_colour(number: int) -> str:
    """Return the colour of a class, by its number."""
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def class_counts(runs: Sequence[Run], classes: Sequence[str]) -> list[int]:
    """Return the number of test samples of each class."""
    table = pd.concat([run.test[["sample_id", "y"]] for run in runs if not run.reason]).drop_duplicates("sample_id")
    return [int((table["y"] == number).sum()) for number in range(len(classes))]


def shown_classes(task: ShownTask) -> list[int]:
    """Return the numbers of the classes that have a curve: all, or the positive one."""
    return list(range(len(task.classes))) if task.positive_number is None else [task.positive_number]


def class_entries(runs: Sequence[Run], task: ShownTask) -> list[Entry]:
    """Return the entries of a legend of the classes that have a curve, with their numbers of test samples."""
    labels, counts = task.class_labels(), class_counts(runs, task.classes)
    return [
        (f"{labels[number]} (n = {counts[number]})", Line2D([], [], color=class_colour(number), linewidth=1.6))
        for number in shown_classes(task)
    ]


def figure_with_legend(n_panels: int, *, title: str, entries: Sequence[Entry]) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of panels as `panel_figure` does, with a legend below them.

    Parameters
    ----------
    n_panels, title
        See `panel_figure`.
    entries
        Entries of the legend.
    """
    width = figure_width(n_panels)
    entry = 0.45 + 0.065 * max(len(text) for text, _ in entries)
    columns = max(1, min(5, len(entries), int(width / entry)))
    footer = 0.45 + 0.18 * (-(-len(entries) // columns) - 1)
    figure, panels = panel_figure(n_panels, title=title, heights=(HEIGHT,), gap=GAP, footer=footer)
    texts, lines = zip(*entries, strict=True)
    figure.legend(lines, texts, loc="lower center", ncols=columns, handlelength=1.4, columnspacing=1.6)
    return figure, panels


def reasons_of(runs: Sequence[Run], method: str, otherwise: str) -> str:
    """Return why a method has nothing to draw: why its runs failed, or another reason.

    Parameters
    ----------
    runs
        Runs of all methods.
    method
        Name of the method.
    otherwise
        Reason where none of its runs failed.
    """
    own = [run for run in runs if run.method == method]
    return "; ".join(sorted({run.reason for run in own if run.reason}) or [otherwise]) if own else "no run"
