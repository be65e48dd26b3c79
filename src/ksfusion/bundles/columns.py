"""The columns of what is told of a case; light enough for what writes pages alone."""

from __future__ import annotations

from ksfusion.terms.tasks import PREDICTED, TaskOutcome


def probability_columns(task: TaskOutcome) -> list[str]:
    """Return the columns of the probabilities of the classes."""
    return [f"prob_{name}" for name in task.classes]


def value_columns(task: TaskOutcome) -> list[str]:
    """Return the columns of what is told of a case: probabilities, the risk, or the number."""
    if task.kind == "classification":
        return probability_columns(task)
    return ["risk"] if task.kind == "survival" else [PREDICTED]
