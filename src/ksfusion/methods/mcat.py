"""MCAT: groups of genes say where to look on the slide, then two set transformers see what was found.

Chen et al.: Multimodal co-attention transformer for survival prediction in gigapixel whole slide images, ICCV 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ksfusion.methods.gene_groups import GroupedGenes
from ksfusion.methods.layers import CoAttention, GatedPooling, scaled_linear
from ksfusion.methods.output import Method, MethodOutput, Parts
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class MCATSettings:
    """Sizes of the source; it drops out a quarter."""

    width: int = 256
    heads: int = 8
    feedforward: int = 512
    layers: int = 2
    dropout: float = 0.25


class SetTransformer(nn.Module):
    """A transformer without positions, gated pooling, and a layer on the pooled token."""

    def __init__(self, settings: MCATSettings) -> None:
        super().__init__()
        width, dropout = settings.width, settings.dropout
        layer = nn.TransformerEncoderLayer(width, settings.heads, settings.feedforward, dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.pool = GatedPooling(width, width, dropout=dropout)
        self.rho = nn.Sequential(scaled_linear(width, width, gain=math.sqrt(2)), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the set (B, width) and the weights of its tokens (B, N), from tokens (B, N, width)."""
        pooled, attention = self.pool(self.transformer(tokens))
        return self.rho(pooled), attention


def fusion_layers(width: int) -> nn.Sequential:
    """Return the two layers on both modalities side by side."""
    gain = math.sqrt(2)
    return nn.Sequential(
        scaled_linear(2 * width, width, gain=gain), nn.ReLU(), scaled_linear(width, width, gain=gain), nn.ReLU()
    )


@register("mcat", label="MCAT", modalities="pg")
class MCAT(Method):
    """Each group of genes is a query to the patches. The order of the patches does not matter."""

    attention: type[nn.Module] = CoAttention

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__()
        settings = MCATSettings(**options)
        width = settings.width
        self.embed = nn.Sequential(
            scaled_linear(inputs.n_features, width, gain=math.sqrt(2)), nn.ReLU(), nn.Dropout(settings.dropout)
        )
        self.genes = GroupedGenes(inputs, (width, width), dropout=settings.dropout)
        self.coattend = self.attention(width)
        self.patch_set, self.gene_set = SetTransformer(settings), SetTransformer(settings)
        self.mix = fusion_layers(width)
        self.classifier = scaled_linear(width, inputs.n_outputs)

    def of_patches(self, patches: Tensor) -> Parts:
        """Return each patch embedded, (B, N, width)."""
        return self.embed(patches)

    def of_genes(self, genes: Mapping[str, Tensor]) -> Parts:
        """Return each group of genes embedded, (B, G, width)."""
        return self.genes(genes)

    def join(self, of_patches: Parts, of_genes: Parts) -> MethodOutput:
        """Let the groups of genes look at the patches, and classify what both sets become."""
        seen, coattention = self.coattend(of_genes, of_patches)  # (B, G, width), (B, G, N)
        slide, weights = self.patch_set(seen)  # (B, width), (B, G)
        profile, _ = self.gene_set(of_genes)
        logits = self.classifier(self.mix(torch.cat([slide, profile], dim=1)))
        attention = torch.einsum("bg,bgn->bn", weights, coattention)
        return MethodOutput(logits, attention=attention, embeddings={"patches": slide, "genes": profile})

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor]) -> MethodOutput:
        """Classify samples from their patches (B, N, n_features) and the genes of each niche, (B, genes)."""
        groups = self.of_genes(genes)
        return self.join(self.of_patches(patches), groups)
