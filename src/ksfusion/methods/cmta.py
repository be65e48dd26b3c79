"""CMTA: each modality is translated into the other, and its translation is to be like what its own encoder sees.

Zhou and Chen: Cross-modal translation and alignment for survival analysis, ICCV 2023, arXiv:2309.12855.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ksfusion.methods.gene_groups import GroupedGenes
from ksfusion.methods.layers import CoAttention, scaled_linear
from ksfusion.methods.mcat import fusion_layers
from ksfusion.methods.nystrom import NystromTransformer, weights_of_patches
from ksfusion.methods.output import AuxiliaryLoss, Method, MethodOutput, Parts
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class CMTASettings:
    """Sizes of the source (its small model), and its weight of the alignment losses; it drops out a quarter."""

    width: int = 256
    gene_hidden: int = 1024
    heads: int = 8
    n_landmarks: int = 128
    translation_weight: float = 0.5
    dropout: float = 0.25


class Translator(nn.Module):
    """One modality: the encoder of its own tokens, and the decoder of what the other modality makes of them."""

    def __init__(self, settings: CMTASettings, *, positions: bool) -> None:
        super().__init__()
        self.encode, self.decode = (
            NystromTransformer(
                settings.width,
                heads=settings.heads,
                n_landmarks=settings.n_landmarks,
                dropout=settings.dropout,
                positions=positions,
            )
            for _ in range(2)
        )
        self.attend = CoAttention(settings.width)  # from this modality's tokens to those of the other
        for transformer in (self.encode, self.decode):
            nn.init.normal_(transformer.class_token, std=1e-6)


@register("cmta", label="CMTA", modalities="pg")
class CMTA(Method):
    """Patches and groups of genes, each encoded, and decoded from the other. The order of the patches matters."""

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__()
        self.settings = settings = CMTASettings(**options)
        width, gain = settings.width, math.sqrt(2)
        self.embed = nn.Sequential(
            scaled_linear(inputs.n_features, width, gain=gain),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            scaled_linear(width, width, gain=gain),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
        )
        self.genes = GroupedGenes(inputs, (settings.gene_hidden, width), dropout=settings.dropout)
        self.slide, self.profile = Translator(settings, positions=True), Translator(settings, positions=False)
        self.mix = fusion_layers(width)
        self.classifier = scaled_linear(width, inputs.n_outputs)

    def of_patches(self, patches: Tensor) -> Parts:
        """Return the slide (B, width), its tokens (B, square, width), and how many patches there are."""
        slide, tokens = self.slide.encode(self.embed(patches))
        return slide, tokens, patches.shape[1]

    def of_genes(self, genes: Mapping[str, Tensor]) -> Parts:
        """Return the profile (B, width) and its tokens, a group of genes each, (B, G, width)."""
        profile, tokens = self.profile.encode(self.genes(genes))
        return profile, tokens

    def join(self, of_patches: Parts, of_genes: Parts) -> MethodOutput:
        """Translate each modality into the other, and classify both with their translations."""
        (slide, patch_tokens, n_patches), (profile, gene_tokens) = of_patches, of_genes
        slide_in_genes, _ = self.slide.attend(patch_tokens, gene_tokens)
        genes_in_slide, attention = self.profile.attend(gene_tokens, patch_tokens)  # (B, G, width), (B, G, square)
        slide_translated, _ = self.slide.decode.of_class(slide_in_genes)
        profile_translated, _ = self.profile.decode.of_class(genes_in_slide)
        both = torch.cat([slide + slide_translated, profile + profile_translated], dim=1) / 2
        return MethodOutput(
            self.classifier(self.mix(both)),
            attention=weights_of_patches(attention.mean(dim=1), n_patches),
            embeddings={"patches": slide, "genes": profile},
            translations={"patches": slide_translated, "genes": profile_translated},
        )

    def auxiliary_losses(self, out: MethodOutput) -> dict[str, AuxiliaryLoss]:
        """Return how far each translation is from its encoder's class token, which is taken as given."""
        return {
            f"translation_{name}": AuxiliaryLoss(
                self.settings.translation_weight, functional.l1_loss(translation, out.embeddings[name].detach())
            )
            for name, translation in out.translations.items()
        }
