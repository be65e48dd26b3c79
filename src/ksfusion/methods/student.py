"""KS-Fusion's student: patches alone, taught by a trained KS-Fusion, for hospitals that have no RNA.

For each stream of the teacher, tumour and microenvironment, gated attention (Ilse et al.: Attention-based deep multiple
instance learning, ICML 2018, arXiv:1802.04712) weighs the patches, and a linear layer makes of their mean the embedding
z that the teacher has from patches and genes.

Loss: L_task + T^2 KL(p_teacher || p_student) + the mean over both streams of MSE(z_student, z_teacher), each of weight
1. p are the class probabilities, or the hazards of the intervals, at a temperature T of 2 (Hinton et al. 2015,
arXiv:1503.02531); of a number, or Cox's log risk, the squared difference. The components of z_teacher have mean 0 and
standard deviation 1 over the training samples (feature distillation: Romero et al., FitNets, ICLR 2015,
arXiv:1412.6550). Of samples without genes L_task alone. See `ksfusion.training.distillation`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ksfusion.methods.layers import GatedPooling, scaled_linear
from ksfusion.methods.output import Method, MethodOutput
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class StudentSettings:
    """Sizes: those of AttMIL for the patches, and the teacher's for the embeddings."""

    patch_width: int = 512
    attention_width: int = 128
    width: int = 128
    dropout: float = 0.1


@register("ksfusion-student", label="KS-Fusion, student on slides", modalities="p", teacher="ksfusion")
class Student(Method):
    """Classify a slide from an embedding for each niche; genes are ignored."""

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__()
        settings = StudentSettings(**options)
        width = settings.patch_width
        self.embed = nn.Sequential(
            scaled_linear(inputs.n_features, width, gain=math.sqrt(2)), nn.ReLU(), nn.Dropout(settings.dropout)
        )
        self.pools = nn.ModuleDict({niche: GatedPooling(width, settings.attention_width) for niche in inputs.niches})
        self.project = nn.ModuleDict({niche: scaled_linear(width, settings.width) for niche in inputs.niches})
        self.classifier = scaled_linear(len(inputs.niches) * settings.width, inputs.n_outputs)

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor]) -> MethodOutput:
        """Classify slides from their patches (B, N, n_features)."""
        embedded = self.embed(patches)  # (B, N, patch_width)
        pooled = {niche: pool(embedded) for niche, pool in self.pools.items()}
        z = {niche: self.project[niche](slide) for niche, (slide, _) in pooled.items()}  # (B, width)
        return MethodOutput(
            self.classifier(torch.cat(list(z.values()), dim=1)),
            attention={niche: weights for niche, (_, weights) in pooled.items()},
            embeddings=z,
        )
