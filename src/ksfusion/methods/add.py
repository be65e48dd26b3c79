"""Addition: one linear classifier on the sum of the embeddings of slide and profile."""

from __future__ import annotations

from torch import Tensor

from ksfusion.methods.fusion import WIDTH, LateFusion
from ksfusion.methods.registry import Inputs, register


@register("add", label="Addition", modalities="pg", partial=True)
class Addition(LateFusion):
    """AttMIL and SNN, added."""

    def __init__(self, inputs: Inputs, *, dropout: float = 0.1, stand_ins: bool = False) -> None:
        super().__init__(inputs, dropout=dropout, fused_width=WIDTH, stand_ins=stand_ins)

    def fuse(self, slide: Tensor, profile: Tensor) -> Tensor:
        """Return the sum of the embeddings, (B, WIDTH)."""
        return slide + profile
