"""One pass over the samples of a split: to train on them, or to predict them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ksfusion.methods.registry import TrainingRules
from ksfusion.training.data import FoldData, moved
from ksfusion.training.objective import Classification, Survival, sample_weights
from ksfusion.training.step import training_step

if TYPE_CHECKING:
    from ksfusion.methods.output import Method


class NotFiniteError(ArithmeticError):
    """A loss that is infinite or no number; the message says of which samples."""


@dataclass(frozen=True)
class Labelled:
    """The labelled samples of a split.

    Attributes
    ----------
    positions : numpy.ndarray (n,)
        In the data.
    truth : dict of name to Tensor (n,)
        As the objective gives it.
    weights : Tensor (n,)
    """

    positions: np.ndarray
    truth: dict[str, Tensor]
    weights: Tensor

    @classmethod
    def of(
        cls,
        data: FoldData,
        split: str,
        objective: Classification | Survival,
        *,
        weight_by: str,
        device: torch.device,
    ) -> Labelled:
        """Choose the samples of a split whose truth is known; truth and weights go to a device."""
        positions = data.labelled(split)
        samples = data.samples.iloc[positions]
        truth = {key: values.to(device) for key, values in objective.truth(samples).items()}
        weights = sample_weights(samples, weight_by=weight_by).astype(np.float32)
        return cls(positions, truth, torch.from_numpy(weights).to(device))

    def __len__(self) -> int:
        return len(self.positions)


def train_epoch(
    model: Method,
    optimiser: torch.optim.Optimizer,
    data: FoldData,
    train: Labelled,
    batches: Sequence[np.ndarray],
    rates: Sequence[float],
    *,
    objective: Classification | Survival,
    rules: TrainingRules,
    bf16: bool,
    after_step: Callable[[], None],
) -> dict[str, float]:
    """Train on batches, each with its learning rate.

    Parameters
    ----------
    model, optimiser, data, train, objective, rules, bf16
        See `ksfusion.training.fit.fit`.
    batches
        Positions in ``train``.
    rates
        One for each batch.
    after_step
        Called after each batch.

    Returns
    -------
    dict
        Mean of each value of `training_step` over the steps where it is defined (a batch of one has no spread).

    Raises
    ------
    NotFiniteError
        If a loss is not finite.
    """
    device = train.weights.device
    model.train()
    records = []
    for part, rate in zip(batches, rates, strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate
        chosen = moved(torch.from_numpy(part), device)
        records.append(
            training_step(
                model,
                optimiser,
                *data.gather(train.positions[part], device, bf16=bf16),
                {key: values[chosen] for key, values in train.truth.items()},
                train.weights[chosen],
                objective=objective,
                coordinate_rows=rules.coordinate_rows,
                bf16=bf16,
            )
        )
        after_step()
    names = dict.fromkeys(name for record in records for name in record)
    # Read at the end of the epoch: on a GPU each reading waits for all steps before.
    values = {name: torch.stack([record[name] for record in records if name in record]).cpu() for name in names}
    for number, loss in enumerate(values["train_loss"].tolist(), start=1):
        if not math.isfinite(loss):
            raise NotFiniteError(f"batch {number} of {len(batches)}")
    return {name: float(value.double().mean()) for name, value in values.items()}


def predict(model: Method, data: FoldData, positions: np.ndarray, *, batch_size: int) -> Tensor:
    """Return the logits of samples, (n, n_outputs), on the CPU; in full precision, so that ranks have no false ties."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        logits = [model(*data.gather(part, device)).logits.float().cpu() for part in cut(positions, batch_size)]
    return torch.cat(logits)


def cut(positions: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Cut positions into batches; the last may be smaller."""
    return (positions[start : start + batch_size] for start in range(0, len(positions), batch_size))
