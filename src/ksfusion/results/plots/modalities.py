"""How much each method loses when genes or patches are permuted, and without interactions of the two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.metrics import METRICS, metric_label
from ksfusion.results.modalities.changes import ADDITIVE, GENES, PATCHES, PERMUTATIONS
from ksfusion.results.plots.panels import (
    COLUMNS,
    label_outer,
    name_study,
    note_in,
    panel_figure,
    sentence_figure,
    wrapped,
)
from ksfusion.results.plots.style import CLASS_COLOURS, INK
from ksfusion.results.statistics import COVERAGE
from ksfusion.results.tables.modalities import shown_metric

TITLE = "Do the methods use both modalities?"
CHANGES = {
    GENES: ("genes permuted", CLASS_COLOURS[2], "o"),
    PATCHES: ("patches permuted", CLASS_COLOURS[0], "s"),
    ADDITIVE: ("additive projection", CLASS_COLOURS[1], "D"),
}
ROW, LEAST_HEIGHT = 0.42, 1.2  # inches
LABELS, LABEL_GAP, WIDTH, BETWEEN = 1.9, 0.08, 2.3, 0.3  # inches
# Of a row's height, between two changes of a method.
APART = 0.24
FOOTER = 0.3


def draw_modalities(
    table: pd.DataFrame, *, tasks: Sequence[ShownTask], methods: Sequence[str], study: str | None = None
) -> Figure:
    """Draw how much a metric of each task falls.

    Parameters
    ----------
    table : pandas.DataFrame
        As `ksfusion.results.tables.modalities.modality_table` returns it.
    tasks, methods
        Tasks and methods, in the order of panels and rows.
    study
        Name of the study, where its figures show one.
    """
    shown = table[table["cohort"] == ALL]
    names = [method for method in methods if method in set(shown["method"])]
    if shown["drop"].isna().all():
        reasons = "; ".join(sorted(set(shown["reason"]))) or "no method reads both modalities"
        return sentence_figure(TITLE, f"Nothing to draw: {reasons}.")
    height = max(ROW * len(names), LEAST_HEIGHT)
    figure, panels = panel_figure(
        len(tasks), title=TITLE, width=WIDTH, heights=(height,), left=LABELS, between=BETWEEN, footer=FOOTER
    )
    figure.texts[0].set_x(LABEL_GAP / figure.get_figwidth())
    for number, (task, (axes,)) in enumerate(zip(tasks, panels, strict=True)):
        metric = shown_metric(METRICS[task.kind])
        axes.set_title(f"{task.heading}, {metric_label(metric)}")
        rows = shown[(shown["task"] == task.name) & (shown["metric"] == metric)]
        if rows["drop"].isna().all():
            note_in(axes, "; ".join(sorted(set(rows["reason"]))))
        else:
            _draw_rows(axes, rows, names)
        if number % COLUMNS == 0:
            _name_rows(axes, names)
    label_outer(panels, xlabel="Points lost", ylabels=[""])
    keys = [
        Line2D([], [], color=colour, marker=marker, markersize=4.2, linewidth=1.3, label=label)
        for label, colour, marker in CHANGES.values()
    ]
    figure.legend(handles=keys, loc="lower left", ncols=len(keys))
    if study:
        name_study(figure, study)
    return figure


def _draw_rows(axes: Axes, rows: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw the losses of all methods, the first at the top."""
    axes.axvline(0, color=INK, linewidth=0.8)
    for place, (change, (_, colour, marker)) in enumerate(CHANGES.items()):
        own = rows[rows["permuted"] == change].set_index("method").reindex(list(names))
        places = np.arange(len(names)) + APART * (place - 1)
        axes.hlines(places, own["ci_low"], own["ci_high"], color=colour, linewidth=1.3)
        axes.plot(own["drop"], places, marker, color=colour, markersize=4.2, linestyle="")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(np.arange(len(names)), [""] * len(names))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write the names of methods left of their rows."""
    for number, name in enumerate(names):
        y = 1 - (number + 0.6) / len(names)
        label = wrapped(METHODS[name].label, 28, most=2)
        axes.text(
            -LABEL_GAP / WIDTH, y, label, transform=axes.transAxes, ha="right", va="center", fontsize=8, color=INK
        )


def modalities_caption(table: pd.DataFrame, caveats: Sequence[str] = ()) -> str:
    """Return what stands below the figure.

    Parameters
    ----------
    table : pandas.DataFrame
        As `draw_modalities` takes it.
    caveats
        Sentences that stand wherever results do.
    """
    n = table.loc[(table["cohort"] == ALL) & (table["permuted"] == ADDITIVE), "n"].max()
    said = (
        "How much the metric falls on the test samples when each case has the genes, or the patches, of another of its "
        f"cohort (mean over {PERMUTATIONS} permutations and the seeds), and when the model keeps of its scores only "
        "what is a sum of one part from the slide and one from the genes (first seed"
        f"{'' if pd.isna(n) else f', up to {n} samples'}). Right of the line the metric falls. Bars: "
        f"{COVERAGE} % interval by bootstrap over the test cases."
    )
    return " ".join([said, *caveats])
