"""PORPOISE: attention on the patches and a network on the genes, fused by a gated Kronecker product.

Chen et al.: Pan-cancer integrative histology-genomic analysis via multimodal deep learning, Cancer Cell 2022.

`ksfusion.methods.bilinear` fuses as Pathomic Fusion does: there a component's gate is bilinear in the two embeddings
and the gated vectors stand again beside their product; here the gate is linear in both, the whole embeddings stand
beside the product, and features are dropped out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ksfusion.methods.attmil import AttMILSettings, SlideEncoder
from ksfusion.methods.bilinear import kronecker
from ksfusion.methods.fusion import WIDTH, LateFusion
from ksfusion.methods.layers import GatedPooling, scaled_linear
from ksfusion.methods.registry import Inputs, register

# Of the features, unless dropout is less altogether.
INPUT_DROPOUT = 0.1
ATTENTION_WIDTH = 256


@dataclass(frozen=True)
class PorpoiseSettings:
    """Sizes of the source; it drops out a quarter."""

    gated_width: int = 32
    fused_width: int = 256
    dropout: float = 0.25


class DroppingSlideEncoder(SlideEncoder):
    """The slide encoder with dropout of the features and of both branches of the gate, which are wider."""

    def __init__(self, n_features: int, settings: AttMILSettings) -> None:
        super().__init__(n_features, settings)
        self.embed.insert(0, nn.Dropout(min(INPUT_DROPOUT, settings.dropout)))
        self.pool = GatedPooling(settings.width, ATTENTION_WIDTH, dropout=settings.dropout)


class LinearGate(nn.Module):
    """Reduce an embedding; a linear layer on both embeddings says how much of each component passes."""

    def __init__(self, settings: PorpoiseSettings) -> None:
        super().__init__()
        width, gain = settings.gated_width, math.sqrt(2)
        self.reduce = nn.Sequential(scaled_linear(WIDTH, width, gain=gain), nn.ReLU())
        self.passing = scaled_linear(2 * WIDTH, width)
        self.out = nn.Sequential(scaled_linear(width, width, gain=gain), nn.ReLU(), nn.Dropout(settings.dropout))

    def forward(self, own: Tensor, both: Tensor) -> Tensor:
        """Return (B, gated_width) of one embedding (B, WIDTH), given the two side by side (B, 2 WIDTH)."""
        return self.out(self.reduce(own) * torch.sigmoid(self.passing(both)))


@register("porpoise", label="PORPOISE", modalities="pg")
class Porpoise(LateFusion):
    """Fuse by the products of the gated embeddings, with the whole embeddings beside them."""

    slide_encoder = DroppingSlideEncoder

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        settings = PorpoiseSettings(**options)
        width, fused, gain = settings.gated_width, settings.fused_width, math.sqrt(2)
        super().__init__(inputs, dropout=settings.dropout, fused_width=fused)
        self.gate_slide, self.gate_profile = LinearGate(settings), LinearGate(settings)
        self.mix = nn.Sequential(
            nn.Dropout(settings.dropout), scaled_linear((width + 1) ** 2, WIDTH, gain=gain), nn.ReLU()
        )
        self.skip = nn.Sequential(scaled_linear(3 * WIDTH, fused, gain=gain), nn.ReLU())

    def fuse(self, slide: Tensor, profile: Tensor) -> Tensor:
        """Return (B, fused_width)."""
        both = torch.cat([slide, profile], dim=1)
        mixed = self.mix(kronecker(self.gate_slide(slide, both), self.gate_profile(profile, both)))  # (B, WIDTH)
        return self.skip(torch.cat([mixed, both], dim=1))
