"""CG-Coord (eq. 5 of KS-Fusion): where the streams' gradients conflict, the less confident one gives way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeAlias

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


# Logits of a stream (B, n_outputs) and the truth of a batch to a scalar.
Confidence: TypeAlias = Callable[[Tensor, Mapping[str, Tensor]], Tensor]


class Coordinate(Protocol):
    """A way to coordinate two gradients by the confidence of their streams, such as `coordinate`."""

    def __call__(
        self, first: Tensor, second: Tensor, *, first_confidence: Tensor, second_confidence: Tensor
    ) -> tuple[Tensor, Tensor, Coordination]:
        """Return both gradients, and what was done to them."""
        ...


def coordinate(
    first: Tensor, second: Tensor, *, first_confidence: Tensor, second_confidence: Tensor
) -> tuple[Tensor, Tensor, Coordination]:
    """Project the less confident of two conflicting gradients onto the perpendicular of the other.

    Parameters
    ----------
    first, second : Tensor of any shape
        Gradients of the two streams, each taken as one vector.
    first_confidence, second_confidence : Tensor, scalar
        Confidence of each stream; where they are equal or NaN, nothing is changed.

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


def class_confidence(logits: Tensor, y: Tensor) -> Tensor:
    """Return the batch's sum of the probability of the true class."""
    return functional.softmax(logits, dim=1).gather(1, y[:, None]).sum()


def survival_confidence(logits: Tensor, days: Tensor, event: Tensor) -> Tensor:
    """Return the batch's C-index; NaN where no pair can be compared."""
    return concordance_index(days, event, risk(logits))


@torch.no_grad()
def coordinate_classifier(
    classifier: nn.Linear,
    embeddings: Mapping[str, Tensor],
    truth: Mapping[str, Tensor],
    *,
    confidence: Confidence,
    coordinate: Coordinate = coordinate,
) -> Coordination:
    """Coordinate the halves of a classifier's weight gradient in place; the bias is left alone.

    Parameters
    ----------
    classifier
        Layer on the concatenated embeddings, after the backward pass.
    embeddings : mapping of stream to Tensor (B, width)
        Embeddings of two streams, in the order of concatenation.
    truth : mapping of name to Tensor (B,)
        What the confidence is judged by, such as ``y``, or ``days`` and ``event``.
    confidence
        Confidence of a stream, from its logits and the labels.
    coordinate
        Way to coordinate the two halves.
    """
    widths = [z.shape[1] for z in embeddings.values()]
    gradient = classifier.weight.grad
    if gradient is None:
        raise ValueError("the classifier has no gradient: coordinate it after the backward pass")
    halves = gradient.split(widths, dim=1)
    confidences = []
    for z, weight in zip(embeddings.values(), classifier.weight.split(widths, dim=1), strict=True):
        logits = functional.linear(z, weight, classifier.bias / 2).float()
        confidences.append(confidence(logits, truth))
    first, second, record = coordinate(*halves, first_confidence=confidences[0], second_confidence=confidences[1])
    classifier.weight.grad = torch.cat([first, second], dim=1)
    return record
