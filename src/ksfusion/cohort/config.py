"""The settings of the cohort: who is in it, what their labels are, how they are divided."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ksfusion.core.config_block import PATH, Block, Fraction, Name, Printed
from ksfusion.terms.tasks import TaskKind
from ksfusion.terms.units import TimeUnit

PairingRule = Literal["any", "closest"]


class CohortFiles(Block):
    """The two tables of the user's."""

    samples: str = Field(
        description="table of samples: one slide paired with one expression profile", json_schema_extra=PATH
    )
    cases: str = Field(description="table of cases: labels and survival", json_schema_extra=PATH)
    require: Literal["paired"] = Field(
        "paired", description="all methods train and are scored on the same complete samples"
    )


class Labelling(Block):
    """What is predicted: classes of a column, or survival from a time and an event column."""

    kind: TaskKind = Field(description="classification or survival")
    column: str | None = Field(None, description="of classification: the column of cases with the classes")
    classes: list[Printed] = Field(default_factory=list, description="of classification: the values of that column")
    time: str | None = Field(None, description="of survival: the column with the time")
    event: str | None = Field(None, description="of survival: the column with 1 for an event, 0 for a censored case")
    unit: TimeUnit = Field("days", description="of survival: unit of time")

    @field_validator("classes", mode="before")
    @classmethod
    def _classes_are_text(cls, classes: Any) -> Any:
        if not isinstance(classes, list):
            return classes
        if any(isinstance(name, bool) for name in classes):
            raise ValueError("YAML reads yes, no, on and off as true and false; put the classes in quotes")
        return [str(name) if isinstance(name, int | float) else name for name in classes]

    @model_validator(mode="after")
    def _names_its_columns(self) -> Labelling:
        if self.kind == "classification" and (not self.column or len(self.classes) < 2):
            raise ValueError("a classification task needs column and at least two classes")
        if self.kind == "classification" and len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must differ")
        if self.kind == "survival" and not (self.time and self.event):
            raise ValueError("a survival task needs time and event")
        if self.kind == "classification" and self.unit != "days":
            raise ValueError("unit is for survival tasks; remove it")
        if self.time == "survival_days" and self.unit != "days":
            raise ValueError("the column survival_days is in days; give a column of another name, or remove unit")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of cases that the labels come from: that of the classes, or the time and the event."""
        names = (self.column,) if self.kind == "classification" else (self.time, self.event)
        return tuple(name for name in names if name)


class Splits(Block):
    """How cases are divided into training, validation and test."""

    scheme: Literal["holdout", "kfold", "file", "site"] = Field(
        "holdout",
        description="by case; kfold: every case is tested once; site: no tissue source site on two sides; file: your "
        "own",
    )
    fractions: tuple[Fraction, Fraction, Fraction] = Field(
        (0.8, 0.1, 0.1), description="training, validation, test; of kfold and file only the first two"
    )
    seed: int = Field(42, description="another seed, another split")
    k: int = Field(5, ge=2, description="folds of kfold")
    file: str | None = Field(
        None,
        description="of file: a table of fold, case_id, split, or a folder of splits_{k}.csv",
        json_schema_extra=PATH,
    )

    @model_validator(mode="after")
    def _file_goes_with_its_scheme(self) -> Splits:
        if (self.scheme == "file") != (self.file is not None):
            raise ValueError("scheme: file and file: PATH go together")
        return self

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(fractions) - 1) > 1e-6 or min(fractions) <= 0:
            raise ValueError("must be three positive numbers that sum to 1")
        return fractions


class Pairing(Block):
    """Which samples of a slide count."""

    pairing: PairingRule = Field(
        "any", description="closest: of a slide's profiles only those taken closest to it (specimen, block, tumour)"
    )


class CheckCohortSettings(Block):
    """Of `ksfusion.stages.check_cohort`; ``expression_cohorts`` are those that have profiles."""

    cohort: CohortFiles
    expression_cohorts: list[Name]
    tasks: dict[Name, Labelling]


class SplitCasesSettings(Block):
    """Of `ksfusion.stages.split_cases`; ``stratify`` is the column of cases that makes the strata."""

    splits: Splits
    stratify: str


class CheckLeakageSettings(Block):
    """Of `ksfusion.stages.check_leakage`."""

    allow_duplicates: list[tuple[str, str]] = Field(
        default_factory=list, description="pairs of slides or profiles of two cases that may be one: [[a, b], ...]"
    )


class WriteLedgerSettings(Pairing):
    """Of `ksfusion.stages.write_ledger`; ``tasks`` has the kind of each task."""

    tasks: dict[Name, TaskKind]
