"""What a task asks of a model: the kinds of tasks there are, and what training and results know of one."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ksfusion.core.config_block import Block, Name
from ksfusion.terms.units import Days

TaskKind = Literal["classification", "survival", "regression"]
# Columns of predictions: what is predicted in regression, the risk in survival, and what the others begin with.
PREDICTED, RISK = "predicted", "risk"
PROBABILITY, HAZARD = "prob_", "hazard_"


class SurvivalModel(Block):
    """How survival is modelled."""

    intervals: int = Field(4, ge=2, le=100, description="into which time is cut, each with its hazard")
    loss: Literal["nll", "cox"] = Field(
        "nll",
        description="nll: of discrete-time survival; cox: Cox's partial likelihood of each batch (ties by Efron), and "
        "Breslow's curve at the cuts",
    )
    cuts: Literal["quartiles"] | list[Days] = Field(
        "quartiles", description="quartiles of the training cases' event times (or other quantiles), or days"
    )

    @model_validator(mode="before")
    @classmethod
    def _cuts_make_intervals(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("cuts"), list) and "intervals" not in values:
            return {**values, "intervals": len(values["cuts"]) + 1}
        return values

    @field_validator("cuts")
    @classmethod
    def _ascend(cls, cuts: str | list[float]) -> str | list[float]:
        if isinstance(cuts, list) and sorted(set(cuts)) != cuts:
            raise ValueError("must be ascending, each day once")
        return cuts

    @model_validator(mode="after")
    def _as_many_cuts_as_intervals(self) -> SurvivalModel:
        if isinstance(self.cuts, list) and len(self.cuts) != self.intervals - 1:
            raise ValueError(f"{len(self.cuts)} cuts make {len(self.cuts) + 1} intervals, not {self.intervals}")
        return self


class TaskOutcome(Block):
    """What is predicted: one of some classes, how long a case survives, or a number.

    Attributes
    ----------
    name
        Of the task.
    kind
        ``classification``, ``survival`` or ``regression``.
    classes
        In the order of their numbers; empty where there are none.
    survival
        How survival is modelled; None: as in the paper.
    """

    name: Name
    kind: TaskKind
    classes: list[str] = Field(default_factory=list)
    survival: SurvivalModel | None = None

    @property
    def survival_model(self) -> SurvivalModel:
        """How survival is modelled."""
        return self.survival or SurvivalModel()


def probability_column(name: str) -> str:
    """Return the column of the probability of a class."""
    return f"{PROBABILITY}{name}"


def hazard_columns(n_intervals: int) -> list[str]:
    """Return the columns of the hazards of some intervals, in their order."""
    return [f"{HAZARD}{number}" for number in range(n_intervals)]


def prediction_columns(task: TaskOutcome) -> list[str]:
    """Return the columns of what is predicted of a sample or case: probabilities of the classes, risk, or number."""
    if task.kind == "classification":
        return list(map(probability_column, task.classes))
    return [RISK] if task.kind == "survival" else [PREDICTED]
