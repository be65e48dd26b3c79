"""SurvPath: groups of genes and patches are tokens that attend to each other, but no patch to another patch.

Jaume et al.: Modeling dense multimodal interactions between biological pathways and histology for survival prediction,
CVPR 2024, arXiv:2304.06819. The groups are the pathways.

Shapes: B samples, G groups of genes, N patches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ksfusion.methods.gene_groups import GroupedGenes
from ksfusion.methods.layers import scaled_linear
from ksfusion.methods.output import Method, MethodOutput, Parts
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class SurvPathSettings:
    """Sizes of the source, which drops out a quarter in the networks of the groups and a tenth elsewhere."""

    width: int = 256
    head_width: int = 128
    dropout: float = 0.1


class PathwayAttention(nn.Module):
    """Attention with one head: groups to groups and patches, patches to groups. Its cost is linear in the patches."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.q, self.k, self.v = (scaled_linear(width, head_width, bias=False) for _ in range(3))

    def forward(self, groups: Tensor, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Let tokens attend.

        Parameters
        ----------
        groups : Tensor (B, G, width)
            Tokens of groups of genes.
        patches : Tensor (B, N, width)
            Tokens of patches.

        Returns
        -------
        of_groups : Tensor (B, G, head_width)
            softmax of q (k of groups and patches)^T / sqrt(head_width), times the values of both.
        of_patches : Tensor (B, N, head_width)
            The same over the groups alone.
        attention : Tensor (B, N)
            Of the attention that all groups give to patches, the share of each patch.
        """
        groups, patches = self.norm(groups), self.norm(patches)
        scale, n_groups = self.q.out_features**-0.5, groups.shape[1]
        q, k, v = self.q(groups) * scale, self.k(groups) * scale, self.v(groups)  # (B, G, head_width)
        # The layers have no bias, so that the side with fewer tokens bears them, as in `CoAttention`.
        to_patches = (q @ self.k.weight) @ patches.mT  # (B, G, N)
        logits = torch.cat([q @ self.k(groups).mT, to_patches], dim=2)
        own, seen = logits.softmax(dim=2).split([n_groups, patches.shape[1]], dim=2)
        of_groups = own @ v + (seen @ patches) @ self.v.weight.T
        of_patches = (patches @ (k @ self.q.weight).mT).softmax(dim=2) @ v
        given = to_patches.float() - logits.float().logsumexp(dim=2, keepdim=True)  # log weights
        return of_groups, of_patches, given.flatten(1).softmax(dim=1).view_as(given).sum(dim=1)


class FeedForward(nn.Module):
    """Two layers with GELU between two layer norms; the source has no residual connection."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            scaled_linear(width, width, gain=math.sqrt(2)),
            nn.GELU(),
            nn.Dropout(dropout),
            scaled_linear(width, width),
            nn.LayerNorm(width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the same shape (B, N, width)."""
        return self.layers(tokens)


@register("survpath", label="SurvPath", modalities="pg")
class SurvPath(Method):
    """Classify from the mean of the groups and the mean of the patches. The order of the patches does not matter."""

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__()
        settings = SurvPathSettings(**options)
        width, head_width = settings.width, settings.head_width
        self.embed = scaled_linear(inputs.n_features, width)
        self.genes = GroupedGenes(inputs, (width, width), dropout=settings.dropout)
        self.attend = PathwayAttention(width, head_width)
        self.feed = FeedForward(head_width, dropout=settings.dropout)
        self.mix = nn.Sequential(scaled_linear(2 * head_width, width // 4, gain=math.sqrt(2)), nn.ReLU())
        self.classifier = scaled_linear(width // 4, inputs.n_outputs)

    def of_patches(self, patches: Tensor) -> Parts:
        """Return each patch embedded, (B, N, width)."""
        return self.embed(patches)

    def of_genes(self, genes: Mapping[str, Tensor]) -> Parts:
        """Return each group of genes embedded, (B, G, width)."""
        return self.genes(genes)

    def join(self, of_patches: Parts, of_genes: Parts) -> MethodOutput:
        """Let patches and groups look at each other, and classify the means of both."""
        groups, patches, attention = self.attend(of_genes, of_patches)
        profile, slide = self.feed(groups).mean(dim=1), self.feed(patches).mean(dim=1)  # (B, head_width)
        logits = self.classifier(self.mix(torch.cat([profile, slide], dim=1)))
        return MethodOutput(logits, attention=attention, embeddings={"patches": slide, "genes": profile})
