"""Layers that more than one method uses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def scaled_linear(n_in: int, n_out: int, *, gain: float = 1.0) -> nn.Linear:
    """Return a linear layer drawn with variance gain^2 / fan-in and biases of zero, so that its output keeps the scale.

    Torch's own draw has a third of that variance. Through several layers the signal then starts so small that the
    gradient of the task is weaker than the paper's weight decay (0.1, in Adam's gradient), and all weights go to zero.
    """
    linear = nn.Linear(n_in, n_out)
    nn.init.normal_(linear.weight, std=gain * n_in**-0.5)
    nn.init.zeros_(linear.bias)
    return linear


def self_normalising_network(sizes: Sequence[int], *, dropout: float) -> nn.Sequential:
    """Return linear layers, each with ELU and alpha dropout (Klambauer et al. 2017, arXiv:1706.02515).

    Weights have variance 1 / fan-in and biases are zero: self-normalisation and alpha dropout rest on that.

    Parameters
    ----------
    sizes
        Of the input, then of each layer.
    dropout
        Probability of alpha dropout.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [scaled_linear(n_in, n_out), nn.ELU(), nn.AlphaDropout(dropout)]
    return nn.Sequential(*layers)
