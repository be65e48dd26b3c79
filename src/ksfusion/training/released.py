"""How the paper's released code trains, where that departs from the paper's text."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.training.coordination import Coordination
from ksfusion.training.strategy import Strategy, Validation


class ReleasedStrategy(Strategy):
    """The released code's way to train."""

    def steps(self, n_samples: int, *, batch_size: int) -> int:
        """Return the number of steps of an epoch: an incomplete last batch is left out, unless it is the only one."""
        return max(n_samples // batch_size, 1)

    def shares(self, epoch: int, *, epochs: int, steps: int) -> np.ndarray:
        """Return how far along the schedule of the learning rate the steps of an epoch are: all as far as its first."""
        return np.full(steps, (epoch - 1) / epochs)

    def times_to_cut(self, cases: pd.DataFrame) -> pd.Series[float]:
        """Return the times of all training cases, those that did not die too."""
        return cases["days"]

    def is_better(self, found: Validation, best: Validation) -> bool:
        """Return whether an epoch raises the score or the accuracy of the one kept before.

        An equal score is no better, whatever the loss. NaN is above nothing: for survival, accuracy keeps no epoch.
        """
        return math.isnan(found.loss) or found.merit[0] > best.merit[0] or found.accuracy > best.accuracy

    def chosen_by(self, metric: str, best: Validation) -> str:
        """Return what the best epoch was chosen by: one of two where there is an accuracy."""
        either = "" if math.isnan(best.accuracy) else "_or_accuracy"
        return super().chosen_by(metric, best) + either

    def coordinate(
        self, first: Tensor, second: Tensor, *, first_confidence: Tensor, second_confidence: Tensor
    ) -> tuple[Tensor, Tensor, Coordination]:
        """Coordinate the two halves of the classifier's gradient row by row."""
        return coordinate_rows(first, second, first_confidence=first_confidence, second_confidence=second_confidence)


def coordinate_rows(
    first: Tensor, second: Tensor, *, first_confidence: Tensor, second_confidence: Tensor
) -> tuple[Tensor, Tensor, Coordination]:
    """Coordinate each class (row) by itself.

    The projection is subtracted twice, which mirrors the gradient instead, and the result is rescaled to the
    length of the once-projected one.

    Parameters
    ----------
    first, second : Tensor (n_outputs, width)
        Gradients of the two streams.
    first_confidence, second_confidence : Tensor, scalar
        Confidence of each stream; where they are equal or NaN, nothing is changed.

    Returns
    -------
    first, second : Tensor
        New tensors.
    record : Coordination
        Means over the rows.
    """
    dot = (first * second).sum(dim=1, keepdim=True)  # (n_outputs, 1)
    conflict = dot < 0

    def give(gradient: Tensor, other: Tensor, gives: Tensor) -> Tensor:
        projection = dot / other.square().sum(dim=1, keepdim=True) * other
        once, twice = gradient - projection, gradient - 2 * projection
        scaled = twice * (once.norm(dim=1, keepdim=True) / twice.norm(dim=1, keepdim=True))
        return torch.where(conflict & gives, scaled, gradient)

    new_first = give(first, second, first_confidence < second_confidence)
    new_second = give(second, first, second_confidence < first_confidence)
    length = first.norm(dim=1, keepdim=True) * second.norm(dim=1, keepdim=True)
    cosine = dot / torch.where(length > 0, length, 1)
    differ = (first_confidence < second_confidence) | (second_confidence < first_confidence)
    return new_first, new_second, Coordination(*(part.float().mean() for part in (cosine, conflict, conflict & differ)))
