"""Concatenation: one linear classifier on the embeddings of slide and profile side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from ksfusion.methods.fusion import WIDTH, LateFusion
from ksfusion.methods.registry import Inputs, register


@register("concat", label="Concatenation", modalities="pg", partial=True)
class Concatenation(LateFusion):
    """AttMIL and SNN, concatenated."""

    def __init__(self, inputs: Inputs, *, dropout: float = 0.1, stand_ins: bool = False) -> None:
        super().__init__(inputs, dropout=dropout, fused_width=2 * WIDTH, stand_ins=stand_ins)

    def fuse(self, slide: Tensor, profile: Tensor) -> Tensor:
        """Return both embeddings, (B, 2 WIDTH)."""
        return torch.cat([slide, profile], dim=1)
