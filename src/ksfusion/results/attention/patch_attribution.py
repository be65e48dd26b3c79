"""Attribution of a model's output to each patch: the gradient times the input, since attention is not attribution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ksfusion.methods.output import Method, MethodOutput
from ksfusion.terms.tasks import TaskKind
from ksfusion.training.losses import risk


def output_of(out: MethodOutput, kind: TaskKind) -> Tensor:
    """Return what is explained of each sample, (B,): the logit of its predicted class, its risk, or its value."""
    if kind == "classification":
        return out.logits.max(dim=1).values
    if kind == "survival" and out.logits.shape[1] > 1:
        return risk(out.logits)
    return out.logits[:, 0]


def patch_attribution(
    model: Method, patches: Tensor, genes: Mapping[str, Tensor], kind: TaskKind
) -> tuple[MethodOutput, np.ndarray]:
    """Return a model's output, and its gradient times the input, summed over the features of each cell of the map.

    Parameters
    ----------
    model
        A method that reads patches, in evaluation mode.
    patches : Tensor (B, n_patches, n_features)
        The map.
    genes : mapping of niche to Tensor (B, genes)
        The genes.
    kind
        Kind of the task.

    Returns
    -------
    out : MethodOutput
        Without gradients.
    parts : numpy.ndarray (B, n_patches), float64
        Its sign says whether a cell adds to the output or takes from it. For a model without biases that is linear in
        patches the cells sum to the output.
    """
    with torch.enable_grad():
        patches = patches.detach().clone().requires_grad_()
        out: MethodOutput = model(patches, genes)
        (gradient,) = torch.autograd.grad(output_of(out, kind).sum(), patches)
    return _detached(out), (gradient * patches.detach()).sum(dim=2).double().cpu().numpy()


def _detached(out: MethodOutput) -> MethodOutput:
    """Return the logits, the attention and the sampling points of an output, without gradients."""
    attention = out.attention
    if isinstance(attention, Mapping):
        attention = {stream: values.detach() for stream, values in attention.items()}
    elif attention is not None:
        attention = attention.detach()
    points = {stream: values.detach() for stream, values in out.points.items()}
    return MethodOutput(out.logits.detach(), attention=attention, points=points)
