"""Transformers over a slide's patches whose attention costs as many steps as there are patches.

Xiong et al.: Nystromformer, AAAI 2021, arXiv:2102.03902 (the attention); Shao et al.: TransMIL, NeurIPS 2021,
arXiv:2106.00908 (the pyramid position encoding, the square of tokens, the sizes).
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from ksfusion.methods.layers import scaled_linear

# Of the pseudo-inverse, as in the source.
ITERATIONS = 6


def pseudo_inverse(matrix: Tensor, *, iterations: int) -> Tensor:
    """Return about the Moore-Penrose inverse of square matrices (n, m, m), by products alone (eq. 11)."""
    size = matrix.abs()
    norms = size.sum(dim=2).amax(dim=1) * size.sum(dim=1).amax(dim=1)  # of each matrix by itself
    inverse = matrix.mT / norms[:, None, None]
    one = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    for _ in range(iterations):
        product = matrix @ inverse
        inner = torch.baddbmm(15 * one, product, 7 * one - product, alpha=-1)
        inverse = inverse @ torch.baddbmm(13 * one, product, inner, alpha=-1) / 4
    return inverse


def landmarks(tokens: Tensor, *, most: int) -> Tensor:
    """Return the means of runs of tokens, (B, heads, m, d) with m <= most, of tokens (B, heads, N, d).

    Runs have the same length, but for the last, which is of what is left.
    """
    n = tokens.shape[2]
    length = math.ceil(n / most)
    m = math.ceil(n / length)
    sums = functional.pad(tokens, (0, 0, 0, m * length - n)).unflatten(2, (m, length)).sum(dim=3)
    lengths = torch.full((m, 1), length, dtype=tokens.dtype, device=tokens.device)
    lengths[-1] = n - (m - 1) * length
    return sums / lengths


def inverse_among(q_marks: Tensor, k_marks: Tensor, *, iterations: int) -> Tensor:
    """Return the pseudo-inverse of the attention among landmarks (B, heads, m, d), (B, heads, m, m)."""
    # The iteration multiplies its rounding: it needs single precision, under autocast too.
    with torch.autocast(q_marks.device.type, enabled=False):
        among = (q_marks.float() @ k_marks.float().mT).softmax(dim=-1)
        return pseudo_inverse(among.flatten(0, 1), iterations=iterations).view_as(among).to(q_marks.dtype)


def nystrom_attention(
    q: Tensor, k: Tensor, v: Tensor, *, n_landmarks: int, iterations: int = ITERATIONS, along: Tensor | None = None
) -> Tensor:
    """Approximate softmax(q k^T / sqrt(d)) v by a product of three: tokens, among landmarks, tokens (eq. 13).

    Parameters
    ----------
    q, k, v : Tensor (B, heads, N, d)
        Queries, keys and values.
    n_landmarks
        Number of landmarks, at most; where each token would be one, the attention is computed as it is.
    iterations
        Iterations of the pseudo-inverse.
    along : Tensor (heads, kernel), optional
        A convolution of the values along the tokens, to be added: one odd kernel for all channels of a head.

    Returns
    -------
    Tensor (B, heads, N, d)
    """
    q = q * q.shape[3] ** -0.5
    if q.shape[2] <= n_landmarks:
        weights = (q @ k.mT).softmax(dim=-1)
        # weights v + (v convolved along the tokens) = (weights + convolution matrix) v
        return (weights if along is None else weights + convolution_matrix(along, q.shape[2])) @ v
    q_marks, k_marks = landmarks(q, most=n_landmarks), landmarks(k, most=n_landmarks)
    inverse = inverse_among(q_marks, k_marks, iterations=iterations)
    to_marks, from_marks = (q @ k_marks.mT).softmax(dim=-1), (q_marks @ k.mT).softmax(dim=-1)
    attended = to_marks @ (inverse @ (from_marks @ v))  # eq. 13, right to left: the smallest products
    if along is not None:
        kernel = along[:, None, :, None]
        attended = attended + functional.conv2d(v, kernel, padding=(along.shape[1] // 2, 0), groups=len(along))
    return attended


def weights_of_first(
    tokens: Tensor, of_q: Tensor, of_k: Tensor, *, n_landmarks: int, iterations: int = ITERATIONS
) -> Tensor:
    """Return the first row of the three-fold product of `nystrom_attention`, without its other rows.

    Parameters
    ----------
    tokens : Tensor (B, N, width)
        What queries and keys are made of.
    of_q, of_k : Tensor (heads, d, width)
        What they are made with: q = tokens of_q^T, k = tokens of_k^T.
    n_landmarks, iterations
        As there.

    Returns
    -------
    Tensor (B, heads, N)
    """
    scale = of_q.shape[1] ** -0.5
    q = torch.einsum("bw,hdw->bhd", tokens[:, 0], of_q) * scale
    if tokens.shape[1] <= n_landmarks:
        # q k^T = q (tokens of_k^T)^T = (q of_k) tokens^T
        return (torch.einsum("bhd,hdw->bhw", q, of_k) @ tokens.mT).softmax(dim=-1)
    # A mean of keys is the key of a mean.
    means = landmarks(tokens[:, None], most=n_landmarks).squeeze(1)  # (B, m, width)
    q_marks, k_marks = by_head(means, of_q) * scale, by_head(means, of_k)  # (B, heads, m, d)
    inverse = inverse_among(q_marks, k_marks, iterations=iterations)
    to_marks = (q[:, :, None] @ k_marks.mT).softmax(dim=-1)  # (B, heads, 1, m)
    from_marks = (q_marks @ by_head(tokens, of_k).mT).softmax(dim=-1)  # (B, heads, m, N)
    return (to_marks @ inverse @ from_marks).squeeze(2)


def by_head(tokens: Tensor, weight: Tensor) -> Tensor:
    """Return what each head makes of tokens (B, N, width) by its weight (heads, d, width): (B, heads, N, d)."""
    return functional.linear(tokens, weight.flatten(0, 1)).unflatten(2, weight.shape[:2]).transpose(1, 2)


def convolution_matrix(kernels: Tensor, n: int) -> Tensor:
    """Return the matrices (heads, n, n) that convolve n tokens with odd kernels (heads, kernel), zeros beyond them."""
    place = torch.arange(n, device=kernels.device)
    shift = place[None] - place[:, None] + kernels.shape[1] // 2  # (n, n)
    inside = (shift >= 0) & (shift < kernels.shape[1])
    return kernels[:, shift.clamp(0, kernels.shape[1] - 1)] * inside


class NystromLayer(nn.Module):
    """Residual layer: norm, Nystrom attention with a convolution of the values along the tokens, projection."""

    def __init__(self, width: int, *, heads: int, n_landmarks: int, dropout: float, kernel: int = 33) -> None:
        super().__init__()
        self.heads, self.n_landmarks, self.dropout = heads, n_landmarks, dropout
        self.norm = nn.LayerNorm(width)
        self.qkv = scaled_linear(width, 3 * width, bias=False)
        self.along = nn.Conv1d(heads, heads, kernel, groups=heads, bias=False)
        self.out = nn.Sequential(scaled_linear(width, width), nn.Dropout(dropout))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (B, N, width)."""
        parts = self.qkv(self.norm(tokens)).unflatten(2, (3, self.heads, -1))  # (B, N, 3, heads, d)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # (B, heads, N, d) each
        attended = nystrom_attention(
            q, k, v, n_landmarks=self._landmarks_of(tokens), along=self.along.weight.squeeze(1)
        )
        return tokens + self.out(attended.transpose(1, 2).flatten(2))

    def first(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first token of what `forward` returns, (B, width), and what it gives to each token, (B, N).

        One token asks, so that keys and values of all tokens need not be made: (weights) (tokens of_v^T) is
        ((weights) tokens) of_v^T, which has one row a head.
        """
        normed = self.norm(tokens)
        of_q, of_k, of_v = self.qkv.weight.unflatten(0, (3, self.heads, -1))  # (heads, d, width) each
        weights = weights_of_first(normed, of_q, of_k, n_landmarks=self._landmarks_of(tokens))
        # The convolution along the tokens at the first of them: the right half of the kernel.
        kernel = self.along.weight.squeeze(1)[:, self.along.kernel_size[0] // 2 :][:, : tokens.shape[1]]
        convolved = functional.pad(kernel, (0, tokens.shape[1] - kernel.shape[1]))  # (heads, N)
        gathered = (weights + convolved) @ normed  # (B, heads, width)
        attended = torch.einsum("bhw,hdw->bhd", gathered, of_v).flatten(1)
        out = self.out[0](attended)
        if self.training and self.dropout:
            # Drawn for all tokens, as `forward` does: the same seed gives the same training.
            kept = torch.empty_like(tokens).bernoulli_(1 - self.dropout)[:, 0]
            out = out * kept / (1 - self.dropout)
        return tokens[:, 0] + out, weights.mean(dim=1)

    def _landmarks_of(self, tokens: Tensor) -> int:
        # Up to four times as many tokens as landmarks, the exact attention takes half the time or less.
        n = tokens.shape[1]
        return n if n <= 4 * self.n_landmarks else self.n_landmarks


class PPEG(nn.Module):
    """Pyramid position encoding: depthwise convolutions of three sizes over the square of tokens, and the tokens."""

    def __init__(self, width: int, sizes: tuple[int, ...] = (7, 5, 3)) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, size, groups=width) for size in sizes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (B, side * side, width) that know of their neighbours."""
        convolutions = [layer for layer in self.convolutions if isinstance(layer, nn.Conv2d)]
        side, reach = math.isqrt(tokens.shape[1]), convolutions[0].kernel_size[0] // 2
        # x * k7 + x * k5 + x * k3 = x * (k7 + k5 + k3), the smaller kernels padded with zeros to the largest's size
        padded = [functional.pad(layer.weight, [reach - layer.kernel_size[0] // 2] * 4) for layer in convolutions]
        weight = reduce(torch.add, padded)
        bias = reduce(torch.add, [layer.bias for layer in convolutions if layer.bias is not None])
        square = tokens.mT.unflatten(2, (side, side))  # (B, width, side, side)
        encoded = functional.conv2d(square, weight, bias, padding=reach, groups=square.shape[1])
        return tokens + encoded.flatten(2).mT


class NystromTransformer(nn.Module):
    """A class token and the tokens of a bag through two layers; between them, for a slide, the position encoding.

    Parameters
    ----------
    width, heads, n_landmarks, dropout
        Sizes of the layers, see `NystromLayer`.
    positions
        Whether the tokens are a slide's patches: they are filled up to a square with their first ones, and encoded.
    """

    def __init__(self, width: int, *, heads: int, n_landmarks: int, dropout: float, positions: bool) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.first, self.second = (
            NystromLayer(width, heads=heads, n_landmarks=n_landmarks, dropout=dropout) for _ in range(2)
        )
        self.positions = PPEG(width) if positions else None
        self.norm = nn.LayerNorm(width)

    def forward(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class token (B, width) and the tokens (B, N or its next square, width)."""
        tokens = self.norm(self.second(self._before_last(bag)))
        return tokens[:, 0], tokens[:, 1:]

    def of_class(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class token alone, (B, width), and its attention to the bag, (B, N)."""
        token, attention = self.second.first(self._before_last(bag))
        return self.norm(token), weights_of_patches(attention[:, 1:], bag.shape[1])

    def _before_last(self, bag: Tensor) -> Tensor:
        """Return what the second layer reads: class token and tokens, (B, 1 + N or its next square, width)."""
        n = bag.shape[1]
        if self.positions is not None:
            bag = torch.cat([bag, bag[:, : (math.isqrt(n - 1) + 1) ** 2 - n]], dim=1)
        tokens: Tensor = self.first(torch.cat([self.class_token.expand(len(bag), -1, -1), bag], dim=1))
        if self.positions is not None:
            tokens = torch.cat([tokens[:, :1], self.positions(tokens[:, 1:])], dim=1)
        return tokens


def weights_of_patches(attention: Tensor, n: int) -> Tensor:
    """Return the attention to the n patches, (B, n), summing to one.

    Copies that pad the square are added to their originals; negative values are set to 0.
    """
    attention = attention.float().clamp(min=0)
    repeated = functional.pad(attention[:, n:], (0, 2 * n - attention.shape[1]))
    weights = attention[:, :n] + repeated
    return weights / weights.sum(dim=1, keepdim=True)
