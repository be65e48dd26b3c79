"""The layout of Table S1: for each task a table of its further metrics, then one for each of its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.metrics.d_calibration import DECILES
from ksfusion.results.metrics.further_classes import CALIBRATION_BINS
from ksfusion.results.metrics.names import class_of
from ksfusion.results.tables.differences import Comparisons
from ksfusion.results.tables.layout import Layout, lay_out

CLASS_NOTES = (
    "0 is ideal for Brier score and ECE, the expected calibration error (over {bins} equally wide bins). {brier} "
    "Within cohorts: only samples of the same cohort are compared, so that to know the cohort helps nothing."
)
BRIER_OF_CLASS = "Precision, AUPRC, Brier score and ECE are about {label}."
BRIER_OF_ALL = "The Brier score is summed over the classes, up to 200; ECE is that of the predicted class."
SURVIVAL_NOTES = (
    "0 is ideal for the integrated Brier score and for D-cal., the share of the samples that a calibrated model would "
    f"have in other of {DECILES} equal ranges of predicted survival; D-cal. p: 100 times the p-value of its chi-square "
    "test (Rao and Scott's correction), each case counting once. Censoring is weighted by Kaplan-Meier's estimate on "
    "{censoring}; between the cuts of time the predicted curve is a step function, and what is integrated, and "
    "Uno's C, go to the last cut. Within cohorts: only samples of the same cohort are compared."
)
ON_TRAINING, ON_ITSELF = "the training cases", "the cases of this cohort"


def lay_out_supplement(
    long: pd.DataFrame,
    tasks: Sequence[ShownTask],
    *,
    caveats: Sequence[str] = (),
    cohort: str = ALL,
    drops: pd.DataFrame | None = None,
    comparisons: Comparisons | None = None,
) -> Iterator[tuple[str, Layout]]:
    """Yield the parts of Table S1: what each is about, and its layout.

    Parameters
    ----------
    long : pandas.DataFrame
        With the columns of `ksfusion.results.tables.scores.COLUMNS`.
    tasks
        The tasks, in the order of the table.
    caveats
        Sentences that stand first among the notes of each; one that begins with a task, at those of this alone.
    cohort, drops
        An external cohort, and the drops of results there; all test samples else.
    comparisons
        Comparisons of the methods with a reference, by which values are marked.
    """
    classes = long["metric"].map(class_of)
    for task in tasks:
        own = long[long["task"] == task.name]
        others = tuple(f"{other.heading}: " for other in tasks if other.name != task.name)
        said = [text for text in caveats if not text.startswith(others)]
        for name in ("", *task.classes):
            rows = own[classes[own.index] == name]
            if not len(rows):
                continue
            label = dict(zip(task.classes, task.class_labels(), strict=True)).get(name)
            about = f"{task.heading}: {label} against the rest" if label else task.heading
            titles = {task.name: task.title} if task.title else None
            layout = lay_out(rows, cohort=cohort, caveats=said, titles=titles, drops=drops, comparisons=comparisons)
            (_, labels), *_ = layout.groups
            notes = layout.notes if label else (*layout.notes, _note(task, ON_TRAINING if drops is None else ON_ITSELF))
            yield about, replace(layout, groups=((label or task.heading, labels),), notes=notes)


def _note(task: ShownTask, censoring: str) -> str:
    if task.kind == "survival":
        return SURVIVAL_NOTES.format(censoring=censoring)
    number = task.positive_number
    brier = BRIER_OF_ALL if number is None else BRIER_OF_CLASS.format(label=task.class_labels()[number])
    return CLASS_NOTES.format(bins=CALIBRATION_BINS, brier=brier)
