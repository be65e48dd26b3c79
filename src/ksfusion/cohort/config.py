"""The settings of the cohort: who is in it, what their labels are, how they are divided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ksfusion.core.config_block import PATH, Block, Fraction, Name, Printed, once_each
from ksfusion.core.missing import is_missing
from ksfusion.terms.tasks import TaskKind
from ksfusion.terms.units import TimeUnit

PairingRule = Literal["any", "closest"]
Requirement = Literal["paired", "any"]


def _short_forms_too(schema: dict[str, Any]) -> None:
    """Let the JSON schema of ``columns`` take a name alone, and words beside the other keys."""
    block = schema["additionalProperties"]
    schema["additionalProperties"] = {"anyOf": [{"type": "string"}, {"type": "object"}, block]}


class UserColumn(Block):
    """What a column is called in the user's own tables, and what its words mean: {Dead: 1, alive: 0}."""

    column: Printed | None = Field(None, description="its name there; null: the name that it has here")
    words: dict[str, str] = Field(
        default_factory=dict, description="what each word means here, in letters of any size; null: nothing is known"
    )
    died: list[str] = Field(default_factory=list, description="of event: the words for 1, that the case died")
    alive: list[str] = Field(default_factory=list, description="of event: those for 0, alive when last seen")
    unit: TimeUnit | None = Field(None, description="of survival_days: the unit of the times there")

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        """Take a name alone; and words without a key of their own, as in {II: G2, III: G3}."""
        if isinstance(given, str | int | float) and not isinstance(given, bool):
            return {"column": str(given)}
        if not isinstance(given, Mapping):
            return given
        words = {key: value for key, value in given.items() if key not in cls.model_fields}
        more = given.get("words")
        if words and (more is None or isinstance(more, Mapping)):
            return {**{key: given[key] for key in given if key not in words}, "words": {**(more or {}), **words}}
        return given

    @field_validator("words", mode="before")
    @classmethod
    def _words_are_text(cls, words: Any) -> Any:
        if not isinstance(words, Mapping):
            return {} if words is None else words
        return {_text(word): "" if meaning is None else _text(meaning) for word, meaning in words.items()}

    @field_validator("died", "alive", mode="before")
    @classmethod
    def _lists_of_text(cls, words: Any) -> Any:
        listed = words if isinstance(words, list) else [] if words is None else [words]
        return list(map(_text, listed))

    @model_validator(mode="after")
    def _one_meaning_each(self) -> UserColumn:
        pairs = [(word.strip().lower(), meaning) for word, meaning in self._pairs()]
        for word, meaning in pairs:
            if dict(pairs)[word] != meaning:
                raise ValueError(f"{word!r} has two meanings, {meaning or 'nothing'} and {dict(pairs)[word]}")
        return self

    def _pairs(self) -> list[tuple[str, str]]:
        return [*self.words.items(), *((word, "1") for word in self.died), *((word, "0") for word in self.alive)]

    @property
    def meanings(self) -> dict[str, str]:
        """What each word means, the words in small letters."""
        return {word.strip().lower(): meaning for word, meaning in self._pairs()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        raise ValueError("YAML reads yes, no, on and off as true and false; put the words in quotes")
    if not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is no word; write it as in {{II: G2, III: G3}}")
    return str(value)


class CohortFiles(Block):
    """The two tables of the user's."""

    samples: str = Field(
        description="table of samples: one slide paired with one expression profile", json_schema_extra=PATH
    )
    cases: str = Field(description="table of cases: labels and survival", json_schema_extra=PATH)
    columns: dict[str, UserColumn] = Field(
        default_factory=dict,
        description="names and words of your own tables: {case_id: Patient, grade: {column: WHO, II: G2, III: G3}}",
        json_schema_extra=_short_forms_too,
    )
    require: Requirement = Field(
        "paired",
        description="paired: all methods train and are scored on the same samples, which have slide and profile; any: "
        "each on those that have what it reads, which a slide or a profile alone may be",
    )

    @field_validator("columns")
    @classmethod
    def _units_are_of_survival(cls, columns: dict[str, UserColumn]) -> dict[str, UserColumn]:
        for name, column in columns.items():
            if column.unit and name != "survival_days":
                raise ValueError(f"{name}: unit is for survival_days; times of your own task have the unit of the task")
        return columns


class Clinical(Block):
    """Which columns of cases the clinical baselines read."""

    clinical: list[str] = Field(
        default_factory=list, description="columns of cases that the clinical baselines read, such as [age, sex]"
    )

    @field_validator("clinical")
    @classmethod
    def _columns_differ(cls, columns: list[str]) -> list[str]:
        if "case_id" in columns:
            raise ValueError("case_id says nothing of a case; leave it out")
        return once_each(columns, "column")


class Labelling(Block):
    """What is predicted: classes of a column, survival from a time and an event column, or the numbers of a column."""

    kind: TaskKind = Field(description="classification, survival or regression")
    column: str | None = Field(
        None, description="of classification: the column of cases with the classes; of regression: with the numbers"
    )
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
        if empty := [name for name in classes if isinstance(name, str) and is_missing(name)]:
            raise ValueError(f"{empty[0]!r} counts as empty in tables; give it another word in cohort.columns")
        return [str(name) if isinstance(name, int | float) else name for name in classes]

    @model_validator(mode="after")
    def _names_its_columns(self) -> Labelling:
        if self.kind == "classification" and (not self.column or len(self.classes) < 2):
            raise ValueError("a classification task needs column and at least two classes")
        if self.kind == "classification" and len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must differ")
        if self.kind == "survival" and not (self.time and self.event):
            raise ValueError("a survival task needs time and event")
        if self.kind == "regression" and not self.column:
            raise ValueError("a regression task needs column")
        if self.kind != "classification" and self.classes:
            raise ValueError("classes are for classification tasks; remove them")
        if self.kind != "survival" and self.unit != "days":
            raise ValueError("unit is for survival tasks; remove it")
        if self.time == "survival_days" and self.unit != "days":
            raise ValueError("the column survival_days is in days; give a column of another name, or remove unit")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of cases that the labels come from: that of classes or numbers, or the time and the event."""
        names = (self.time, self.event) if self.kind == "survival" else (self.column,)
        return tuple(name for name in names if name)


class Splits(Block):
    """How cases are divided into training, validation and test."""

    scheme: Literal["holdout", "kfold", "file", "site"] = Field(
        "holdout",
        description="by case; kfold: every case is tested once; site: no tissue source site in two splits; file: your "
        "own",
    )
    fractions: tuple[Fraction, ...] = Field(
        (0.8, 0.1, 0.1), description="training, validation, test; kfold and file need the first two alone"
    )
    seed: int = Field(42, ge=-(2**63), lt=2**63, description="another seed, another split")
    k: int = Field(5, ge=2, le=1000, description="folds of kfold")
    file: str | None = Field(
        None,
        description="of file: a table of fold, case_id, split, or a folder of splits_{k}.csv",
        json_schema_extra=PATH,
    )
    external: list[Name] = Field(
        default_factory=list,
        description="cohorts that are only ever scored: nothing is fitted, chosen or trained on them",
    )

    @field_validator("external")
    @classmethod
    def _once_each(cls, external: list[str]) -> list[str]:
        return once_each(external, "cohort")

    @model_validator(mode="after")
    def _file_goes_with_its_scheme(self) -> Splits:
        if (self.scheme == "file") != (self.file is not None):
            raise ValueError("scheme: file and file: PATH go together")
        return self

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, fractions: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        # In a fold of kfold, and where a file has no validation cases, training and validation share what is no test.
        two_will_do = info.data.get("scheme") in ("kfold", "file")
        fits = len(fractions) == 3 or (len(fractions) == 2 and two_will_do)
        if not fits or abs(sum(fractions) - 1) > 1e-6 or min(fractions) <= 0:
            wanted = "two (training, validation) or three" if two_will_do else "three (training, validation, test)"
            raise ValueError(f"must be {wanted} positive numbers that sum to 1")
        return fractions


class Pairing(Block):
    """Which samples of a slide count."""

    pairing: PairingRule = Field(
        "any", description="closest: of a slide's profiles only those taken closest to it (specimen, block, tumour)"
    )


class CheckCohortSettings(Block):
    """Of `ksfusion.stages.check_cohort`.

    Attributes
    ----------
    expression_cohorts
        Those that have profiles.
    external
        Those that are only scored.
    """

    cohort: CohortFiles
    expression_cohorts: list[Name]
    external: list[Name] = Field(default_factory=list)
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

    require: Requirement = "paired"
    tasks: dict[Name, TaskKind]
