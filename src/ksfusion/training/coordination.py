"""CG-Coord (eq. 5 of KS-Fusion): where the streams' gradients conflict, the less confident one gives way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ksfusion.training.concordance import concordance_index
from ksfusion.training.losses import risk


class Coordination(NamedTuple):
    """What coordination did to a batch's gradient: scalars, on the gradient's device."""

    cosine: Tensor  # of the two halves, before
    conflict: Tensor  # 1 where the cosine is negative
    projected: Tensor  # 1 where a half was changed: not at equal or undefined confidences


def coordinate(
    first: Tensor, second: Tensor, *, first_confidence: Tensor, second_confidence: Tensor
) -> tuple[Tensor, Tensor, Coordination]:
    """Project the less confident of two conflicting gradients onto the perpendicular of the other.

    Parameters
    ----------
    first, second : Tensor of any shape
        Each is taken as one vector.
    first_confidence, second_confidence : Tensor, scalar
        Equal or NaN: nothing is changed.

    Returns
    -------
    first, second : Tensor
        New tensors.
    record : Coordination
    """
    dot = (first * second).sum()
    first_square, second_square = first.square().sum(), second.square().sum()
    conflict = dot < 0
    first_gives, second_gives = (
        conflict & (first_confidence < second_confidence),
        conflict & (second_confidence < first_confidence),
    )
    new_first = first - torch.where(first_gives, dot / second_square, 0) * second
    new_second = second - torch.where(second_gives, dot / first_square, 0) * first
    length = (first_square * second_square).sqrt()
    cosine = dot / torch.where(length > 0, length, 1)
    return new_first, new_second, Coordination(cosine, conflict.float(), (first_gives | second_gives).float())


def coordinate_rows(
    first: Tensor, second: Tensor, *, first_confidence: Tensor, second_confidence: Tensor
) -> tuple[Tensor, Tensor, Coordination]:
    """Coordinate each class (row) by itself, as the paper's released code does.

    There the projection is subtracted twice, which mirrors the gradient instead, and the result is rescaled to the
    length of the once-projected one.

    Parameters
    ----------
    first, second : Tensor (n_outputs, width)
    first_confidence, second_confidence : Tensor, scalar
        Equal or NaN: nothing is changed.

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


def class_confidence(logits: Tensor, y: Tensor) -> Tensor:
    """Return the batch's sum of the probability of the true class."""
    return functional.softmax(logits, dim=1).gather(1, y[:, None]).sum()


def survival_confidence(logits: Tensor, days: Tensor, event: Tensor) -> Tensor:
    """Return the batch's C-index; NaN where no pair can be compared."""
    return concordance_index(days, event, risk(logits))


@torch.no_grad()
def coordinate_classifier(
    classifier: nn.Linear, embeddings: Mapping[str, Tensor], truth: Mapping[str, Tensor], *, by_row: bool = False
) -> Coordination:
    """Coordinate the halves of a classifier's weight gradient in place; the bias is left alone.

    Parameters
    ----------
    classifier
        On the concatenated embeddings, after the backward pass.
    embeddings
        Two streams, each (B, width), in the order of concatenation.
    truth
        ``y`` (B,), or ``days`` and ``event`` (B,).
    by_row
        Take each class by itself (`coordinate_rows`) rather than a half as one vector (`coordinate`).
    """
    widths = [z.shape[1] for z in embeddings.values()]
    gradients = classifier.weight.grad.split(widths, dim=1)
    confidences = []
    for z, weight in zip(embeddings.values(), classifier.weight.split(widths, dim=1), strict=True):
        logits = functional.linear(z, weight, classifier.bias / 2).float()
        confidences.append(
            class_confidence(logits, truth["y"])
            if "y" in truth
            else survival_confidence(logits, truth["days"], truth["event"])
        )
    rule = coordinate_rows if by_row else coordinate
    first, second, record = rule(*gradients, first_confidence=confidences[0], second_confidence=confidences[1])
    classifier.weight.grad = torch.cat([first, second], dim=1)
    return record
