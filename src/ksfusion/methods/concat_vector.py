"""Concatenation of one vector a slide, computed elsewhere, with the genes by a self-normalising network.

For the slide encoders of today (TITAN, PRISM, GigaPath), whose vector stands for all patches. Features of patches are
averaged. Widths and the gene encoder are those of `ksfusion.methods.concat`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ksfusion.methods.fusion import WIDTH
from ksfusion.methods.layers import scaled_linear
from ksfusion.methods.output import Method, MethodOutput, Parts
from ksfusion.methods.registry import Inputs, register
from ksfusion.methods.snn import ProfileEncoder, SNNSettings


@register("concat-vector", label="Vector and genes", modalities="pg", vector=True)
class ConcatVector(Method):
    """One layer on the vector, whose scale each tool has its own of, beside the genes' network."""

    def __init__(self, inputs: Inputs, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.slide = nn.Sequential(
            nn.LayerNorm(inputs.n_features),
            scaled_linear(inputs.n_features, WIDTH, gain=math.sqrt(2)),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.profile = ProfileEncoder(inputs.niches, SNNSettings(widths=(WIDTH, WIDTH), dropout=dropout))
        self.classifier = scaled_linear(2 * WIDTH, inputs.n_outputs)

    def of_patches(self, patches: Tensor) -> Parts:
        """Return the embedding (B, WIDTH) of patches (B, N, n_features), and equal weights (B, N)."""
        weights = patches.new_full(patches.shape[:2], 1 / patches.shape[1])
        return self.slide(patches.mean(dim=1)), weights

    def of_genes(self, genes: Mapping[str, Tensor]) -> Parts:
        """Return the embedding (B, WIDTH) of the genes of each niche, (B, genes)."""
        return self.profile(genes)

    def join(self, of_patches: Parts, of_genes: Parts) -> MethodOutput:
        """Classify both embeddings side by side."""
        slide, attention = of_patches
        logits = self.classifier(torch.cat([slide, of_genes], dim=1))
        return MethodOutput(logits, attention=attention, embeddings={"patches": slide, "genes": of_genes})
