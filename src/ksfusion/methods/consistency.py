"""Ge-Con (eq. 4 of KS-Fusion): samples alike in genes are looked at alike."""

from __future__ import annotations

import torch
from torch import Tensor


def similarity(rows: Tensor) -> Tensor:
    """Return the Gram matrix (..., B, B) of rows (..., B, width) scaled to unit length; a row of zeros stays zero."""
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    unit = rows / torch.where(length > 0, length, 1)
    return unit @ unit.mT


def ge_con(genes: Tensor, points: Tensor) -> Tensor:
    """Return the gene-guided consistency loss of a stream.

    Parameters
    ----------
    genes : Tensor (B, width)
        Gene embeddings.
    points : Tensor (B, groups, n_points, 2)
        Sampling points, in the coordinates of the sampling (-1 to 1).

    Returns
    -------
    Tensor, scalar
        Frobenius norm of the difference of the Gram matrices, divided by B, averaged over groups. Where the norm is 0,
        so is its gradient.
    """
    by_group = points.flatten(2).transpose(0, 1)  # (groups, B, 2 n_points)
    difference = similarity(genes) - similarity(by_group)  # (groups, B, B)
    return torch.linalg.matrix_norm(difference).mean() / len(genes)
