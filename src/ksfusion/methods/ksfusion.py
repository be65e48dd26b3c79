"""KS-Fusion: the genes of each of two niches, tumour and microenvironment, guide where attention samples the slide.

Zhang et al.: Knowledge-driven subspace fusion and gradient coordination for multi-modal learning, MICCAI 2024,
arXiv:2406.13979; equation numbers are the paper's.

Shapes: B samples, N patches on a square map, P sampling points for each attention head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ksfusion.core.errors import UserError
from ksfusion.methods.consistency import ge_con
from ksfusion.methods.deformable import CMDeform
from ksfusion.methods.layers import scaled_linear, self_normalising_network
from ksfusion.methods.output import AuxiliaryLoss, Method, MethodOutput, Parts
from ksfusion.methods.registry import Inputs, register
from ksfusion.methods.stand_ins import Present, StandIn


@dataclass(frozen=True)
class KSFusionSettings:
    """Sizes of the paper; see `ksfusion.methods.deformable.CMDeform` for those of the attention."""

    gene_widths: tuple[int, ...] = (64, 48, 32, 128)  # layers of the gene encoder; the last is n_embedded
    width: int = 128  # channels of the patch map, of the multi-modal map and of z
    heads: int = 8
    head_width: int = 64
    grid: int = 12
    offset_cells: float = 4.0
    dropout: float = 0.1
    alpha: float | None = 0.5  # share of the tumour stream in Ge-Con; None leaves Ge-Con out
    cgcoord: bool = True  # False leaves CG-Coord out
    stand_ins: bool = False  # True: learned numbers for a slide or genes that are missing


class Stream(nn.Module):
    """One of the two streams: the genes of its niche and all patches, fused by CM-Deform into one vector z.

    Parameters
    ----------
    n_features, n_genes, side
        Width of a patch's features, number of genes of the niche, and side of the square map in patches.
    settings
        Sizes of the layers.
    """

    attention: type[CMDeform] = CMDeform

    def __init__(self, n_features: int, n_genes: int, side: int, settings: KSFusionSettings) -> None:
        super().__init__()
        width, n_embedded = settings.width, settings.gene_widths[-1]
        self.encode_genes = self_normalising_network((n_genes, *settings.gene_widths), dropout=settings.dropout)
        self.project = scaled_linear(n_features, width, gain=math.sqrt(2))  # for ReLU
        self.teach = scaled_linear(width + n_embedded, width)
        self.norm: nn.Module = nn.LayerNorm(width)  # one for both maps, as in the released code
        self.attend = self.attention(side, **self.attention_sizes(settings))
        self.norm_out = nn.LayerNorm(width)
        self.pool = nn.Sequential(
            scaled_linear(width, width, gain=5 / 3),  # for tanh
            nn.Tanh(),
            scaled_linear(width, width),
        )
        if settings.stand_ins:
            self.no_patches, self.no_genes = StandIn(width), StandIn(n_embedded)

    @classmethod
    def attention_sizes(cls, settings: KSFusionSettings) -> dict[str, Any]:
        """Return the arguments of the attention, beside the side of the map."""
        names = ("width", "heads", "head_width", "grid", "offset_cells", "dropout")
        return {name: getattr(settings, name) for name in names}

    def teaching(self) -> tuple[Tensor, Tensor]:
        """Return the teacher layer's weight in two parts: W_patch (width, width) and W_gene (width, n_embedded).

        W [patch, gene] + b = W_patch patch + (W_gene gene + b): the gene embedding is not repeated over the patches.
        """
        width = self.teach.out_features
        of_patch, of_gene = self.teach.weight.split([width, self.teach.in_features - width], dim=1)
        return of_patch, of_gene

    def of_patches(self, patches: Tensor, present: Present | None = None) -> tuple[Tensor, Tensor]:
        """Return the share of the multi-modal map that patches (B, N, n_features) make alone, and the patch map.

        The share is W_patch patch, see `teaching`; the patch map is layer-normalised. Both are (B, N, width). The map
        of a sample without patches has one learned patch everywhere.
        """
        patch = functional.relu(self.project(patches))
        if present is not None:
            patch = self.no_patches(patch, present.patches, present.n)
        return functional.linear(patch, self.teaching()[0]), self.norm(patch)

    def forward(
        self, taught: Tensor, patch: Tensor, genes: Tensor, present: Present | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Embed the genes, and let them guide the attention on the patch map.

        Parameters
        ----------
        taught, patch : Tensor (B, N, width)
            Share of the patches in the multi-modal map, and patch map, as `of_patches` returns them.
        genes : Tensor (B, n_genes)
            Scaled expression of the niche's genes.
        present
            Which samples have genes, where some lack them; a learned embedding stands for those of the others.

        Returns
        -------
        z : Tensor (B, width)
        gene : Tensor (B, n_embedded)
            Gene embedding.
        points, attention
            Sampling points (B, heads, P, 2) and their attention (B, heads, P), as `CMDeform` returns them.
        """
        gene = functional.relu(self.encode_genes(genes))  # (B, n_embedded)
        if present is not None:
            gene = self.no_genes(gene, present.genes, present.n)
        guidance = functional.linear(gene, self.teaching()[1], self.teach.bias)  # (B, width)
        teacher = taught + guidance.unsqueeze(1)  # (B, N, width), the multi-modal map
        attended, points, attention = self.look(teacher, guidance, patch)
        z = self.pool(self.norm_out(self.fuse(teacher, guidance, attended)).mean(dim=1))  # (B, width)
        return z, gene, points, attention

    def look(self, teacher: Tensor, guidance: Tensor, patch: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Attend to the patch map: what the attention returns (`CMDeform.forward`).

        Parameters
        ----------
        teacher, patch : Tensor (B, N, width)
            Multi-modal map, and patch map, which is layer-normalised.
        guidance : Tensor (B, width)
            Share of the genes in the multi-modal map.
        """
        attended: tuple[Tensor, Tensor, Tensor | None] = self.attend(self.norm(teacher), patch)
        return attended

    def fuse(self, teacher: Tensor, guidance: Tensor, attended: Tensor) -> Tensor:
        """Return what z is pooled from, (B, N, width): with the released code's residual from the multi-modal map."""
        return teacher + attended


@register(
    "ksfusion",
    label="KS-Fusion",
    modalities="pg",
    settings=("alpha",),
    partial=True,
    min_patches=4,
    variants={
        "ksfusion-no-gecon": {"alpha": None},
        "ksfusion-no-cgcoord": {"cgcoord": False},
        "ksfusion-alpha000": {"alpha": 0.0},
        "ksfusion-alpha025": {"alpha": 0.25},
        "ksfusion-alpha050": {"alpha": 0.5},
        "ksfusion-alpha075": {"alpha": 0.75},
        "ksfusion-alpha100": {"alpha": 1.0},
    },
    labels={
        "ksfusion-no-gecon": "KS-Fusion without Ge-Con",
        "ksfusion-no-cgcoord": "KS-Fusion without CG-Coord",
    },
)
class KSFusion(Method):
    """Two streams, tumour and microenvironment, and one linear classifier on both.

    Parameters
    ----------
    inputs
        Sizes of the features and of the map (a square number of patches), and the genes of each niche.
    **options
        Fields of `KSFusionSettings`.
    """

    stream: type[Stream] = Stream
    sizes: type[KSFusionSettings] = KSFusionSettings

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__()
        self.settings = self.sizes(**options)
        side = math.isqrt(inputs.n_patches)
        if side * side != inputs.n_patches:
            raise UserError(f"ksfusion needs a square map; patches.count is {inputs.n_patches}: use {side * side}")
        self.streams = nn.ModuleDict(
            {
                niche: self.stream(inputs.n_features, len(inputs.niches[niche]), side, self.settings)
                for niche in ("tumour", "tme")
            }
        )
        self.classifier = scaled_linear(2 * self.settings.width, inputs.n_outputs)

    def of_patches(self, patches: Tensor, present: Present | None = None) -> Parts:
        """Return for each stream what `Stream.of_patches` makes of patches (B, N, n_features)."""
        return {niche: cast(Stream, stream).of_patches(patches, present) for niche, stream in self.streams.items()}

    def join(self, of_patches: Parts, of_genes: Parts, present: Present | None = None) -> MethodOutput:
        """Run each stream with the genes of its niche, (B, n_genes), and classify the two z side by side."""
        results = {
            niche: stream(*of_patches[niche], of_genes[niche], present) for niche, stream in self.streams.items()
        }
        z, gene, points, attention = ({niche: result[part] for niche, result in results.items()} for part in range(4))
        return MethodOutput(
            self.classifier(torch.cat(list(z.values()), dim=1)),
            attention=None if self.training else attention,
            points=points,
            embeddings=z,
            gene_embeddings=gene,
            both=None if present is None else present.both,
        )

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor], present: Present | None = None) -> MethodOutput:
        """Classify samples from their patches (B, N, n_features) and the genes of each niche, (B, n_genes).

        Where some lack one of these (``present``), what was learned in its place stands in both streams.
        """
        return self.join(self.of_patches(patches, present), genes, present)

    def consistency(self, niche: str, genes: Tensor, points: Tensor) -> Tensor:
        """Return Ge-Con (eq. 4) of a stream, from gene embeddings (B, n_embedded) and points (B, heads, P, 2)."""
        return ge_con(genes, points)

    def auxiliary_losses(self, out: MethodOutput) -> dict[str, AuxiliaryLoss]:
        """Return Ge-Con of the streams, weighted as the total loss has them: L_task + alpha L_t + (1 - alpha) L_e.

        A stand-in has no likeness to compare: only samples with slide and genes are in it, and none of a batch without.
        """
        alpha = self.settings.alpha
        if alpha is None or (out.both is not None and not len(out.both)):
            return {}
        return {
            f"alignment_{niche}": AuxiliaryLoss(
                weight,
                self.consistency(niche, out.of_both("gene_embeddings", niche).float(), out.of_both("points", niche)),
            )
            for niche, weight in (("tumour", alpha), ("tme", 1 - alpha))
        }

    def coordinated_classifier(self) -> nn.Linear | None:
        """Return the classifier for CG-Coord (eq. 5), a half of its columns to each stream; None without CG-Coord."""
        return self.classifier if self.settings.cgcoord else None
