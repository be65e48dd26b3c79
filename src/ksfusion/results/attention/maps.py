"""Where a model looks: its attention on the cells of the map, and on the patches that stand in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from ksfusion.core.errors import UserError

if TYPE_CHECKING:
    from ksfusion.methods.deformable import CMDeform
    from ksfusion.methods.output import Method, MethodOutput

# Of a method with one attention over the patches.
WHOLE = "attention"


def attention_maps(model: Method, out: MethodOutput) -> dict[str, np.ndarray]:
    """Return the attention that each cell of the map receives from a model.

    Parameters
    ----------
    model
        A method, in evaluation mode.
    out
        Its output for B samples.

    Returns
    -------
    dict of stream to numpy.ndarray (B, n_patches), float64
        Row by row of the map. A stream's attention on its sampling points is spread over the cells that were sampled,
        and averaged over heads; its cells sum to one, less what was sampled outside of the map
        (`ksfusion.methods.released`). A method without sampling points has a weight for each patch: ``attention``
        alone, or one for each stream.

    Raises
    ------
    UserError
        If the method has no attention over patches.
    """
    if isinstance(out.attention, Tensor):
        return {WHOLE: out.attention.double().numpy()}
    if not out.attention:
        raise UserError("heatmaps.methods: the method returns no attention over patches; remove it")
    if not out.points:
        return {stream: weights.double().numpy() for stream, weights in out.attention.items()}
    return {
        stream: spread_attention(_layer_of(model, stream), out.points[stream], attention)
        for stream, attention in out.attention.items()
    }


def _layer_of(model: Method, stream: str) -> CMDeform:
    """Return the layer with which a stream samples the map."""
    return cast("CMDeform", model.get_submodule(f"streams.{stream}.attend"))


def spread_attention(attend: CMDeform, points: Tensor, attention: Tensor) -> np.ndarray:
    """Spread the attention on sampling points over the cells of the map.

    Sampling is linear in the map, so that the share of a cell in what was sampled is the gradient with respect to it:
    the weights are those of the layer's own sampling, its borders and conventions included.

    Parameters
    ----------
    attend
        The layer that sampled.
    points : Tensor (B, heads, P, 2)
        The sampling points, (x, y) with the map's corners at -1 and 1.
    attention : Tensor (B, heads, P)
        The attention of each point; sums to one for each head.

    Returns
    -------
    numpy.ndarray (B, side * side), float64
    """
    with torch.enable_grad():
        shape = (len(points), attend.side, attend.side, attend.heads, 1)
        maps = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
        sampled = attend.sample(maps, points.double().transpose(0, 1)).squeeze(-1)  # (heads, B, P)
        received = (sampled * attention.double().transpose(0, 1)).sum()
        (cells,) = torch.autograd.grad(received, maps)
    return cells.mean(dim=(3, 4)).flatten(1).numpy()


def sum_by_patch(cells: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the attention of each patch, the sum over the cells in which it stands.

    Parameters
    ----------
    cells : numpy.ndarray (n_patches,)
        The attention of the cells of one map.
    index : numpy.ndarray (n_patches,)
        Number of the slide's patch in each cell.
    """
    return np.bincount(index, weights=cells)


def share_for_half(relative: np.ndarray, cells: np.ndarray) -> float:
    """Return the smallest share of the map's cells that holds half of the attention; 0.5 where all are alike.

    Parameters
    ----------
    relative : numpy.ndarray (patches,)
        Attention of a patch's cells, relative to an even share.
    cells : numpy.ndarray (patches,)
        Number of cells of the map that hold each patch.
    """
    order = np.argsort(-relative, kind="stable")
    held, covered = np.cumsum((relative * cells)[order]), np.cumsum(cells[order])
    half = held[-1] / 2
    last = np.searchsorted(held, half)
    # Of the patch that passes the half, as much as is needed.
    needed = (half - (held[last] - (relative * cells)[order[last]])) / relative[order[last]]
    return float((covered[last] - cells[order[last]] + needed) / covered[-1])
