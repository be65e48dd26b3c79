"""The labelled samples of a split: those that a model can learn from, or be scored on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ksfusion.training.data import FoldData, to_device
from ksfusion.training.objective import Objective, sample_weights


@dataclass(frozen=True)
class Labelled:
    """The labelled samples of a split.

    Attributes
    ----------
    positions : numpy.ndarray (n,)
        Positions in the data.
    truth : dict of name to Tensor (n,)
        Truth as the objective gives it.
    weights : Tensor (n,)
        Weights of the samples.
    """

    positions: np.ndarray
    truth: dict[str, Tensor]
    weights: Tensor

    @classmethod
    def of(
        cls,
        data: FoldData,
        split: str,
        objective: Objective,
        *,
        weight_by: Literal["sample", "case"],
        device: torch.device,
    ) -> Labelled:
        """Choose the samples of a split whose truth is known; truth and weights go to a device."""
        positions = data.labelled(split)
        samples = data.samples.iloc[positions]
        truth = {key: values.to(device) for key, values in objective.truth(samples).items()}
        weights = sample_weights(samples, weight_by=weight_by).astype(np.float32)
        return cls(positions, truth, torch.from_numpy(weights).to(device))

    def batch(self, numbers: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """Return truth and weights of some of the samples, numbered within the split."""
        chosen = to_device(torch.from_numpy(numbers), self.weights.device)
        return {key: values[chosen] for key, values in self.truth.items()}, self.weights[chosen]

    def __len__(self) -> int:
        return len(self.positions)
