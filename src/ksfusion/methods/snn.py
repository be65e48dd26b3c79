"""SNN: a self-normalising network on the genes of both niches.

Klambauer et al.: Self-normalizing neural networks, NeurIPS 2017, arXiv:1706.02515; with ELU and two hidden layers of
256 as the gene-only network of PORPOISE (Chen et al., Cancer Cell 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ksfusion.methods.layers import scaled_linear, self_normalising_network
from ksfusion.methods.output import Method, MethodOutput
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class SNNSettings:
    """Sizes as in the source."""

    widths: tuple[int, ...] = (256, 256)
    dropout: float = 0.1


class ProfileEncoder(nn.Module):
    """Embed the genes of all niches together."""

    def __init__(self, niches: Mapping[str, Sequence[str]], settings: SNNSettings) -> None:
        super().__init__()
        self.niches = tuple(niches)
        n_genes = sum(len(symbols) for symbols in niches.values())
        self.layers = self_normalising_network((n_genes, *settings.widths), dropout=settings.dropout)

    def forward(self, genes: Mapping[str, Tensor]) -> Tensor:
        """Return embeddings (B, widths[-1]) of the genes of each niche, (B, genes)."""
        return self.layers(torch.cat([genes[niche] for niche in self.niches], dim=1))


@register("snn", label="SNN", modalities="g")
class SNN(Method):
    """Classify a sample from its genes; patches are ignored."""

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__()
        settings = SNNSettings(**options)
        self.encoder = ProfileEncoder(inputs.niches, settings)
        self.classifier = scaled_linear(settings.widths[-1], inputs.n_outputs)

    def forward(self, patches: Tensor | None, genes: Mapping[str, Tensor]) -> MethodOutput:
        """Classify samples from the genes of each niche, (B, genes)."""
        embedded = self.encoder(genes)  # (B, width)
        return MethodOutput(self.classifier(embedded), embeddings={"genes": embedded})
