"""ROC curves and confusion matrices, a panel per method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ShownTask
from ksfusion.results.metrics.areas import weighted_auc
from ksfusion.results.plots.classes import class_colour, class_counts, class_entries, figure_with_legend, reasons_of
from ksfusion.results.plots.panels import COLUMNS, label_outer, note_in, panel_figure, wrapped
from ksfusion.results.plots.style import CONFUSION_MAP, INK, MUTED
from ksfusion.results.runs import Run, outcome_columns
from ksfusion.results.wording import DASH

FALSE_POSITIVE_RATES = np.linspace(0, 1, 201)
ONE_CLASS = "one class only among the samples"


def draw_roc(runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str) -> Figure:
    """Draw the ROC curve of each class against the rest, and their mean, averaged over runs.

    Where one class of two counts, its curve alone is drawn.
    """
    entries = class_entries(runs, task)
    if task.positive_number is None:
        entries.append(("mean", Line2D([], [], color=INK, linewidth=2.4)))
    figure, panels = figure_with_legend(len(methods), title=title, entries=entries)
    for method, (axes,) in zip(methods, panels, strict=True):
        axes.set_title(METHODS[method].label)
        curves = _mean_curves([run for run in runs if run.method == method], task)
        if not curves:
            note_in(axes, reasons_of(runs, method, ONE_CLASS))
            continue
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        lines = [(class_colour(number), 1.2, "normal", *curves[number]) for number in curves]
        rates, areas = zip(*curves.values(), strict=True)
        if task.positive_number is None:
            lines.append((INK, 2.0, "bold", np.mean(rates, axis=0), float(np.mean(areas))))
        for position, (colour, width, weight, rate, area) in enumerate(reversed(lines)):
            axes.plot(FALSE_POSITIVE_RATES, rate, color=colour, linewidth=width)
            y = 0.04 + 0.072 * position
            halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
            axes.text(
                0.99, y, f"{100 * area:.1f}", color=colour, ha="right", fontsize=7.5, fontweight=weight, bbox=halo
            )
        axes.text(0.99, 0.05 + 0.072 * len(lines), "AUC", color=MUTED, ha="right", fontsize=7.5)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    label_outer(panels, xlabel="1 - specificity", ylabels=["Sensitivity"])
    return figure


def _mean_curves(runs: Sequence[Run], task: ShownTask) -> dict[int, tuple[np.ndarray, float]]:
    """Return class number to (sensitivity on the common grid, area), each averaged over runs."""
    from sklearn.metrics import roc_curve

    _, probabilities = outcome_columns(task)
    rates: dict[int, list[np.ndarray]] = {}
    areas: dict[int, list[float]] = {}
    for run in runs:
        if run.reason or run.test["y"].nunique() < 2:
            continue
        present = sorted(run.test["y"].astype(int).unique())
        for number in present if task.positive_number is None else [task.positive_number]:
            positive, score = (run.test["y"] == number).to_numpy(), run.test[probabilities[number]].to_numpy(float)
            false_positive, true_positive, _ = roc_curve(positive, score, drop_intermediate=False)
            rates.setdefault(number, []).append(np.interp(FALSE_POSITIVE_RATES, false_positive, true_positive))
            areas.setdefault(number, []).append(weighted_auc(positive, score, np.ones((1, len(score))))[0])
    return {
        number: (np.r_[0.0, np.mean(rates[number], axis=0)[1:]], float(np.mean(areas[number])))
        for number in sorted(rates)
    }


def draw_confusion(runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str) -> Figure:
    """Draw predicted against true classes, in percent of the true class, over all runs."""
    classes, counts = task.classes, class_counts(runs, task.classes)
    names = [wrapped(name, 14) for name in task.class_labels()]
    longest = max(len(line) for name in names for line in name.split("\n"))
    side = max(2.2, 0.55 * len(classes))
    figure, panels = panel_figure(
        len(methods), title=title, width=side, heights=(side,), gap=0.55 + 0.043 * longest, left=0.3 + 0.063 * longest
    )
    for position, (method, (axes,)) in enumerate(zip(methods, panels, strict=True)):
        axes.set_title(METHODS[method].label)
        good = [run for run in runs if run.method == method and not run.reason]
        if not good:
            note_in(axes, reasons_of(runs, method, ONE_CLASS))
            continue
        percent = _confusion_percent(good, task)
        axes.imshow(np.nan_to_num(percent), cmap=CONFUSION_MAP, vmin=0, vmax=100, aspect="equal")
        for (row, column), value in np.ndenumerate(percent):
            text = DASH if np.isnan(value) else f"{value:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if value > 55 else INK)
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xticks(range(len(classes)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=7)
        first_column = position % COLUMNS == 0
        labels = [f"{name}\nn = {count}" for name, count in zip(names, counts, strict=True)]
        axes.set_yticks(range(len(classes)), labels if first_column else [], fontsize=7)
    return figure


def _confusion_percent(runs: Sequence[Run], task: ShownTask) -> np.ndarray:
    """Return the confusion matrix (n_classes, n_classes) in percent of each row; NaN where a class is absent."""
    from sklearn.metrics import confusion_matrix

    _, probabilities = outcome_columns(task)
    table = pd.concat([run.test for run in runs])
    predicted = table[probabilities].to_numpy().argmax(axis=1)
    counts = confusion_matrix(table["y"].astype(int), predicted, labels=range(len(task.classes))).astype(float)
    totals = counts.sum(axis=1, keepdims=True)
    percent: np.ndarray = 100 * counts / np.where(totals > 0, totals, np.nan)
    return percent
