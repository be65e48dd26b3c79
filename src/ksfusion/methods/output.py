"""What a method is to training and to the figures: its output, and the two hooks that training asks it for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor, nn


@dataclass(frozen=True)
class MethodOutput:
    """What a method returns for a batch of B samples; None or empty where it has no such thing.

    Attributes
    ----------
    logits : Tensor (B, n_outputs)
        Log odds of the classes, or of the hazards of the survival intervals.
    attention : Tensor (B, N), or mapping of stream to Tensor
        Weights that sum to one over patches; for a method with streams, over its sampling points.
    points : mapping of stream to Tensor (B, groups, n_points, 2)
        Where the map was sampled, (x, y) with the map's corners at -1 and 1.
    embeddings : mapping of stream to Tensor (B, width)
        What the classifier is given, in its order.
    gene_embeddings : mapping of stream to Tensor (B, width)
        Output of the gene encoder.
    translations : mapping of modality to Tensor (B, width)
        What the other modality makes of the embedding of that name.
    both : Tensor of int64
        Numbers of the samples that have slide and genes; None where all have.
    """

    logits: Tensor
    attention: Tensor | Mapping[str, Tensor] | None = None
    points: Mapping[str, Tensor] = field(default_factory=dict)
    embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    gene_embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    translations: Mapping[str, Tensor] = field(default_factory=dict)
    both: Tensor | None = None

    def of_both(self, name: str, stream: str) -> Tensor:
        """Return the rows of a mapping, such as ``points``, of the samples that have slide and genes."""
        rows: Tensor = getattr(self, name)[stream]
        return rows if self.both is None else rows[self.both]


# What a method makes of one modality: a tensor with the B samples first, or a mapping or tuple of such.
Parts: TypeAlias = Any


class AuxiliaryLoss(NamedTuple):
    """A loss that a method adds to that of the task."""

    weight: float
    value: Tensor  # scalar


class Method(nn.Module):
    """Base of all methods: without more, training uses its logits alone.

    A method whose first layers see one modality alone has them in `of_patches` and `of_genes`, and what follows in
    `join`, of which ``forward`` is made: so many pairs of a slide and a profile are computed at little cost. Another
    method has a ``forward`` of its own.

    A method that has a stand-in for a slide or genes that are missing takes a third argument, a
    `ksfusion.methods.stand_ins.Present`; patches and genes then have rows of the samples alone that have them.

    A method that is fitted to patches before it is trained has their largest number in ``patches_to_see``, and keeps
    what it fits in buffers.
    """

    patches_to_see = 0

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor]) -> MethodOutput:
        """Classify samples from their patches (B, N, n_features) and the genes of each niche, (B, genes)."""
        return self.join(self.of_patches(patches), self.of_genes(genes))

    def of_patches(self, patches: Tensor) -> Parts:
        """Return what is made of patches (B, N, n_features) alone: the patches where nothing is."""
        return patches

    def of_genes(self, genes: Mapping[str, Tensor]) -> Parts:
        """Return what is made of the genes of each niche, (B, genes), alone: the genes where nothing is."""
        return genes

    def join(self, of_patches: Parts, of_genes: Parts) -> MethodOutput:
        """Return the output for what `of_patches` and `of_genes` return of the same B samples."""
        if type(self).forward is Method.forward:
            raise NotImplementedError(f"{type(self).__name__} has neither forward nor join; write forward")
        output: MethodOutput = self(of_patches, of_genes)
        return output

    def see_patches(self, patches: np.ndarray) -> None:
        """Fit what is to be fitted to patches (n, n_features) of training slides, before the first step."""

    def auxiliary_losses(self, out: MethodOutput) -> Mapping[str, AuxiliaryLoss]:
        """Return the losses that training adds to that of the task, under their names in ``history.tsv``."""
        return {}

    def coordinated_classifier(self) -> nn.Linear | None:
        """Return the linear classifier on the concatenated embeddings whose gradient training coordinates."""
        return None
