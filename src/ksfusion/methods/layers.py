"""Layers that more than one method uses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def self_normalising_network(sizes: Sequence[int], *, dropout: float) -> nn.Sequential:
    """Return linear layers, each with ELU and alpha dropout (Klambauer et al. 2017, arXiv:1706.02515).

    Weights are drawn with variance 1 / fan-in and biases are zero: the fixed point of mean 0 and variance 1, on which
    self-normalisation and alpha dropout rest, holds only for that.

    Parameters
    ----------
    sizes
        Of the input, then of each layer.
    dropout
        Probability of alpha dropout.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        linear = nn.Linear(n_in, n_out)
        nn.init.normal_(linear.weight, std=n_in**-0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ELU(), nn.AlphaDropout(dropout)]
    return nn.Sequential(*layers)
