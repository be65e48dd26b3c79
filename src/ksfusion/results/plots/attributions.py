"""Which genes the outputs of a method rest on: the first of each niche, with their spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ksfusion.results.config import ShownTask
from ksfusion.results.plots.genes import NICHE_NAMES
from ksfusion.results.plots.panels import name_study, note_in, panel_figure
from ksfusion.results.plots.style import CLASS_COLOURS

# Genes of a niche that are shown.
SHOWN = 10
ROW, LABELS, WIDTH = 0.23, 1.15, 2.7  # inches
# Of a row's height, between the first class and the last.
SPREAD = 0.56
CAPTION = (
    "Mean absolute attribution of the output to each gene (integrated gradients, baseline: the training mean), over "
    "test samples: of classes of their log odds, of survival of the risk. Points: mean over seeds; bars: plus and "
    "minus one standard deviation over seeds. The genes of each niche with the largest mean over classes."
)


def draw_attribution_ranks(
    tables: Sequence[pd.DataFrame], *, tasks: Sequence[ShownTask], title: str, study: str | None = None
) -> Figure:
    """Draw the first genes of each niche, a row of panels for each task.

    Parameters
    ----------
    tables
        Of `ksfusion.results.attribution.genes.attribution_table`, one for each task.
    tasks
        The tasks.
    title
        The figure's title.
    study
        Name of the study, where its figures show one.
    """
    height = ROW * SHOWN
    figure, panels = panel_figure(
        len(tasks) * len(NICHE_NAMES),
        title=title,
        width=WIDTH,
        heights=(height,),
        left=LABELS,
        between=LABELS,
        gap=0.95,
        columns=len(NICHE_NAMES),
    )
    for number, (axes,) in enumerate(panels):
        task, niche = tasks[number // len(NICHE_NAMES)], list(NICHE_NAMES)[number % len(NICHE_NAMES)]
        axes.set_title(f"{task.heading}: {NICHE_NAMES[niche].lower()}")
        table = tables[number // len(NICHE_NAMES)]
        own = table[table["niche"] == niche].dropna(subset=["mean"])
        if own.empty:
            note_in(axes, "no gene, or no model")
        else:
            _draw_genes(axes, own, task)
    if study:
        name_study(figure, study)
    return figure


def first_genes(table: pd.DataFrame, most: int) -> list[str]:
    """Return the genes with the largest mean over classes; equal ones by name."""
    means = table.groupby("gene")["mean"].mean().reset_index()
    return means.sort_values(["mean", "gene"], ascending=[False, True])["gene"].head(most).tolist()


def _draw_genes(axes: Axes, table: pd.DataFrame, task: ShownTask) -> None:
    """Draw the genes of a niche, the first at the top, a colour for each class."""
    genes, outputs = first_genes(table, SHOWN), list(table["class"].unique())
    labels = dict(zip(task.classes, task.class_labels(), strict=True))
    for number, output in enumerate(
        sorted(outputs, key=lambda name: list(labels).index(name) if name in labels else 0)
    ):
        own = table[table["class"] == output].set_index("gene").loc[genes]
        apart = SPREAD * (number / (len(outputs) - 1) - 0.5) if len(outputs) > 1 else 0.0
        places, colour = np.arange(len(genes)) + apart, CLASS_COLOURS[number % len(CLASS_COLOURS)]
        spread = own["sd"].fillna(0)
        axes.hlines(places, (own["mean"] - spread).clip(lower=0), own["mean"] + spread, color=colour, linewidth=1.1)
        axes.plot(own["mean"], places, "o", color=colour, markersize=3)
    axes.set_ylim(SHOWN - 0.4, -0.6)
    axes.set_yticks(np.arange(len(genes)), genes, fontstyle="italic")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")
    if labels:
        keys = [
            Line2D([], [], color=CLASS_COLOURS[number % len(CLASS_COLOURS)], marker="o", markersize=3, label=label)
            for number, label in enumerate(labels.values())
        ]
        axes.legend(
            handles=keys, loc="upper left", bbox_to_anchor=(0, -0.08), fontsize=7, ncols=2, handlelength=1, borderpad=0
        )
