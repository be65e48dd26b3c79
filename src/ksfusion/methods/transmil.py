"""TransMIL: a transformer over the patches of a slide, with Nystrom attention and pyramid position encoding.

Shao et al.: TransMIL, NeurIPS 2021, arXiv:2106.00908.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ksfusion.methods.layers import scaled_linear
from ksfusion.methods.nystrom import NystromTransformer
from ksfusion.methods.output import Method, MethodOutput
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class TransMILSettings:
    """Sizes of the source."""

    width: int = 512
    heads: int = 8
    n_landmarks: int = 256
    dropout: float = 0.1


@register("transmil", label="TransMIL", modalities="p")
class TransMIL(Method):
    """Classify a slide from its class token; genes are ignored. The order of the patches matters."""

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__()
        settings = TransMILSettings(**options)
        self.embed = nn.Sequential(scaled_linear(inputs.n_features, settings.width, gain=math.sqrt(2)), nn.ReLU())
        self.transformer = NystromTransformer(
            settings.width,
            heads=settings.heads,
            n_landmarks=settings.n_landmarks,
            dropout=settings.dropout,
            positions=True,
        )
        self.classifier = scaled_linear(settings.width, inputs.n_outputs)

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor]) -> MethodOutput:
        """Classify slides from their patches (B, N, n_features)."""
        slide, attention = self.transformer.of_class(self.embed(patches))
        return MethodOutput(self.classifier(slide), attention=attention, embeddings={"patches": slide})
