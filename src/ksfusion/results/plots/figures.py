"""The figures that are drawn of every task: what they are called, what stands below them, and what draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypedDict

from matplotlib.figure import Figure

from ksfusion.methods.registry import METHODS
from ksfusion.methods.variants import FULL_METHOD
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.alpha import draw_alpha
from ksfusion.results.plots.classification import draw_confusion, draw_roc
from ksfusion.results.plots.forest import draw_forest
from ksfusion.results.plots.panels import name_study, sentence_figure
from ksfusion.results.plots.survival import draw_survival
from ksfusion.results.plots.training import draw_training
from ksfusion.results.runs import Run
from ksfusion.results.statistics import RESAMPLES
from ksfusion.results.tables.differences import Comparisons
from ksfusion.results.tables.scores import choose_methods
from ksfusion.terms.tasks import TaskKind

# The lists of figures, beside them.
FIGURE_LIST, ALPHA_LIST = "figures.json", "alpha.json"


class Draw(Protocol):
    """What draws a figure of a task from the runs of some methods."""

    def __call__(self, runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str) -> Figure:
        """Draw it."""


class FigureEntry(TypedDict):
    """A figure as the list of figures holds it; ``name`` is that of its files, ``heading`` that of all of its kind."""

    name: str
    kind: str
    heading: str
    task: str
    title: str
    caption: str


@dataclass(frozen=True)
class FigureKind:
    """A figure that is drawn once for each task.

    Attributes
    ----------
    name
        Its files are called so, and by the task.
    title, caption
        What stands above and below it; in a caption ``{runs}`` stands for seeds, or folds and seeds, ``{run}`` for one
        of them, ``{within}`` for what is done fold by fold, and ``{told}`` and ``{mean}`` for the classes of a curve.
    draw
        What draws it.
    task_kind
        The kind of task that has it; None for all.
    of_epochs
        Whether it shows what is trained for epochs alone.
    """

    name: str
    title: str
    caption: str
    draw: Draw
    task_kind: TaskKind | None = None
    of_epochs: bool = False

    def shown(self, methods: Sequence[str], task: ShownTask) -> list[str]:
        """Return the methods that it shows of a task."""
        serving = [name for name in methods if METHODS[name].serves(task.kind)]
        return [name for name in serving if not (self.of_epochs and METHODS[name].is_baseline)]


KINDS = (
    FigureKind(
        "roc",
        "ROC curves",
        "How well {told} is told from the rest, on the test samples; curves and areas (in percent) are averaged "
        "over {runs}. {mean}Dashed: chance.",
        draw_roc,
        "classification",
    ),
    FigureKind(
        "confusion",
        "confusion matrices",
        "Rows: the true class; columns: the predicted class; percent of the test samples of each row, all {runs} "
        "together.",
        draw_confusion,
        "classification",
    ),
    FigureKind(
        "kaplan_meier",
        "Kaplan-Meier curves by predicted risk",
        "Kaplan-Meier curves of the test cases, halved at the median of their predicted risk{within} (mean over seeds "
        "and over the samples of a case). Shaded: 95 % interval; ticks: censored cases; p: log-rank test between the "
        "halves.",
        draw_survival,
        "survival",
    ),
    FigureKind(
        "training",
        "training",
        "Loss on the training samples and the metric that chose the epoch on the validation samples. Thin: each {run}; "
        "thick: their mean; dots: the epochs that were kept.",
        draw_training,
        of_epochs=True,
    ),
)
ALPHA_KIND = FigureKind(
    "alpha",
    "sensitivity to alpha",
    "Test result of ksfusion for each weight alpha of the tumour's alignment loss against the microenvironment's "
    "(1 - alpha): mean over {runs}, with the 95 % interval by bootstrap over cases.",
    draw_alpha,
)


def forest_kind(comparisons: Comparisons) -> FigureKind:
    """Return the figure of how far methods are from the reference."""
    reference = comparisons.printed_reference()
    return FigureKind(
        "forest",
        f"differences from {reference}",
        f"Difference of each method's metrics from those of {reference} on the same test samples, in percentage "
        "points; right of the line the method is above. Dot: difference of the means over {runs}. Dark line: spread "
        "over cases, the 95 % interval by bootstrap over the test cases, the trained models as they are. Blue line: "
        "spread over seeds, one standard deviation of the seeds' differences to either side, the test cases as they "
        "are. Filled: "
        f"{comparisons.threshold()}; of an AUC by DeLong's test for samples clustered in cases, else by permutation of "
        "whole cases.",
        partial(draw_forest, comparisons=comparisons),
    )


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
    resamples: int = RESAMPLES,
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
        What the study is called, where that stands on its figures.
    only_alpha
        Draw the figure of alpha alone.
    comparisons
        Of the methods with a reference; the first figure shows them, where there are any.
    resamples
        How often cases are drawn for the intervals of the figure of alpha.

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
    kinds = list(KINDS)
    if comparisons and len(comparisons.table):
        kinds.insert(0, forest_kind(comparisons))
    drawn = [(kind, shown) for kind in kinds if not only_alpha and kind.task_kind in (None, task.kind)]
    if of_alpha:
        drawn.append((replace(ALPHA_KIND, draw=partial(draw_alpha, resamples=resamples)), of_alpha))
    words = FOLDS_AND_SEEDS if len({run.fold for run in own}) > 1 else SEEDS
    for kind, names in ((kind, kind.shown(names, task)) for kind, names in drawn):
        if not names:
            continue
        title = f"{task.heading}: {kind.title}"
        caption = " ".join([kind.caption.format_map({**words, **_class_words(task)}), *caveats])
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


def _class_words(task: ShownTask) -> dict[str, str]:
    """Return what the captions say of the classes of a task."""
    if task.positive_number is None:
        return {"told": "each class", "mean": "Black: mean of the classes that have test samples. "}
    return {"told": task.class_labels()[task.positive_number], "mean": ""}


def _draw(draw: Draw, runs: Sequence[Run], task: ShownTask, methods: Sequence[str], title: str) -> Figure:
    """Draw a figure, or one that says why not when no method has a result."""
    own = [run for run in runs if run.method in methods]
    if any(not run.reason for run in own):
        return draw(own, task=task, methods=methods, title=title)
    reasons = sorted({run.reason for run in own}) or ["no run"]
    return sentence_figure(title, f"Nothing to draw: {'; '.join(reasons)}.")
