"""The position bias of the released code: a small network on how far a query is from a sampling point.

After Liu et al.: Swin transformer V2, CVPR 2022, arXiv:2111.09883 (log-spaced continuous position bias).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ksfusion.methods.layers import scaled_linear

# Pairs of a query and a point whose hidden layers are held at a time: a few MiB, which a processor's cache bears.
PAIRS_ON_CPU, PAIRS_ON_GPU = 2**14, 2**22


def signed_log(distance: Tensor) -> Tensor:
    """Return sign(x) log(1 + |x|)."""
    return distance.sign() * distance.abs().log1p()


class _PairMLP(torch.autograd.Function):
    """Bias of all pairs, with the hidden layers of a few pairs at a time: computed again in the backward pass.

    The first layer is linear in the two distances, and the x distance depends on the map's column alone, the y distance
    on its row. So it comes as two small tables, and its value at a pair is the sum of an entry of each.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, weight: Tensor, bias: Tensor, last: Tensor) -> Tensor:
        """Return (M, side, side, P) from tables (M, side, P, H), weight (H, H), bias (H,) and last (H,)."""
        ctx.save_for_backward(rows, columns, weight, bias, last)
        m, side, n_points, _ = rows.shape
        result = rows.new_empty(m, side, side, n_points)
        for part, at in _parts(rows):
            first = (rows[part, at, None] + columns[part, None]).relu_()  # (m', side', side, P, H)
            second = torch.addmm(bias, first.flatten(0, 3), weight.T).relu_()
            result[part, at] = (second @ last).view(result[part, at].shape)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of all five."""
        rows, columns, weight, bias, last = ctx.saved_tensors
        of_rows, of_columns, of_weight, of_bias, of_last = (torch.zeros_like(part) for part in ctx.saved_tensors)
        for part, at in _parts(rows):
            first = (rows[part, at, None] + columns[part, None]).relu_()
            shape, first = first.shape, first.flatten(0, 3)
            second = torch.addmm(bias, first, weight.T).relu_()
            own = gradient[part, at].reshape(-1, 1)  # (pairs, 1)
            of_last += (second.T @ own).squeeze(1)
            of_second = _through_relu(own * last, second)  # (pairs, H)
            of_bias += of_second.sum(dim=0)
            of_weight += of_second.T @ first
            of_first = _through_relu(of_second @ weight, first).view(shape)
            of_rows[part, at] += of_first.sum(dim=2)
            of_columns[part] += of_first.sum(dim=1)
        return of_rows, of_columns, of_weight, of_bias, of_last


def _through_relu(gradient: Tensor, hidden: Tensor) -> Tensor:
    """Return the gradient (pairs, H), zero where the layer (pairs, H) gave zero; in one pass, as autograd does it."""
    return torch.ops.aten.threshold_backward(gradient, hidden, 0)


def _parts(rows: Tensor) -> list[tuple[slice, slice]]:
    """Cut the maps, and where one has too many pairs its rows, into parts that are held at a time."""
    m, side, n_points, _ = rows.shape
    most = PAIRS_ON_GPU if rows.is_cuda else PAIRS_ON_CPU
    lines = min(max(most // (side * n_points), 1), side)
    maps = max(most // (side * side * n_points), 1)
    return [(slice(i, i + maps), slice(j, j + lines)) for i in range(0, m, maps) for j in range(0, side, lines)]


class PositionBias(nn.Module):
    """Network on the signed log distance in x and y, with two hidden layers; one number a pair.

    Parameters
    ----------
    side
        Side of the map of queries in patches; its corners are at -1 and 1.
    width
        Width of the hidden layers.
    """

    line: Tensor

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.first, self.second = scaled_linear(2, width), scaled_linear(width, width, gain=2**0.5)
        self.last = nn.Parameter(torch.randn(width) * width**-0.5)  # a constant would change no weight
        self.register_buffer("line", torch.linspace(-1, 1, side), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """Return the bias (heads, B, N, P) of points (heads, B, P, 2)."""
        with torch.autocast(points.device.type, enabled=False):
            away = signed_log(
                self.line[:, None, None] - points.to(self.line.dtype).flatten(0, 1)[:, None]
            )  # (M, side, P, 2)
            of_x, of_y = self.first.weight.unbind(1)  # (H,) each
            # first(x, y) = (x of_x + b) + y of_y: a table over the map's columns, and one over its rows
            columns = away[..., :1] * of_x + self.first.bias  # (M, side, P, H)
            rows = away[..., 1:] * of_y
            bias = _PairMLP.apply(rows, columns, self.second.weight, self.second.bias, self.last)
        return bias.flatten(1, 2).unflatten(0, points.shape[:2])
