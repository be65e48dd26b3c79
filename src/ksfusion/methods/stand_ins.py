"""What stands in the place of a slide or a profile that a sample lacks: learned numbers.

They are learned from the samples that lack one, and from those whose slide or genes are taken away for a step of
training ("modality dropout": Neverova et al., ModDrop, IEEE TPAMI 2016, arXiv:1501.00102).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Present:
    """Which of the B samples of a batch have a slide and which a profile: one of the two at least.

    Patches and genes of a batch have rows of these samples alone.

    Attributes
    ----------
    n
        B.
    patches, genes, both : Tensor of int64
        Numbers of the samples that have patches, genes, and both, ascending.
    """

    n: int
    patches: Tensor
    genes: Tensor
    both: Tensor


class StandIn(nn.Module):
    """A learned vector in the place of an embedding.

    Parameters
    ----------
    width
        Its length, that of the embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(width))

    def forward(self, found: Tensor, numbers: Tensor, n: int) -> Tensor:
        """Return the embeddings of all samples of a batch.

        Parameters
        ----------
        found : Tensor (n_found, ..., width)
            Embeddings of those that have what is embedded.
        numbers : Tensor (n_found,), int64
            Their numbers in the batch.
        n
            Samples of the batch.

        Returns
        -------
        Tensor (n, ..., width)
            The vector, repeated over any axes between, where a sample has none.
        """
        return self.vector.to(found.dtype).expand(n, *found.shape[1:]).index_copy(0, numbers, found)
