"""KS-Fusion as its released code computes it, for comparison with the paper's text.

What differs is listed in the classes below, and how it is trained in `ksfusion.training.released`. The released code
cut survival time at the quartiles of all patients, those of the test set included; here at those of all training cases.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ksfusion.methods.deformable import CMDeform, sample_bilinear
from ksfusion.methods.ksfusion import KSFusion, Stream
from ksfusion.methods.position_bias import PositionBias
from ksfusion.methods.registry import Inputs, register


class ReleasedDeform(CMDeform):
    """A position bias is added to the logits, and the sampling takes the corners' centres for the map's edges."""

    def __init__(self, side: int, *, width: int, **sizes: Any) -> None:
        super().__init__(side, width=width, **sizes)
        self.position_bias = PositionBias(side, width // 4)

    def sample(self, maps: Tensor, points: Tensor) -> Tensor:
        """Sample with -1 and 1 at the map's outer edges (though the points have them at the corners' centres).

        Outside the map features are zero.
        """
        side = self.side + 2  # with a ring of zeros
        ringed = functional.pad(maps, (0, 0, 0, 0, 1, 1, 1, 1))
        position = ((points + 1) * self.side - 1) / 2 + 1  # in patches from the ring's corner
        return sample_bilinear(ringed, 2 * position / (side - 1) - 1)

    def biased(self, logits: Tensor, points: Tensor) -> Tensor:
        """Add the position bias to logits (heads, B, N, P)."""
        return logits + self.position_bias(points)


class ReleasedStream(Stream):
    """One niche, with the released attention."""

    attention = ReleasedDeform


def row_similarity(rows: Tensor) -> Tensor:
    """Return the Gram matrix (..., B, B) of rows (..., B, width), its own rows scaled to unit length."""
    gram = rows @ rows.mT
    return gram / gram.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(gram.dtype).tiny)


def released_ge_con(genes: Tensor, points: Tensor, *, line: int) -> Tensor:
    """Return the released code's consistency loss.

    Sampling points are in cells of the reference grid. Their tensor has samples before groups in its first axis, and
    is cut into as many slices as there are groups: a slice mixes samples and groups. The mean of the slices' similarity
    is compared with that of the genes.

    Parameters
    ----------
    genes : Tensor (B, width)
        Gene embeddings.
    points : Tensor (B, groups, n_points, 2)
        Sampling points, from -1 to 1.
    line
        Points along one side of the reference grid.
    """
    cells = (points + 1) / 2 * max(line - 1, 1)
    slices = cells.flatten(2).reshape(points.shape[1], points.shape[0], -1)  # (groups, B, 2 n_points)
    difference = row_similarity(genes) - row_similarity(slices).mean(dim=0)
    return difference.square().sum() / len(genes)


def draw_as_released(model: nn.Module) -> None:
    """Draw the weights and biases of linear layers as the released code has them: by torch's own scheme.

    That is evenly from -1 / sqrt(fan-in) to 1 / sqrt(fan-in), a standard deviation of 1 / sqrt(3 fan-in). The gene
    encoders keep variance 1 / fan-in and biases of zero, which the released code has there too, and convolutions the
    scheme of torch that they were drawn by. The last layer of a position bias is a vector (width,).
    """
    for name, layer in model.named_modules():
        if isinstance(layer, PositionBias):
            nn.init.uniform_(layer.last, -(len(layer.last) ** -0.5), len(layer.last) ** -0.5)
        elif isinstance(layer, nn.Linear) and "encode_genes" not in name.split("."):
            layer.reset_parameters()


@register(
    "ksfusion-released",
    label="KS-Fusion, released code",
    modalities="pg",
    settings=("alpha",),
    min_patches=4,
    training="released",
)
class ReleasedKSFusion(KSFusion):
    """KS-Fusion with the released code's attention, first weights, consistency loss and training."""

    stream = ReleasedStream

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__(inputs, **options)
        draw_as_released(self)

    def consistency(self, niche: str, genes: Tensor, points: Tensor) -> Tensor:
        """Return the released consistency loss of a stream."""
        attend = cast(Stream, self.streams[niche]).attend
        return released_ge_con(genes, points, line=attend.points_per_line)
