"""AttMIL: gated attention over the patches of a slide.

Ilse, Tomczak, Welling: Attention-based deep multiple instance learning, ICML 2018, arXiv:1802.04712, eq. 8 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ksfusion.methods.layers import GatedPooling
from ksfusion.methods.output import Method, MethodOutput
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class AttMILSettings:
    """Sizes as in the source's network for histology patches."""

    width: int = 512
    attention_width: int = 128
    dropout: float = 0.1


class SlideEncoder(nn.Module):
    """Embed each patch, weigh patches by gated attention, and return their weighted mean.

    Layers keep torch's initialisation (uniform, Kaiming), which suits ReLU and tanh layers of this depth.
    """

    def __init__(self, n_features: int, settings: AttMILSettings) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(n_features, settings.width), nn.ReLU(), nn.Dropout(settings.dropout))
        self.pool = GatedPooling(settings.width, settings.attention_width)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slide (B, width) and the weights of its patches (B, N), from patches (B, N, n_features)."""
        return self.pool(self.embed(patches))


@register("attmil", label="AttMIL", modalities="p")
class AttMIL(Method):
    """Classify a slide from the weighted mean of its patches; genes are ignored."""

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__()
        settings = AttMILSettings(**options)
        self.encoder = SlideEncoder(inputs.n_features, settings)
        self.classifier = nn.Linear(settings.width, inputs.n_outputs)

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor]) -> MethodOutput:
        """Classify slides from their patches (B, N, n_features)."""
        slide, attention = self.encoder(patches)
        return MethodOutput(self.classifier(slide), attention=attention, embeddings={"patches": slide})
