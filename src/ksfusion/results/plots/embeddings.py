"""Embeddings of test samples on a plane, by label and by cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ksfusion.results.config import ShownTask
from ksfusion.results.plots.panels import name_study, note_in, panel_figure
from ksfusion.results.plots.style import ATTENTION_MAP, CLASS_COLOURS, MUTED

STREAM_NAMES = {"tumour": "tumour stream", "tme": "TME stream", "patches": "patches", "genes": "genes"}
COLUMNS = 4
CAPTION = (
    "UMAP (scanpy) of what the classifier is given of each test sample, each stream by itself: a point is a sample, "
    "coloured by its label, days to death or last contact, or number, then by cohort. Near points are alike; distances "
    "between groups, and the axes, mean nothing."
)


@dataclass(frozen=True, eq=False)
class EmbeddedTask:
    """The embeddings of a task.

    Attributes
    ----------
    task
        The task.
    samples : pandas.DataFrame
        Test samples with their cohort and truth.
    planes : mapping of stream to numpy.ndarray (n_samples, 2), or None
        Where they lie; None where there are too few.
    """

    task: ShownTask
    samples: pd.DataFrame
    planes: Mapping[str, np.ndarray | None]


def draw_planes(tasks: Sequence[EmbeddedTask], *, title: str, study: str | None = None) -> Figure:
    """Draw the streams of each task, coloured by label and by cohort, a row of panels for each task.

    Parameters
    ----------
    tasks
        The embeddings of each task.
    title
        The figure's title.
    study
        Name of the study, where its figures show one.
    """
    streams = list(dict.fromkeys(stream for embedded in tasks for stream in embedded.planes))[: COLUMNS // 2]
    columns = 2 * max(len(streams), 1)
    figure, panels = panel_figure(
        len(tasks) * columns, title=title, width=2.1, heights=(2.1,), left=0.2, between=0.35, gap=0.9, columns=columns
    )
    for number, (axes,) in enumerate(panels):
        embedded, place = tasks[number // columns], number % columns
        stream = streams[place // 2] if streams else ""
        plane = embedded.planes.get(stream)
        axes.set_title(f"{embedded.task.heading}: {STREAM_NAMES.get(stream, stream)}", fontsize=8.5)
        if plane is None:
            note_in(axes, "no embedding, or too few test samples")
            continue
        _draw_points(axes, plane, embedded, by_cohort=place % 2 == 1)
    if study:
        name_study(figure, study)
    return figure


def _draw_points(axes: Axes, plane: np.ndarray, embedded: EmbeddedTask, *, by_cohort: bool) -> None:
    """Draw the samples of a stream in the colours of their cohorts, or of their labels."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    task, samples = embedded.task, embedded.samples
    if by_cohort:
        _draw_groups(axes, plane, samples["cohort"].astype(str))
    elif task.kind == "classification":
        labels = dict(enumerate(task.class_labels()))
        _draw_groups(axes, plane, samples["y"].map(labels).astype(object).fillna("not known"), order=[*labels.values()])
    else:
        values = samples["days" if task.kind == "survival" else "y"].to_numpy(float)
        known = np.isfinite(values)
        axes.plot(*plane[~known].T, "o", color=MUTED, markersize=3)
        drawn = axes.scatter(plane[known, 0], plane[known, 1], c=values[known], s=14, cmap=ATTENTION_MAP)
        bar = axes.figure.colorbar(drawn, ax=axes, orientation="horizontal", fraction=0.06, pad=0.04)
        bar.ax.tick_params(labelsize=6.5)


def _draw_groups(axes: Axes, plane: np.ndarray, groups: pd.Series[str], order: Sequence[str] = ()) -> None:
    names = [*order, *sorted(set(groups) - set(order))]
    for number, name in enumerate(names):
        own = (groups == name).to_numpy(bool)
        if own.any():
            colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
            axes.plot(*plane[own].T, "o", color=colour, markersize=3.5, label=name)
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.02), fontsize=6.5, ncols=2, handletextpad=0.1, columnspacing=0.8
    )
