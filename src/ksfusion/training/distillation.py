"""What a trained model teaches another one: its outputs, and the embeddings of its streams.

Outputs as in Hinton et al.: Distilling the knowledge in a neural network, 2015, arXiv:1503.02531; embeddings as in
Romero et al.: FitNets, ICLR 2015, arXiv:1412.6550. The teacher has more to go by than the student ("privileged
information", Lopez-Paz et al., ICLR 2016, arXiv:1511.03643), and is asked of training samples alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ksfusion.core.errors import UserError
from ksfusion.methods.output import AuxiliaryLoss, Method, MethodOutput
from ksfusion.methods.registry import MethodInfo
from ksfusion.training.checkpoint import CONFIG, MODEL, load_model, read_run_config
from ksfusion.training.data import FoldData, to_device
from ksfusion.training.objective import Classification, Objective
from ksfusion.training.predict import batched
from ksfusion.training.regression_objective import Regression
from ksfusion.training.survival_objective import CoxSurvival
from ksfusion.training.trained_run import TrainedRun

# By which logits are divided; the gradient is multiplied by its square, so that its size does not depend on it.
TEMPERATURE = 2.0
# A component of an embedding that varies less is the same for all samples, and says nothing.
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Lesson:
    """What a teacher says of a batch.

    Attributes
    ----------
    taught : Tensor (n,), int64
        Numbers of the samples of which it says something.
    logits : Tensor (n, n_outputs)
        Its logits of these.
    embeddings : mapping of stream to Tensor (n, width)
        Its embeddings, each component with mean 0 and standard deviation 1 over the training samples.
    """

    taught: Tensor
    logits: Tensor
    embeddings: Mapping[str, Tensor]


@dataclass(frozen=True)
class Lessons:
    """What a teacher says of training samples.

    Attributes
    ----------
    rows : numpy.ndarray (samples,), int64
        Row of each sample in what the teacher says; -1 of those of which it says nothing.
    logits, embeddings
        As in `Lesson`, of all of them.
    """

    rows: np.ndarray
    logits: Tensor
    embeddings: Mapping[str, Tensor]

    def batch(self, positions: np.ndarray) -> Lesson:
        """Return what is said of the samples at some positions of the data."""
        rows, device = self.rows[positions], self.logits.device
        taught = np.flatnonzero(rows >= 0)
        here = to_device(torch.from_numpy(rows[taught]), device)
        embeddings = {stream: values[here] for stream, values in self.embeddings.items()}
        return Lesson(to_device(torch.from_numpy(taught), device), self.logits[here], embeddings)


@dataclass(frozen=True)
class Teacher:
    """A trained model that reads slide and genes, and what its run says of it."""

    model: Method
    config: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the run of a teacher.

        Raises
        ------
        UserError
            If the run has no model.
        """
        return cls(load_model(folder), read_run_config(folder))

    def aligned(self, objective: Objective) -> Objective:
        """Return an objective whose outputs mean what the teacher's do: the same intervals, the same scale."""
        if isinstance(objective, Classification):
            return objective
        if isinstance(objective, Regression):
            return dataclasses.replace(objective, mean=self.config["mean"], sd=self.config["sd"])
        return dataclasses.replace(objective, cuts=tuple(self.config["bins"]))

    def lessons(self, data: FoldData, device: torch.device) -> Lessons:
        """Return what the teacher says of the labelled training samples that have slide and genes.

        Raises
        ------
        UserError
            If it was trained on other genes or features.
        """
        shape = {name: getattr(data, name) for name in ("niches", "n_features", "n_patches")}
        if other := [name for name, value in shape.items() if self.config[name] != value]:
            raise UserError(
                f"--teacher: its {other[0]} differ from those of these files; train {self.config['method']} again"
            )
        train = data.labelled("train")
        taught = train[data.present["p"][train] & data.present["g"][train]]
        model, outputs = self.model.to(device).eval(), []
        with torch.no_grad():
            for part in batched(taught, self.config["settings"]["batch_size"]):
                out = model(*data.gather(part, device))
                outputs.append((out.logits.float(), {name: z.float() for name, z in out.embeddings.items()}))
        rows = np.full(len(data.samples), -1)
        rows[taught] = np.arange(len(taught))
        if not outputs:
            return Lessons(rows, torch.empty((0, self.config["n_outputs"]), device=device), {})
        streams = outputs[0][1]
        embeddings = {name: standardised(torch.cat([found[name] for _, found in outputs])) for name in streams}
        return Lessons(rows, torch.cat([logits for logits, _ in outputs]), embeddings)


def why_no_teacher(info: MethodInfo, folder: Path | None) -> str:
    """Return why a method cannot learn from its teacher's run, in a folder; empty where it can, or has no teacher.

    Raises
    ------
    UserError
        If it has a teacher, and no folder is given.
    """
    if not info.teacher:
        return ""
    if folder is None:
        raise UserError(f"--teacher: no run of {info.teacher}, of which {info.name} learns; give one")
    reason = TrainedRun.read(folder).reason
    return f"its teacher {info.teacher} has no model: {reason}" if reason else ""


def files_of_teacher(folder: Path | None) -> list[Path]:
    """Return what training reads of the run of a teacher; nothing where there is none."""
    return [folder / name for name in (MODEL, CONFIG)] if folder else []


def standardised(values: Tensor) -> Tensor:
    """Return values (n, width) with mean 0 and standard deviation 1 in each column; a constant column is 0."""
    spread, mean = torch.std_mean(values, dim=0, correction=0)
    return torch.where(spread > LEAST_SPREAD, (values - mean) / spread.clamp(min=LEAST_SPREAD), 0)


def distillation_losses(out: MethodOutput, lesson: Lesson, objective: Objective) -> dict[str, AuxiliaryLoss]:
    """Return the losses that bring a student's outputs and embeddings to its teacher's; none where nothing is said.

    Parameters
    ----------
    out
        Output of the student for a batch.
    lesson
        What the teacher says of it.
    objective
        What the task asks, by which logits are probabilities or a number.
    """
    if not len(lesson.taught):
        return {}
    outputs = output_loss(out.logits[lesson.taught], lesson.logits, objective)
    distances = [
        functional.mse_loss(out.embeddings[stream][lesson.taught].float(), values)
        for stream, values in lesson.embeddings.items()
    ]
    embeddings = torch.stack(distances).mean()
    return {"distilled_outputs": AuxiliaryLoss(1.0, outputs), "distilled_embeddings": AuxiliaryLoss(1.0, embeddings)}


def output_loss(student: Tensor, teacher: Tensor, objective: Objective) -> Tensor:
    """Return how far a student's logits (n, n_outputs) are from its teacher's.

    Of probabilities the Kullback-Leibler divergence at `TEMPERATURE` (of hazards, each of dying or not in an interval,
    their sum), times its square; of numbers (regression, the log risk of Cox's loss) the squared difference. The mean
    over samples.
    """
    if isinstance(objective, Regression | CoxSurvival):
        return functional.mse_loss(student, teacher)
    of_student, of_teacher = (_log_probabilities(logits / TEMPERATURE, objective) for logits in (student, teacher))
    divergence = (of_teacher.exp() * (of_teacher - of_student)).flatten(1).sum(dim=1)
    return TEMPERATURE**2 * divergence.mean()


def _log_probabilities(logits: Tensor, objective: Objective) -> Tensor:
    """Return log-probabilities of the classes (n, K), or of dying in each interval and of not, (n, intervals, 2)."""
    if isinstance(objective, Classification):
        return functional.log_softmax(logits, dim=1)
    return torch.stack([functional.logsigmoid(logits), functional.logsigmoid(-logits)], dim=2)
