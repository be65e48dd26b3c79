"""Layers that more than one method uses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def scaled_linear(n_in: int, n_out: int, *, gain: float = 1.0, bias: bool = True) -> nn.Linear:
    """Return a linear layer drawn with variance gain^2 / fan-in and biases of zero, so that its output keeps the scale.

    Torch's own draw has a third of that variance. Through several layers the signal then starts so small that the
    gradient of the task is weaker than the paper's weight decay (0.1, in Adam's gradient), and all weights go to zero.
    """
    linear = nn.Linear(n_in, n_out, bias=bias)
    nn.init.normal_(linear.weight, std=gain * n_in**-0.5)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def self_normalising_network(sizes: Sequence[int], *, dropout: float) -> nn.Sequential:
    """Return linear layers, each with ELU and alpha dropout (Klambauer et al. 2017, arXiv:1706.02515).

    Weights have variance 1 / fan-in and biases are zero: self-normalisation and alpha dropout rest on that.

    Parameters
    ----------
    sizes
        Widths of the input, then of each layer.
    dropout
        Probability of alpha dropout.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [scaled_linear(n_in, n_out), nn.ELU(), nn.AlphaDropout(dropout)]
    return nn.Sequential(*layers)


class GatedPooling(nn.Module):
    """Weighted mean of a bag, its weights from gated attention (Ilse et al. 2018, arXiv:1802.04712, eq. 8 and 9).

    Layers keep torch's initialisation (uniform, Kaiming), as in the source.

    Parameters
    ----------
    width, attention_width
        Widths of an instance, and of the two branches of the gate.
    dropout
        Probability of dropout in both branches.
    """

    def __init__(self, width: int, attention_width: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.attend = nn.Linear(width, attention_width)
        self.gate = nn.Linear(width, attention_width)
        self.score = nn.Linear(attention_width, 1, bias=False)  # a constant would change no weight
        self.dropout = nn.Dropout(dropout)

    def forward(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean (B, width) and the weights (B, N) of bags (B, N, width)."""
        attend = self.dropout(torch.tanh(self.attend(bag)))  # (B, N, attention_width)
        gate = self.dropout(torch.sigmoid(self.gate(bag)))
        attention = self.score(attend * gate).squeeze(-1).softmax(dim=1)  # (B, N)
        return torch.einsum("bn,bnd->bd", attention, bag), attention


class CoAttention(nn.Module):
    """Attention with one head from one set of tokens to another (Chen et al., MCAT, ICCV 2021, eq. 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.out = scaled_linear(width, width), scaled_linear(width, width)
        # A bias of the keys would change no weight, one of the values is that of the output.
        self.k, self.v = scaled_linear(width, width, bias=False), scaled_linear(width, width, bias=False)

    def forward(self, queries: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each query gathers (B, Q, width), and its weights (B, Q, N), from a context (B, N, width)."""
        scale = queries.shape[2] ** -0.5
        values = self.out.weight @ self.v.weight  # (width, width)
        # softmax(q k^T / sqrt(width)) v W_o + b, where q = queries W_q + b_q, k = context W_k, v = context W_v. All
        # layers are linear, so that either side can bear them: the side with fewer tokens does.
        if queries.shape[1] <= context.shape[1]:
            # q k^T = (q W_k^T) context^T, and attention v W_o = (attention context) (W_v W_o)
            asked = self.q(queries) @ self.k.weight * scale  # (B, Q, width)
            attention = (asked @ context.mT).softmax(dim=-1)  # (B, Q, N)
            gathered = (attention @ context) @ values.T
        else:
            # q k^T = queries (k W_q^T)^T + (k b_q)^T, and attention v W_o = attention (context (W_v W_o))
            keys = self.k(context) * scale  # (B, N, width)
            logits = queries @ (keys @ self.q.weight).mT + (keys @ self.q.bias).unsqueeze(1)
            attention = logits.softmax(dim=-1)
            gathered = attention @ (context @ values.T)
        return gathered + self.out.bias, attention
