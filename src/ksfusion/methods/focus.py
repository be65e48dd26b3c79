"""KS-Fusion with an attention that can find a patch: the fewest changes with which it does, each of them an option.

The attention of `ksfusion` stays where it starts, near to even. What keeps it there, as far as it was tried out
(benchmarks/RESULTS.md, "Where it looks"):

- Its sampling points are a grid of at most 12 x 12 points that move little: a patch between them is never looked at.
  ``dense`` gives each patch a point.
- The queries and keys of a head read 16 of the 128 channels, and their products start small. With ``mixed`` each head
  reads all channels, and its logits start with unit variance.
- Each patch asks, and the attention that is averaged over all of them is even. With ``gene_queries`` the genes ask, one
  query a head.
- The patches' own mean reaches z through the residual, so that nothing is gained by looking. With ``genes_residual`` it
  is the genes alone that do, and with ``unit_values`` what is attended starts as large as they.

``gate``, off by default, weighs each point by a sigmoid in place of the softmax. Everything else is `ksfusion`: two
streams, offsets, Ge-Con, CG-Coord.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ksfusion.methods.deformable import CMDeform, drop
from ksfusion.methods.ksfusion import KSFusion, KSFusionSettings, Stream
from ksfusion.methods.layers import scaled_linear
from ksfusion.methods.registry import register


@dataclass(frozen=True)
class FocusSettings(KSFusionSettings):
    """What sets it apart; all False give the attention of `ksfusion`, but for the reach of the offsets."""

    offset_cells: float = 1.0
    dense: bool = True
    mixed: bool = True
    gene_queries: bool = True
    genes_residual: bool = True
    unit_values: bool = True
    gate: bool = False
    key_width: int = 16  # of each head, where queries and keys are mixed


class FocusDeform(CMDeform):
    """Deformable attention that genes ask, of keys that read all channels."""

    def __init__(
        self, side: int, *, dense: bool, mixed: bool, gate: bool, unit_values: bool, key_width: int, **sizes: Any
    ) -> None:
        super().__init__(side, **{**sizes, "grid": side if dense else sizes["grid"]})
        self.key_width = key_width
        self.ask, self.key = (
            scaled_linear(sizes["width"], self.heads * key_width) if mixed else None for _ in range(2)
        )
        if mixed:
            del self.w_k
        if unit_values:
            nn.init.normal_(self.w_v, std=self.w_v.shape[1] ** -0.5)
        self.threshold = nn.Parameter(torch.zeros(self.heads, 1, 1, 1)) if gate else None

    def forward(
        self, teacher: Tensor, patches: Tensor, asking: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Attend from what asks to the patch map.

        Parameters
        ----------
        teacher, patches : Tensor (B, N, width)
            Multi-modal map, of which the offsets are made, and patch map, layer-normalised.
        asking : Tensor (B, Q, width)
            What asks; None for the multi-modal map itself.

        Returns
        -------
        attended : Tensor (B, Q, width)
        points, attention
            As `CMDeform.forward` returns them.
        """
        points = self.reference + self.offsets(self.heads_first(teacher) @ self.w_q[:, None])
        asking, read = teacher if asking is None else asking, patches.unflatten(2, (self.heads, -1))
        if self.ask is not None and self.key is not None:
            asked = self.heads_first(self.ask(asking)) * self.key_width**-0.5
            # Sampling is linear, F(x W; p) = F(x; p) W: keys are made of all channels, then sampled.
            read = torch.cat([read, self.key(patches).unflatten(2, (self.heads, -1))], dim=3)
        else:
            asked = self.heads_first(asking) @ (self.w_q @ self.w_k.mT * self.w_q.shape[2] ** -0.5)[:, None]
        sampled = self.sample(read.unflatten(1, (self.side, self.side)), points).to(patches.dtype)
        values = sampled[..., : self.w_v.shape[1]]  # (heads, B, P, C)
        logits = asked @ sampled[..., -asked.shape[3] :].mT  # (heads, B, Q, P)
        if self.threshold is None:
            weights = shares = logits.softmax(dim=-1)
        else:
            open_share = torch.sigmoid(logits + self.threshold)
            shares = open_share / open_share.sum(dim=-1, keepdim=True)
            # At the start, where half of each gate is open, the weights sum to one.
            weights = open_share * (2 / logits.shape[3])
        attention = None if self.training else shares.mean(dim=2).transpose(0, 1)
        if self.training:
            weights, values = drop(weights, self.dropout), values / (1 - self.dropout)
        return self.projected(weights @ values), points.transpose(0, 1), attention


class FocusStream(Stream):
    """One niche, whose genes ask where to look."""

    attention = FocusDeform

    def __init__(self, n_features: int, n_genes: int, side: int, settings: FocusSettings) -> None:
        super().__init__(n_features, n_genes, side, settings)
        self.gene_queries, self.genes_residual = settings.gene_queries, settings.genes_residual

    @classmethod
    def attention_sizes(cls, settings: KSFusionSettings) -> dict[str, Any]:
        """Return the arguments of the attention: its sizes, and what sets it apart."""
        names = ("dense", "mixed", "gate", "unit_values", "key_width")
        return {**super().attention_sizes(settings), **{name: getattr(settings, name) for name in names}}

    def look(self, teacher: Tensor, guidance: Tensor, patch: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Attend to the patch map with the genes' query, or with a query of each patch."""
        asking = self.norm(guidance).unsqueeze(1) if self.gene_queries else None
        attended: tuple[Tensor, Tensor, Tensor | None] = self.attend(self.norm(teacher), patch, asking)
        return attended

    def fuse(self, teacher: Tensor, guidance: Tensor, attended: Tensor) -> Tensor:
        """Return what z is pooled from, (B, N or Q, width): with the residual of the genes, or of the whole map."""
        return (guidance.unsqueeze(1) if self.genes_residual else teacher) + attended


@register(
    "ksfusion-focus",
    label="KS-Fusion, focused",
    modalities="pg",
    settings=("alpha",),
    partial=True,
    min_patches=4,
    variants={"ksfusion-focus-no-gecon": {"alpha": None}, "ksfusion-focus-no-cgcoord": {"cgcoord": False}},
    labels={
        "ksfusion-focus-no-gecon": "KS-Fusion, focused, without Ge-Con",
        "ksfusion-focus-no-cgcoord": "KS-Fusion, focused, without CG-Coord",
    },
)
class FocusKSFusion(KSFusion):
    """KS-Fusion whose attention can find patches.

    Parameters
    ----------
    inputs
        See `KSFusion`.
    **options
        Fields of `FocusSettings`.
    """

    stream = FocusStream
    sizes = FocusSettings
