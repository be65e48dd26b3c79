"""A task of the configuration: what is predicted, how that is scored and printed; and the paper's own by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from ksfusion.cohort.config import Labelling
from ksfusion.core.config_block import once_each
from ksfusion.core.near_names import did_you_mean
from ksfusion.results.config import ClassOptions, Printing, ShownTask
from ksfusion.terms.tasks import SurvivalModel
from ksfusion.training.config import Epochs


class Task(Labelling, ClassOptions, Printing):
    """What is predicted, how that is scored and called in print, and how long models are trained for it."""

    survival: SurvivalModel | None = Field(None, description="of survival: its intervals, loss and cuts")
    epochs: Epochs | None = Field(None, description="of this task; else training.epochs, else 20 (10 for survival)")

    @model_validator(mode="after")
    def _labels_are_of_classes(self) -> Task:
        if unknown := [value for value in self.labels if value not in self.classes]:
            raise ValueError(f"labels: {unknown[0]!r} is not among the classes ({', '.join(self.classes)})")
        printed = [self.labels.get(name, name) for name in self.classes]
        if len(set(printed)) < len(printed):
            raise ValueError("labels: two classes would be called the same")
        return self

    @model_validator(mode="after")
    def _one_of_two_classes_counts(self) -> Task:
        if self.ordered and not self.classes:
            raise ValueError("ordered is for classification; remove it")
        if self.survival and self.kind != "survival":
            raise ValueError("survival is for tasks of kind survival; remove it")
        if self.positive is not None and len(self.classes) != 2:
            raise ValueError("positive is for two classes; remove it")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"positive: {self.positive!r} is not among the classes ({', '.join(self.classes)})")
        return self

    @property
    def positive_class(self) -> str | None:
        """The positive class: of two the one named, else the second; None of more."""
        return self.positive or self.classes[1] if len(self.classes) == 2 else None

    def shown(self, name: str) -> ShownTask:
        """Return what results know of the task.

        Parameters
        ----------
        name
            Name of the task.
        """
        return ShownTask.of(self, name=name, positive=self.positive_class)


# Diagnosis is derived (ksfusion.cohort.labels); its class order is the paper's numbering.
BUILTIN_TASKS = {
    "diagnosis": Task(
        kind="classification",
        column="diagnosis",
        classes=["glioblastoma", "astrocytoma_g4", "astrocytoma", "oligodendroglioma"],
    ),
    "grading": Task(kind="classification", column="grade", classes=["G2", "G3", "G4"], ordered=True),
    "survival": Task(kind="survival", time="survival_days", event="event"),
}
# Of a task that names none, by its kind.
EPOCHS_OF_KIND = {"classification": 20, "survival": 10, "regression": 20}


def tasks_by_name_too(schema: dict[str, Any]) -> None:
    """Let the JSON schema of ``tasks`` take the names of built-in tasks, and those with a change, beside a mapping."""
    mapping = {key: schema.pop(key) for key in list(schema) if key not in ("description", "title", "default")}
    mapping["properties"] = {name: {"type": ["object", "null"]} for name in BUILTIN_TASKS}
    names = {"type": "array", "items": {"anyOf": [{"enum": list(BUILTIN_TASKS)}, mapping]}, "minItems": 1}
    schema["anyOf"] = [names, mapping]


def by_name(tasks: list[Any]) -> dict[Any, Any]:
    """Return a list of tasks, names of built-in ones and mappings of names to tasks, as one mapping."""
    found: dict[Any, Any] = {}
    for task in tasks:
        entries = task if isinstance(task, Mapping) else {task: None} if isinstance(task, str) else None
        if entries is None:
            raise ValueError(f"{task!r} is neither the name of a built-in task nor a mapping of a name to a task")
        once_each([*found, *entries], "task")
        found |= entries
    return found


def recipe(name: Any, task: Any) -> Any:
    """Return the task of a name: a built-in one, with what is changed of it, where its kind is not said."""
    if not (task is None or isinstance(task, Mapping)) or (task and "kind" in task):
        return task
    if name in BUILTIN_TASKS:
        return BUILTIN_TASKS[name].model_dump(exclude_unset=True) | dict(task or {})
    if task:
        return task
    known = f"{', '.join(BUILTIN_TASKS)}{did_you_mean(name, BUILTIN_TASKS)}"
    raise ValueError(
        f"{name!r} is not a built-in task ({known}); define it, such as "
        f"{name}: {{kind: classification, column: COLUMN, classes: [ONE, OTHER]}}"
    )
