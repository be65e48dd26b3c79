"""The settings of training, and of the search for them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator

from ksfusion.core.config_block import Block, Fraction, once_each
from ksfusion.methods.registry import METHODS, MethodInfo, unknown_method
from ksfusion.terms.tasks import TaskOutcome

Epochs = Annotated[int, Field(ge=1, le=10_000)]
# Adam's steps are about as long as its learning rate, and weights about 1.
LARGEST_RATE = LARGEST_DECAY = 100.0
Rate = Annotated[float, Field(gt=0, le=LARGEST_RATE)]
Decay = Annotated[float, Field(gt=0, le=LARGEST_DECAY)]


class Optimisation(Block):
    """What every method's training reads."""

    batch_size: int = Field(8, ge=1, le=10_000, description="samples of a step")
    lr: Rate = Field(1.0e-3, description="learning rate of the first step; it falls along a cosine")
    weight_decay: float = Field(0.1, ge=0, le=LARGEST_DECAY, description="L2, in Adam")
    dropout: float = Field(0.1, ge=0, lt=1, description="of all methods")
    weight_by: Literal["sample", "case"] = Field(
        "sample", description="sample, or case: samples of a case share its weight"
    )


class Search(Block):
    """A search of training settings on the validation samples: how many trials, and the range of each setting."""

    trials: int = Field(20, ge=1, le=10_000, description="settings that are tried, beside the configured ones")
    lr: tuple[Rate, Rate] = Field((1e-4, 1e-2), description="lowest and highest")
    weight_decay: tuple[Decay, Decay] = Field((1e-4, 1e-1), description="lowest and highest")
    dropout: tuple[Fraction, Fraction] = Field((0.0, 0.5), description="lowest and highest")
    alpha: tuple[Fraction, Fraction] = Field((0.0, 1.0), description="lowest and highest")

    @field_validator("lr", "weight_decay", "dropout", "alpha")
    @classmethod
    def _is_a_range(cls, limits: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        low, high = limits
        if low > high:
            raise ValueError("must be the lowest and the highest value, in this order")
        if info.field_name == "dropout" and high >= 1:
            raise ValueError("must stay below 1")
        return limits


class Training(Optimisation):
    """How models are trained."""

    seeds: list[int] = Field(
        [0, 1, 2],
        min_length=1,
        description="of initialisation and of the order of the samples; the mean over seeds is reported",
    )
    alpha: Fraction = Field(0.5, description="weight of the tumour's alignment loss against the microenvironment's")
    modality_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training samples of which, at each step, slide or genes are taken away: methods with "
        "a stand-in (ksfusion, concat, add) then serve samples that lack one; 0: no stand-ins",
    )
    calibration_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the validation cases on which neither epochs nor settings are chosen, so that bundles "
        "can give conformal sets; 0: none, and no such sets",
    )
    epochs: dict[str, Epochs] = Field(
        default_factory=lambda: {"diagnosis": 20, "grading": 20, "survival": 10}, description="of each task"
    )
    search: Search | None = Field(
        None, description="settings that are chosen on validation samples before training, such as {trials: 20}"
    )
    together: list[str] = Field(
        default_factory=list,
        description="methods whose trainings are so short that they share a job for each task and fold; what follows "
        "from one of them is then redone with the others, but none is trained anew for another one",
    )
    tensorboard: bool = Field(False, description="write event files for TensorBoard into each run's folder")

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32:
            raise ValueError("seeds must be different numbers from 0 to 4294967295")
        return seeds

    @field_validator("together")
    @classmethod
    def _are_trained_on_their_own(cls, together: list[str]) -> list[str]:
        for name in together:
            if name not in METHODS:
                raise ValueError(unknown_method(name))
            if METHODS[name].is_baseline:
                raise ValueError(f"{name} is a regression, whose tasks share a job anyway; leave it out")
            if METHODS[name].teacher:
                raise ValueError(f"{name} waits for {METHODS[name].teacher}, of which it learns; leave it out")
        return once_each(together, "method")


class RunSettings(Optimisation):
    """What one method's training reads.

    Attributes
    ----------
    alpha
        Only where the method has it.
    modality_dropout, calibration_fraction
        Only where they are on.
    """

    alpha: Fraction | None = None
    modality_dropout: float | None = None
    calibration_fraction: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the settings that the method reads."""
        return self.model_dump(mode="json", exclude_none=True)


class TrainedTask(TaskOutcome):
    """A task, and how long a model is trained for it."""

    epochs: Epochs


class TrainModelSettings(Block):
    """Of `ksfusion.stages.train_model`."""

    task: TrainedTask
    training: RunSettings

    @classmethod
    def of_task(cls, task: TrainedTask, training: Training, method: MethodInfo) -> Self:
        """Return the settings of the runs of a method for a task: what all methods read, and what it reads itself."""
        own: dict[str, float | None] = {} if "alpha" in method.settings else {"alpha": None}
        own["modality_dropout"] = (training.modality_dropout if method.partial else 0) or None
        own["calibration_fraction"] = training.calibration_fraction or None
        return cls(task=task, training=RunSettings.of(training, **own))

    def record(self) -> dict[str, Any]:
        """Return the settings that the method reads."""
        return {"task": self.task.record(), "training": self.training.record()}


class FitBaselineSettings(Block):
    """Of `ksfusion.stages.fit_baseline`; ``clinical``: the columns of cases that it may read."""

    task: TaskOutcome
    clinical: list[str] = Field(default_factory=list)
    calibration_fraction: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the settings; the fraction where it is set."""
        return {name: value for name, value in super().record().items() if value is not None}


class SearchSettings(TrainModelSettings):
    """Of `ksfusion.stages.search_settings`: those of a run, and the range of each setting that is searched."""

    space: dict[str, tuple[float, float]]
    trials: int
    seed: int

    @classmethod
    def of_run(cls, run: TrainModelSettings, training: Training) -> Self | None:
        """Return the settings of the search for those of a run; None where nothing is searched."""
        search = training.search
        if search is None:
            return None
        space = search.model_dump(include=set(run.training.record()) & set(type(search).model_fields))
        return cls(task=run.task, training=run.training, space=space, trials=search.trials, seed=training.seeds[0])

    def record(self) -> dict[str, Any]:
        """Return the settings that the method reads."""
        searched = self.model_dump(mode="json", include={"space", "trials", "seed"})
        return {**super().record(), **searched}
