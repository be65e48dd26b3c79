"""Base of concatenation, addition and bilinear fusion: a slide embedding by AttMIL and a gene embedding by SNN.

The encoders are those of `ksfusion.methods.attmil` and `ksfusion.methods.snn`; the common width of 256 is that of
PORPOISE (Chen et al., Cancer Cell 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from ksfusion.methods.attmil import AttMILSettings, SlideEncoder
from ksfusion.methods.layers import scaled_linear
from ksfusion.methods.output import Method, MethodOutput, Parts
from ksfusion.methods.registry import Inputs
from ksfusion.methods.snn import ProfileEncoder, SNNSettings
from ksfusion.methods.stand_ins import Present, StandIn

WIDTH = 256


class LateFusion(Method):
    """Encode each modality by itself, fuse the two embeddings (not two predictions), and classify the result.

    Parameters
    ----------
    inputs
        Width of the features, genes of each niche, and number of outputs.
    dropout
        Probability of dropout in the slide encoder, and of alpha dropout in the gene encoder.
    fused_width
        Width of the fused embedding, which `fuse` returns.
    stand_ins
        Whether there is a learned embedding for a slide, and for genes, that are missing.
    """

    slide_encoder: type[SlideEncoder] = SlideEncoder

    def __init__(self, inputs: Inputs, *, dropout: float, fused_width: int, stand_ins: bool = False) -> None:
        super().__init__()
        attmil, snn = AttMILSettings(dropout=dropout), SNNSettings(widths=(WIDTH, WIDTH), dropout=dropout)
        self.slide = self.slide_encoder(inputs.n_features, attmil)
        self.project = nn.Sequential(
            scaled_linear(attmil.width, WIDTH, gain=math.sqrt(2)), nn.ReLU(), nn.Dropout(dropout)
        )
        self.profile = ProfileEncoder(inputs.niches, snn)
        self.classifier = scaled_linear(fused_width, inputs.n_outputs)
        if stand_ins:
            self.no_slide, self.no_profile = StandIn(WIDTH), StandIn(WIDTH)

    def fuse(self, slide: Tensor, profile: Tensor) -> Tensor:
        """Return the fused embedding (B, fused_width) of a slide and a gene embedding, both (B, WIDTH)."""
        raise NotImplementedError

    def of_patches(self, patches: Tensor) -> Parts:
        """Return the slide embedding (B, WIDTH) and the attention (B, N) of patches (B, N, n_features)."""
        pooled, attention = self.slide(patches)
        return self.project(pooled), attention

    def of_genes(self, genes: Mapping[str, Tensor]) -> Parts:
        """Return the gene embedding (B, WIDTH) from the genes of each niche, (B, genes)."""
        return self.profile(genes)

    def join(self, of_patches: Parts, of_genes: Parts) -> MethodOutput:
        """Fuse the embeddings of slide and genes, and classify the result."""
        slide, attention = of_patches
        logits = self.classifier(self.fuse(slide, of_genes))
        return MethodOutput(logits, attention=attention, embeddings={"patches": slide, "genes": of_genes})

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor], present: Present | None = None) -> MethodOutput:
        """Classify samples from their patches (B, N, n_features) and the genes of each niche, (B, genes).

        Where some lack one of these (``present``), its stand-in takes the embedding's place; their attention is NaN.
        """
        if present is None:
            return self.join(self.of_patches(patches), self.of_genes(genes))
        slide, found = self.of_patches(patches)
        attention = found.new_full((present.n, found.shape[1]), math.nan).index_copy(0, present.patches, found)
        return self.join(
            (self.no_slide(slide, present.patches, present.n), attention),
            self.no_profile(self.of_genes(genes), present.genes, present.n),
        )
