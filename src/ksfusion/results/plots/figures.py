"""The figures that are drawn of every task, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

import pandas as pd
from matplotlib.figure import Figure

from ksfusion.methods.variants import FULL_METHOD
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.kinds import (
    KINDS,
    Draw,
    FigureKind,
    alpha_kind,
    calibration_kind,
    decision_kind,
    forest_kind,
    subgroup_kind,
)
from ksfusion.results.plots.panels import name_study, sentence_figure
from ksfusion.results.runs import Run
from ksfusion.results.statistics import RESAMPLES
from ksfusion.results.tables.differences import Comparisons
from ksfusion.results.tables.external import outside, without_test
from ksfusion.results.tables.scores import choose_methods

# The kinds that external cohorts have too.
ON_EXTERNAL = ("roc", "calibration", "kaplan_meier", "kaplan_meier_thirds", "regression")
# The lists of figures, beside them.
FIGURE_LIST, ALPHA_LIST = "figures.json", "alpha.json"


class FigureEntry(TypedDict):
    """A figure as the list of figures holds it; ``name`` is that of its files, ``heading`` that of all of its kind."""

    name: str
    kind: str
    heading: str
    task: str
    title: str
    caption: str


# What the captions say of runs.
SEEDS = {"runs": "seeds", "run": "seed", "within": ""}
FOLDS_AND_SEEDS = {"runs": "folds and seeds", "run": "fold and seed", "within": " within each fold"}


def figures_of_task(
    runs: Sequence[Run],
    task: ShownTask,
    *,
    methods: Sequence[str],
    caveats: Sequence[str] = (),
    study: str | None = None,
    only_alpha: bool = False,
    comparisons: Comparisons | None = None,
    subgroups: pd.DataFrame | None = None,
    times: Sequence[float] = (),
    resamples: int = RESAMPLES,
    external: str = "",
) -> Iterator[tuple[FigureEntry, Figure]]:
    """Draw the figures of a task, one after the other.

    Parameters
    ----------
    runs
        The runs of all tasks.
    task
        The task.
    methods
        Names, in the order of the panels; variants with another alpha appear in the figure of alpha only.
    caveats
        Sentences that must stand in every caption.
    study
        Name of the study, where its figures show one.
    only_alpha
        Draw the figure of alpha alone.
    comparisons
        Comparisons of the methods with a reference; the first figure shows them, where there are any.
    subgroups
        The table of subgroups, where there is one.
    times
        Days at which the calibration of survival is shown.
    resamples
        Number of bootstrap resamples of the cases for the intervals that are not in those tables.
    external
        The external cohort that the runs are of (`ksfusion.results.runs.Run.on_external`), of which `ON_EXTERNAL` are
        drawn where any run has a result; empty for the test samples.

    Yields
    ------
    FigureEntry
        What the list of figures says of it.
    matplotlib.figure.Figure
        The figure.
    """
    own = [run for run in runs if run.task == task.name]
    of_alpha = choose_methods(methods)["alpha"]
    shown = [method for method in methods if method == FULL_METHOD or method not in of_alpha]
    drawn: list[tuple[FigureKind, Sequence[str]]] = []
    if not only_alpha:
        kinds = [*KINDS, decision_kind(resamples)]
        if times:
            kinds.append(calibration_kind(times))
        if external:
            kinds = [kind for kind in kinds if kind.name in ON_EXTERNAL and any(not run.reason for run in own)]
        if comparisons and len(comparisons.table):
            kinds.insert(0, forest_kind(comparisons))
        if subgroups is not None and len(subgroups):
            kinds.append(subgroup_kind(subgroups))
        drawn = [(kind, shown) for kind in kinds]
    if of_alpha:
        drawn.append((alpha_kind(resamples), of_alpha))
    words = FOLDS_AND_SEEDS if len({run.fold for run in own}) > 1 else SEEDS
    for kind, names in ((kind, kind.shown(names, task)) for kind, names in drawn):
        if not names:
            continue
        title = f"{task.heading}: {kind.title}"
        said = kind.caption.format_map({**words, **_task_words(task)})
        if external:
            title = f"{title}, {outside(external)}"
            said = f"{without_test(said)} Nothing was fitted, chosen or trained on cohort {external}."
        caption = " ".join([said, *caveats])
        figure = _draw(kind.draw, own, task, names, title)
        if study:
            name_study(figure, study)
        heading = kind.title[0].upper() + kind.title[1:]
        entry = FigureEntry(
            name=f"{kind.name}_{task.name}",
            kind=kind.name,
            heading=heading,
            task=task.name,
            title=title,
            caption=caption,
        )
        yield entry, figure


def _task_words(task: ShownTask) -> dict[str, str]:
    """Return what the captions say of the classes of a task, and of the unit of differences."""
    points = "percentage points" + (", of MAE in its unit, where less is good" if task.kind == "regression" else "")
    if task.positive_number is None:
        mean = "Black: mean of the classes that have test samples. "
        return {"told": "each class", "mean": mean, "points": points}
    return {"told": task.class_labels()[task.positive_number], "mean": "", "points": points}


def _draw(draw: Draw, runs: Sequence[Run], task: ShownTask, methods: Sequence[str], title: str) -> Figure:
    """Draw a figure, or one that says why not when no method has a result."""
    own = [run for run in runs if run.method in methods]
    if any(not run.reason for run in own):
        return draw(own, task=task, methods=methods, title=title)
    reasons = sorted({run.reason for run in own}) or ["no run"]
    return sentence_figure(title, f"Nothing to draw: {'; '.join(reasons)}.")
