"""What figures there are: what each is called, what stands below it, and what draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import pandas as pd
from matplotlib.figure import Figure

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.alpha import draw_alpha
from ksfusion.results.plots.calibration import draw_class_calibration, draw_survival_calibration
from ksfusion.results.plots.classification import draw_confusion, draw_roc
from ksfusion.results.plots.decision import draw_decision
from ksfusion.results.plots.forest import draw_forest
from ksfusion.results.plots.regression import draw_regression
from ksfusion.results.plots.subgroups import MOST_ROWS, draw_subgroups
from ksfusion.results.plots.survival import THIRDS, draw_survival
from ksfusion.results.plots.training import draw_training
from ksfusion.results.runs import Run
from ksfusion.results.tables.differences import Comparisons
from ksfusion.terms.tasks import TaskKind

# Kinds in the order of the report, after those of differences; others come last.
FOREST = "forest"
KIND_ORDER = (
    "roc",
    "calibration",
    "decision",
    "kaplan_meier",
    "kaplan_meier_thirds",
    "regression",
    "subgroups",
    "confusion",
    "alpha",
    "training",
)


class Draw(Protocol):
    """What draws a figure of a task from the runs of some methods."""

    def __call__(self, runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str) -> Figure:
        """Draw it."""


@dataclass(frozen=True)
class FigureKind:
    """A figure that is drawn once for each task.

    Attributes
    ----------
    name
        Its files are called so, and by the task.
    title, caption
        What stands above and below it; in a caption ``{runs}`` stands for seeds, or folds and seeds, ``{run}`` for one
        of them, ``{within}`` for what is done fold by fold, ``{told}`` and ``{mean}`` for the classes of a curve, and
        ``{points}`` for the unit of differences.
    draw
        What draws it.
    task_kind
        The kind of task that has it; None for all.
    of_epochs
        Whether it shows what is trained for epochs alone.
    of_one_class
        Whether it is of tasks with a positive class alone.
    """

    name: str
    title: str
    caption: str
    draw: Draw
    task_kind: TaskKind | None = None
    of_epochs: bool = False
    of_one_class: bool = False

    def shown(self, methods: Sequence[str], task: ShownTask) -> list[str]:
        """Return the methods that it shows of a task; none where the task has no such figure."""
        if self.task_kind not in (None, task.kind) or (self.of_one_class and task.positive_number is None):
            return []
        serving = [name for name in methods if METHODS[name].serves(task.kind)]
        return [name for name in serving if not (self.of_epochs and METHODS[name].is_baseline)]


KINDS = (
    FigureKind(
        "roc",
        "ROC curves",
        "How well {told} is distinguished from the rest, on the test samples; curves and areas (in percent) are "
        "averaged over {runs}. {mean}Dashed: chance.",
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
        "calibration",
        "calibration",
        "How often a test sample is of a class, against the predicted probability of that class: means of fifths of "
        "the predictions, all {runs} together, for {told}. Bars: 95 % interval (Wilson's, each case of a fifth "
        "counting once). Dashed: what is predicted happens.",
        draw_class_calibration,
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
        "kaplan_meier_thirds",
        "Kaplan-Meier curves by thirds of predicted risk",
        "The same as the Kaplan-Meier curves of halves for thirds of the test cases by predicted risk{within}. p: "
        "log-rank test of all three.",
        partial(draw_survival, groups=THIRDS),
        "survival",
    ),
    FigureKind(
        "regression",
        "predicted against true",
        "What was predicted of each test sample (mean over seeds{within}), against what is true. Dashed: both are the "
        "same.",
        draw_regression,
        "regression",
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


def alpha_kind(resamples: int) -> FigureKind:
    """Return the figure of alpha; ``resamples``: how often cases are drawn for its intervals."""
    return FigureKind(
        "alpha",
        "sensitivity to alpha",
        "Test result of ksfusion for each weight alpha of the tumour's alignment loss against the microenvironment's "
        "(1 - alpha): mean over {runs}, with the 95 % interval by bootstrap over cases.",
        partial(draw_alpha, resamples=resamples),
    )


def calibration_kind(times: Sequence[float]) -> FigureKind:
    """Return the figure of the calibration of survival at times, in days."""
    return FigureKind(
        "calibration",
        "calibration",
        "How many test cases are alive at stated times, by Kaplan-Meier with its 95 % interval, against how many were "
        "predicted to be: fifths of the cases by predicted survival (mean over seeds and over the samples of a case). "
        "Dashed: what is predicted happens. A predicted curve falls at the cuts of time alone: at a time between two "
        "cuts it tells survival at the first of them, so that points lie below the dashed line by the deaths since. A "
        "fifth that is not followed so long has no point.",
        partial(draw_survival_calibration, times=times),
        "survival",
    )


def decision_kind(resamples: int) -> FigureKind:
    """Return the figure of decision curves; ``resamples``: how often cases are drawn for its intervals."""
    return FigureKind(
        "decision",
        "decision curves",
        "Net benefit of treating the test samples whose predicted probability of {told} reaches a threshold: the share "
        "of true positives less that of false positives times the odds of the threshold, all {runs} together. Shaded: "
        "95 % interval by bootstrap over the test cases. A prediction is of use at thresholds where its curve is above "
        "those of treating all and none.",
        partial(draw_decision, resamples=resamples),
        "classification",
        of_one_class=True,
    )


def subgroup_kind(table: pd.DataFrame) -> FigureKind:
    """Return the figure of the subgroups in the table of `ksfusion.stages.make_subgroups`."""
    return FigureKind(
        "subgroups",
        "subgroups",
        "The first metric on the test samples of each subgroup: mean over {runs}, with the 95 % interval by bootstrap "
        "over the subgroup's cases; hollow: too few cases for an interval. p: of the null that the subgroups of a "
        f"column do not differ, not corrected for the number of tests. Of more than {MOST_ROWS} subgroups the largest.",
        partial(draw_subgroups, table=table),
    )


def forest_kind(comparisons: Comparisons) -> FigureKind:
    """Return the figure of how far methods are from the reference."""
    reference = comparisons.printed_reference()
    return FigureKind(
        FOREST,
        f"differences from {reference}",
        f"Difference of each method's metrics from those of {reference} on the same test samples, in "
        "{points}; right of the line the method is above. Dot: difference of the means over {runs}. Dark line: spread "
        "over cases, the 95 % interval by bootstrap over the test cases, the trained models as they are. Blue line: "
        "spread over seeds, one standard deviation of the seeds' differences to either side, the test cases as they "
        "are. Filled: "
        f"{comparisons.threshold()}; of an AUC by DeLong's test for samples clustered in cases, else by permutation of "
        "whole cases.",
        partial(draw_forest, comparisons=comparisons),
    )
