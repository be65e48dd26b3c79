"""The settings of tables, figures, pictures of attention and the report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ksfusion.core.config_block import MOST, Block, Positive, Printed, once_each
from ksfusion.methods.registry import METHODS, networks_reading, unknown_method
from ksfusion.results.attribution.config import Attributions
from ksfusion.results.wording import heading, plain
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.terms.units import Days

Correction = Literal["holm", "bh", "none"]
COHORT = "cohort"
# What the tables call all cohorts together, and all folds.
ALL = "all"


class Titles(Block):
    """What a study is called in print."""

    title: Printed | None = Field(None, description="of the study, on its report, tables and figures")


class Resampling(Block):
    """How often cases are resampled."""

    resamples: int = Field(
        2000, ge=100, le=100_000, description="bootstrap resamples of the cases, for the 95 % confidence intervals"
    )


class Comparing(Resampling):
    """What methods are compared with, and how."""

    reference: str = Field("ksfusion", description="the method that the others are compared with")
    correction: Correction = Field(
        "holm",
        description="of the p-values for the number of methods compared: holm, bh (Benjamini and Hochberg) or none",
    )

    @field_validator("reference")
    @classmethod
    def _known_method(cls, name: str) -> str:
        if name not in METHODS:
            raise ValueError(unknown_method(name))
        return name


class Times(Block):
    """When survival is looked at."""

    times: list[Days] = Field(
        [365, 730, 1095],
        description="days at which time-dependent AUC and survival calibration are evaluated",
    )

    @field_validator("times")
    @classmethod
    def _ascend(cls, times: list[float]) -> list[float]:
        if sorted(set(times)) != times:
            raise ValueError("must be ascending, each time once")
        return times


class Subgrouping(Block):
    """By what test samples are divided into subgroups."""

    subgroups: list[str] = Field(
        [COHORT], description="columns of samples or cases, such as site, sex or grade; [] for none"
    )
    ranges: dict[str, list[float]] = Field(
        default_factory=dict, description="where the numbers of a column are cut into subgroups: {age: [40, 60]}"
    )

    @field_validator("subgroups")
    @classmethod
    def _once_each(cls, subgroups: list[str]) -> list[str]:
        return once_each(subgroups, "column")

    @field_validator("ranges")
    @classmethod
    def _ascending(cls, ranges: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, edges in ranges.items():
            if not edges or sorted(set(edges)) != edges:
                raise ValueError(f"{name}: must be one number or more, ascending, each once")
        return ranges

    @model_validator(mode="after")
    def _ranges_are_of_subgroups(self) -> Self:
        if unknown := [name for name in self.ranges if name not in self.subgroups]:
            raise ValueError(f"ranges: {unknown[0]} is not one of subgroups; add it there")
        return self


class TableContents(Times, Comparing):
    """What stands in the tables."""

    published: Literal["none", "paper"] = Field(
        "none", description="paper: the values of KS-Fusion's paper stand beside, for its own cohort"
    )


class Results(Subgrouping, TableContents):
    """How results are shown, and what methods are compared with."""


class Auditing(Block):
    """How far it is looked whether methods use both modalities."""

    audit_samples: int = Field(
        32,
        ge=0,
        le=1000,
        description="test samples, at most, all of whose pairs of slide and genes tell what needs both; 0: no audit of "
        "modalities",
    )

    @field_validator("audit_samples")
    @classmethod
    def _can_be_paired(cls, samples: int) -> int:
        if samples == 1:
            raise ValueError("one sample makes no pair; 2 or more, or 0 for no audit")
        return samples


class AuditedResults(Auditing, Results):
    """How results are shown, what methods are compared with, and whether their use of both modalities is audited."""

    attributions: Attributions = Field(Attributions(), description="which genes the outputs of methods rest on")


class Printing(Block):
    """What a task is called in print."""

    title: Printed | None = Field(None, description="what the task is called in tables, figures and report")
    labels: dict[str, Printed] = Field(
        default_factory=dict, description="of classification: what classes are called there, by their values"
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _values_are_text(cls, labels: Any) -> Any:
        if not isinstance(labels, dict):
            return labels
        if any(isinstance(value, bool) for value in labels):
            raise ValueError("YAML reads yes, no, on and off as true and false; put the classes in quotes")
        return {str(value) if isinstance(value, int | float) else value: label for value, label in labels.items()}


class ClassOptions(Block):
    """How the classes of a task are scored."""

    ordered: bool = Field(False, description="of classification: whether the classes have an order; they are in it")
    positive: str | None = Field(
        None, description="of two classes: the one that sensitivity, precision and the curves are about"
    )

    @field_validator("positive", mode="before")
    @classmethod
    def _class_is_text(cls, positive: Any) -> Any:
        if isinstance(positive, bool):
            raise ValueError("YAML reads yes, no, on and off as true and false; put the class in quotes")
        return str(positive) if isinstance(positive, int | float) else positive


class ShownTask(ClassOptions, Printing, TaskOutcome):
    """A task, how its classes are scored, and what it and they are called in print."""

    @property
    def heading(self) -> str:
        """The task at the beginning of a line."""
        return heading(self.name, {self.name: self.title} if self.title else {})

    @property
    def positive_number(self) -> int | None:
        """The number of the positive class; None where there is none."""
        return None if self.positive is None else self.classes.index(self.positive)

    def class_labels(self) -> list[str]:
        """Return what the classes are called, in the order of their numbers."""
        return [self.labels.get(name) or plain(name) for name in self.classes]


def titles_of(tasks: Iterable[ShownTask]) -> dict[str, str]:
    """Return the titles of tasks, by name, of those that have one."""
    return {task.name: task.title for task in tasks if task.title}


class ShownSamples(Block):
    """Of how many samples pictures of attention are drawn."""

    samples: Positive | Literal["all"] = Field(
        8, description="test samples of each run, spread over the classes or the predicted risk; or all"
    )

    @field_validator("samples", mode="before")
    @classmethod
    def _number_or_all(cls, samples: Any) -> Any:
        if samples != "all" and (type(samples) is not int or not 1 <= samples <= MOST):
            raise ValueError(f"must be a number of samples, at least 1, or all; {MOST:,} at most")
        return samples


class Heatmaps(ShownSamples):
    """Which pictures of attention are drawn."""

    methods: list[str] = Field(["ksfusion"], description="methods that read patches; [] for none")
    seeds: list[int] | None = Field(None, description="of training.seeds; null: the first")

    @field_validator("methods")
    @classmethod
    def _look_at_patches(cls, methods: list[str]) -> list[str]:
        return once_each(networks_reading(methods, "p"), "method")
