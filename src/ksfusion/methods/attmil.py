"""AttMIL: gated attention over the patches of a slide.

Ilse, Tomczak, Welling: Attention-based deep multiple instance learning, ICML 2018, arXiv:1802.04712, eq. 8 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ksfusion.methods.output import Method, MethodOutput
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class AttMILSettings:
    """Sizes as in the source's network for histology patches."""

    width: int = 512
    attention_width: int = 128
    dropout: float = 0.1


@register("attmil", modalities="p")
class AttMIL(Method):
    """Embed each patch, weigh patches by gated attention, classify their weighted mean; genes are ignored.

    Layers keep torch's initialisation (uniform, Kaiming), which suits ReLU and tanh layers of this depth.
    """

    def __init__(self, inputs: Inputs, **options: float) -> None:
        super().__init__()
        settings = AttMILSettings(**options)
        self.embed = nn.Sequential(
            nn.Linear(inputs.n_features, settings.width), nn.ReLU(), nn.Dropout(settings.dropout)
        )
        self.attend = nn.Linear(settings.width, settings.attention_width)
        self.gate = nn.Linear(settings.width, settings.attention_width)
        self.score = nn.Linear(settings.attention_width, 1)
        self.classifier = nn.Linear(settings.width, inputs.n_outputs)

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor]) -> MethodOutput:
        """Classify slides from their patches (B, N, n_features)."""
        embedded = self.embed(patches)  # (B, N, width)
        gated = torch.tanh(self.attend(embedded)) * torch.sigmoid(self.gate(embedded))  # (B, N, attention_width)
        attention = self.score(gated).squeeze(-1).softmax(dim=1)  # (B, N)
        slide = torch.einsum("bn,bnd->bd", attention, embedded)  # (B, width)
        return MethodOutput(self.classifier(slide), attention=attention, embeddings={"patches": slide})
