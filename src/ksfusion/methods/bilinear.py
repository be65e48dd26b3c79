"""Bilinear: gated Kronecker fusion of the embeddings of slide and profile.

Chen et al.: Pathomic fusion, IEEE Transactions on Medical Imaging 2022, arXiv:1912.08937, eq. 5 and 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ksfusion.methods.fusion import WIDTH, LateFusion
from ksfusion.methods.layers import scaled_linear
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class BilinearSettings:
    """Sizes of the source."""

    gated_width: int = 32
    fused_width: int = 64
    dropout: float = 0.1


class Gate(nn.Module):
    """Reduce an embedding, and let the two modalities together say how much of each component passes."""

    def __init__(self, settings: BilinearSettings) -> None:
        super().__init__()
        width, gain = settings.gated_width, math.sqrt(2)
        self.reduce = nn.Sequential(scaled_linear(WIDTH, width, gain=gain), nn.ReLU())
        # Of variance 1 / WIDTH^2, so that the sigmoid is not saturated. Not torch's Bilinear: autocast passes it over.
        self.weight = nn.Parameter(torch.randn(width, WIDTH, WIDTH) / WIDTH)
        self.bias = nn.Parameter(torch.zeros(width))
        self.out = nn.Sequential(scaled_linear(width, width, gain=gain), nn.ReLU(), nn.Dropout(settings.dropout))

    def passing(self, slide: Tensor, profile: Tensor) -> Tensor:
        """Return the log odds (B, gated_width) that a component passes, bilinear in the two embeddings."""
        return (torch.einsum("bi,oij->boj", slide, self.weight) * profile.unsqueeze(1)).sum(dim=2) + self.bias

    def forward(self, own: Tensor, slide: Tensor, profile: Tensor) -> Tensor:
        """Return (B, gated_width) of one of the two embeddings (B, WIDTH)."""
        return self.out(self.reduce(own) * torch.sigmoid(self.passing(slide, profile)))


def kronecker(first: Tensor, second: Tensor) -> Tensor:
    """Return all products of two vectors, each with a one appended, (B, (n + 1) (m + 1)): the vectors stay in it."""
    first, second = (nn.functional.pad(vector, (0, 1), value=1.0) for vector in (first, second))
    return torch.einsum("bn,bm->bnm", first, second).flatten(1)


@register("bilinear", label="Bilinear", modalities="pg")
class Bilinear(LateFusion):
    """AttMIL and SNN, each gated, and fused by their Kronecker product."""

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        settings = BilinearSettings(**options)
        width, fused, gain = settings.gated_width, settings.fused_width, math.sqrt(2)
        super().__init__(inputs, dropout=settings.dropout, fused_width=fused)
        self.gate_slide, self.gate_profile = Gate(settings), Gate(settings)
        self.mix = nn.Sequential(
            nn.Dropout(settings.dropout),
            scaled_linear((width + 1) ** 2, fused, gain=gain),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
        )
        self.skip = nn.Sequential(
            scaled_linear(fused + 2 * width, fused, gain=gain), nn.ReLU(), nn.Dropout(settings.dropout)
        )

    def fuse(self, slide: Tensor, profile: Tensor) -> Tensor:
        """Return (B, fused_width)."""
        gated = self.gate_slide(slide, slide, profile), self.gate_profile(profile, slide, profile)  # (B, gated_width)
        mixed = self.mix(kronecker(*gated))  # (B, fused_width)
        return self.skip(torch.cat([mixed, *gated], dim=1))
