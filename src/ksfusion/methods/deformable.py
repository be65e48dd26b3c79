"""CM-Deform: cross-attention from the multi-modal map to patch features sampled at points that shift with the genes.

Equations 1 to 3 of KS-Fusion (arXiv:2406.13979), after the deformable attention of Xia et al.: Vision transformer with
deformable attention, CVPR 2022, arXiv:2201.00520.

Shapes: B samples, N = side^2 patches, P sampling points for each head, C = width / heads channels for each head (one
group of channels, "group" in the paper, belongs to one head).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ksfusion.core.errors import UserError
from ksfusion.methods.layers import scaled_linear


def grouped_weight(groups: int, n_in: int, n_out: int) -> nn.Parameter:
    """Return the weight of a grouped 1 x 1 convolution, (groups, n_in, n_out), with torch's initialisation of one.

    Parameters
    ----------
    groups
        Number of groups.
    n_in, n_out
        Channels of each group before and after.
    """
    return nn.Parameter(torch.empty(groups, n_in, n_out).uniform_(-(n_in**-0.5), n_in**-0.5))


def sample_bilinear(maps: Tensor, points: Tensor) -> Tensor:
    """Sample maps bilinearly, each group at points of its own.

    Equal to torch's `grid_sample` with ``align_corners=True`` and ``padding_mode="border"``, whose gradient on a GPU
    is not reproducible.

    Parameters
    ----------
    maps : Tensor (B, side, side, groups, C)
        Maps of features: row, column, group, channel.
    points : Tensor (groups, B, P, 2)
        Points (x, y), with the centres of the map's corner patches at -1 and 1; outside, the nearest border value is
        taken. A NaN point samples NaN.

    Returns
    -------
    Tensor (groups, B, P, C)
        Sampled features.
    """
    side = maps.shape[1]
    position = ((points + 1) / 2 * (side - 1)).clamp(0, side - 1)
    # A training that diverges has NaN points: they must not become an index.
    corner = position.detach().floor().clamp(max=side - 2).nan_to_num(0)
    right, low = (position - corner).unsqueeze(-2).unbind(-1)  # (groups, B, P, 1), weights of the far corners
    x, y = corner.long().unbind(-1)  # (groups, B, P)
    group = torch.arange(maps.shape[3], device=maps.device)[:, None, None]
    sample = torch.arange(maps.shape[0], device=maps.device)[:, None]
    upper = maps[sample, y, x, group] * (1 - right) + maps[sample, y, x + 1, group] * right
    lower = maps[sample, y + 1, x, group] * (1 - right) + maps[sample, y + 1, x + 1, group] * right
    return upper * (1 - low) + lower * low


def drop(weights: Tensor, probability: float) -> Tensor:
    """Set weights to 0 at random with a probability (to the nearest 2^-16); the others are not scaled up.

    16 random bits decide for each: on a CPU, drawing them is most of what dropout costs.
    """
    bits = torch.randint(-(2**15), 2**15, weights.shape, dtype=torch.int16, device=weights.device)
    return weights.masked_fill(bits < round(probability * 2**16) - 2**15, 0)


class CMDeform(nn.Module):
    """Deformable cross-attention between two maps.

    Queries, keys, values and offsets keep torch's initialisation: offsets start small (about half a cell of the
    reference grid) but differ between samples, without which Ge-Con would have no gradient on them.

    Parameters
    ----------
    side
        Side of the square map, in patches.
    width
        Channels of both maps.
    heads, head_width
        Number of heads, and the width of each: a head has one group of channels and one set of points.
    grid
        Largest number of points along one side of the reference grid. The depthwise convolution that makes the offsets
        has the smallest stride that leaves no more than that, kernel stride + 2 and padding 1: for the paper's map of
        50 x 50 patches and 12 x 12 points, its stride 4 and kernel 6. P is bounded, so that the cost grows with N, not
        with its square.
    offset_cells
        Largest shift of a point along x and y, in cells of the reference grid.
    dropout
        Probability of dropping an attention weight.

    Raises
    ------
    UserError
        If the map has fewer than 2 x 2 patches.
    """

    reference: Tensor
    # What the offsets are made of: the queries, as in the released code, or the multi-modal map (eq. 1: psi(x_pg)).
    offsets_from_queries = True

    def __init__(
        self,
        side: int,
        *,
        width: int,
        heads: int,
        head_width: int,
        grid: int,
        offset_cells: float,
        dropout: float,
    ) -> None:
        super().__init__()
        if side < 2:
            raise UserError("a single patch makes no map for ksfusion; patches.count: 4 or more")
        self.side, self.heads, self.dropout = side, heads, dropout
        self.w_q = grouped_weight(heads, width // heads, head_width)
        self.w_k = grouped_weight(heads, width // heads, head_width)
        self.w_v = grouped_weight(heads, width // heads, head_width)
        stride = side // (grid + 1) + 1  # the smallest that leaves no more
        guides = head_width if self.offsets_from_queries else width // heads
        self.gather = nn.Conv2d(guides, guides, stride + 2, stride, padding=1, groups=guides)
        self.to_offset = nn.Linear(guides, 2, bias=False)
        self.w_o = scaled_linear(heads * head_width, width)
        self.points_per_line = n_line = side // stride
        line = torch.linspace(-1, 1, n_line) if n_line > 1 else torch.zeros(1)
        y, x = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("reference", torch.stack([x, y], dim=-1).reshape(-1, 2), persistent=False)  # (P, 2)
        self.reach = offset_cells * 2 / max(n_line - 1, 1)

    def offsets(self, q: Tensor) -> Tensor:
        """Return the shift of each reference point, (heads, B, P, 2), from queries (heads, B, N, channels).

        dp = reach tanh(W gelu(depthwise convolution of q)), the psi(q) of the paper.
        """
        maps = q.flatten(0, 1).unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)  # (heads B, channels, ...)
        gathered = functional.gelu(self.gather(maps)).flatten(2).transpose(1, 2)  # (heads B, P, channels)
        shifts = torch.tanh(self.to_offset(gathered).float()) * self.reach
        return shifts.unflatten(0, q.shape[:2])

    def sample(self, maps: Tensor, points: Tensor) -> Tensor:
        """Return features (heads, B, P, C) of maps (B, side, side, heads, C) at points (heads, B, P, 2)."""
        return sample_bilinear(maps, points)

    def biased(self, logits: Tensor, points: Tensor) -> Tensor:
        """Return the logits (heads, B, N, P) as they are: the paper has no position bias."""
        return logits

    def forward(self, teacher: Tensor, patches: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Attend from the multi-modal map to the patch map.

        Parameters
        ----------
        teacher, patches : Tensor (B, N, width)
            Multi-modal map and patch map, layer-normalised, in the order of the map's rows.

        Returns
        -------
        attended : Tensor (B, N, width)
            Output of the attention, before the residual connection.
        points : Tensor (B, heads, P, 2)
            Sampling points p + dp, (x, y) with the centres of the map's corner patches at -1 and 1.
        attention : Tensor (B, heads, P), or None in training
            Attention that each point receives, averaged over the N queries.
        """
        grouped = self.heads_first(teacher)  # (heads, B, N, C)
        q = grouped @ self.w_q[:, None]  # (heads, B, N, head_width)
        shifts = self.offsets(q if self.offsets_from_queries else grouped)
        points = self.reference + shifts  # (heads, B, P, 2), p + dp
        maps = patches.unflatten(2, (self.heads, -1)).unflatten(1, (self.side, self.side))  # (B, side, side, heads, C)
        sampled = self.sample(maps, points).to(patches.dtype)  # (heads, B, P, C)

        # W_q, W_k and W_v have no bias, so their products can be taken first: what is then multiplied for each patch
        # has C columns (16 in the paper) instead of head_width (64).
        scale = self.w_q.shape[2] ** -0.5
        # q k^T / sqrt(head_width) = (grouped W_q) (sampled W_k)^T / sqrt(head_width)
        #                          = grouped (sampled (W_k W_q^T / sqrt(head_width)))^T  (eq. 1 and 2)
        keys = sampled @ (self.w_k @ self.w_q.mT * scale)[:, None]  # (heads, B, P, C)
        weights = self.biased(grouped @ keys.mT, points).softmax(dim=-1)  # (heads, B, N, P)
        attention = None if self.training else weights.mean(dim=2).transpose(0, 1)
        if self.training:
            # dropout(weights) sampled = drop(weights) (sampled / (1 - dropout)): scales P x C numbers, not N x P
            weights, sampled = drop(weights, self.dropout), sampled / (1 - self.dropout)
        return self.projected(weights @ sampled), points.transpose(0, 1), attention

    def heads_first(self, rows: Tensor) -> Tensor:
        """Return rows (B, Q, width) as (heads, B, Q, C), the channels of each head C = width / heads."""
        return rows.unflatten(2, (self.heads, -1)).permute(2, 0, 1, 3)

    def projected(self, attended: Tensor) -> Tensor:
        """Return (B, Q, width) of what each head gathers, (heads, B, Q, C), through W_v and W_o.

        concatenate(weights v) W_o + b = sum over heads of (weights sampled) (W_v W_o) + b  (eq. 2 and 3)
        """
        w_vo = self.w_v @ self.w_o.weight.T.unflatten(0, (self.heads, -1))  # (heads, C, width)
        return attended.permute(1, 2, 0, 3).flatten(2) @ w_vo.flatten(0, 1) + self.w_o.bias
