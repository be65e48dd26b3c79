"""A method, built for a fold and trained the way it is registered for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ksfusion.core.errors import UserError
from ksfusion.methods.output import Method
from ksfusion.methods.registry import METHODS, MethodInfo, TrainingName, build
from ksfusion.training.config import RunSettings, TrainedTask
from ksfusion.training.data import FoldData
from ksfusion.training.distillation import Teacher
from ksfusion.training.fit import Fitted, fit
from ksfusion.training.objective import Objective, objective_class, sample_weights
from ksfusion.training.prototypes import show_patches
from ksfusion.training.released import ReleasedStrategy
from ksfusion.training.resume import Resume
from ksfusion.training.strategy import Strategy

# By the name in a method's registration.
STRATEGIES: Mapping[TrainingName, Strategy] = {"paper": Strategy(), "released": ReleasedStrategy()}


def fit_method(
    data: FoldData,
    *,
    task: TrainedTask,
    method: str,
    seed: int,
    settings: RunSettings,
    device: torch.device,
    name: str,
    resume: Resume | None = None,
    tensorboard: Path | None = None,
    teacher: Teacher | None = None,
) -> tuple[Method, Objective, Fitted]:
    """Build a method for a fold and train it, on a GPU in bfloat16.

    Parameters
    ----------
    data
        Samples of the fold.
    task
        Task, and its number of epochs.
    method
        Name of the method, a key of `ksfusion.methods.METHODS`.
    seed
        Seed of the order of samples. Initialisation and dropout draw from torch's generators, see
        `ksfusion.training.reproducible`.
    settings
        Settings of the optimisation, dropout, and the further keys of ``training`` that the method reads.
    device
        Device that the model is trained on.
    name, resume, tensorboard
        Name, state and event files of the run, see `fit`.
    teacher
        The model that the method learns from, where it has one.

    Returns
    -------
    model
        Trained model, in the state of the last epoch.
    objective
        Loss and metric of the task, fitted on the training samples.
    fitted
        Outcome of the training, with the weights of the best epoch.

    Raises
    ------
    NotFiniteLossError
        If the loss is no longer finite.
    """
    info = METHODS[method]
    strategy = STRATEGIES[info.training]
    samples = data.samples.iloc[data.labelled("train")]
    weights = sample_weights(samples, weight_by=settings.weight_by)
    objective = objective_class(task).fit(samples, weights, task, strategy)
    lessons = None
    if teacher is not None:
        objective, lessons = teacher.aligned(objective), teacher.lessons(data, device)
    model = build(
        method,
        n_features=data.n_features,
        n_patches=data.n_patches,
        niches=data.niches,
        n_outputs=objective.n_outputs,
        groups=data.groups,
        **method_options(info, settings),
    ).to(device)
    show_patches(model, data)
    fitted = fit(
        model,
        data,
        objective,
        epochs=task.epochs,
        seed=seed,
        settings=settings,
        strategy=strategy,
        name=name,
        resume=resume,
        tensorboard=tensorboard,
        lessons=lessons,
    )
    return model, objective, fitted


def method_options(info: MethodInfo, settings: RunSettings) -> dict[str, Any]:
    """Return what a method is built with: dropout, what else it reads, stand-ins, and what its variant fixes.

    Raises
    ------
    UserError
        If a setting that the method reads is not there.
    """
    read = {key: getattr(settings, key) for key in info.settings}
    if missing := [key for key, value in read.items() if value is None]:
        raise UserError(f"method {info.name} reads training.{missing[0]}, which is not given; add it")
    stand_ins = {"stand_ins": True} if settings.modality_dropout else {}
    return {"dropout": settings.dropout, **read, **stand_ins, **info.options}
