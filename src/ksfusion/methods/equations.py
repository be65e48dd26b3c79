"""KS-Fusion by its equations alone: without what only the released code has.

`ksfusion` follows the paper where that is complete, and the released code where it says more: a residual from the
multi-modal map, one layer norm on both maps before the attention, offsets made from the queries, and Gram matrices of
rows of unit length. Here are the equations as they stand.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ksfusion.methods.deformable import CMDeform
from ksfusion.methods.ksfusion import KSFusion, KSFusionSettings, Stream
from ksfusion.methods.registry import register


class EquationsDeform(CMDeform):
    """The offsets are made from the multi-modal map: dp = psi(x_pg) (eq. 1)."""

    offsets_from_queries = False


class EquationsStream(Stream):
    """One niche: no layer norm before the attention, and no residual around it."""

    attention = EquationsDeform

    def __init__(self, n_features: int, n_genes: int, side: int, settings: KSFusionSettings) -> None:
        super().__init__(n_features, n_genes, side, settings)
        self.norm = nn.Identity()

    def fuse(self, teacher: Tensor, guidance: Tensor, attended: Tensor) -> Tensor:
        """Return the output of the attention: genes reach z by where and with what queries it looks alone."""
        return attended


def plain_ge_con(genes: Tensor, points: Tensor) -> Tensor:
    """Return eq. 4 with Gram matrices as they are; shapes as of `ksfusion.methods.consistency.ge_con`."""
    by_group = points.flatten(2).transpose(0, 1)  # (groups, B, 2 n_points)
    difference = genes @ genes.mT - by_group @ by_group.mT
    return torch.linalg.matrix_norm(difference).mean() / len(genes)


@register("ksfusion-equations", label="KS-Fusion, equations alone", modalities="pg", settings=("alpha",), min_patches=4)
class EquationsKSFusion(KSFusion):
    """KS-Fusion without the parts that the released code alone has."""

    stream = EquationsStream

    def consistency(self, niche: str, genes: Tensor, points: Tensor) -> Tensor:
        """Return Ge-Con (eq. 4) of a stream, its Gram matrices not scaled."""
        return plain_ge_con(genes, points)
