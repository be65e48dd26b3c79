"""What the output for a sample owes to each of its genes: integrated gradients (Sundararajan et al. 2017).

The gradient of the output is averaged along the straight line from a baseline, the mean of the training samples, to the
sample's own genes, and multiplied by how far they lie apart: the parts of all genes sum to the difference of the two
outputs (completeness). The slide stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias, cast

import torch
from torch import Tensor

from ksfusion.methods.output import Method
from ksfusion.results.modalities.pairs import rows_of
from ksfusion.terms.tasks import PREDICTED, TaskOutcome
from ksfusion.training.data import FoldData
from ksfusion.training.losses import risk

# What is explained, of logits (B, n_outputs): one number for each sample, (B,).
Target: TypeAlias = Callable[[Tensor], Tensor]
# Points on the path at which the gradient is taken (Gauss-Legendre).
STEPS = 8
# Points of all samples that are computed together.
AT_ONCE = 64
RISK = "risk"


def explained_outputs(task: TaskOutcome, *, sd: float = 1.0) -> dict[str, Target]:
    """Return what is explained of a task, by name.

    Of classes the logit of each less the mean of all: what is common to all logits changes no probability. Of survival
    the ``risk``, of regression the number itself, ``predicted``.

    Parameters
    ----------
    task
        The task.
    sd
        Standard deviation by which a regression's values were scaled for training.
    """
    if task.kind == "classification":
        return {name: partial(_of_class, number=number) for number, name in enumerate(task.classes)}
    if task.kind == "survival":
        return {RISK: _risk}
    return {PREDICTED: partial(_number, sd=sd)}


def _of_class(logits: Tensor, number: int) -> Tensor:
    return logits[:, number] - logits.mean(dim=1)


def _risk(logits: Tensor) -> Tensor:
    return risk(logits) if logits.shape[1] > 1 else logits[:, 0]


def _number(logits: Tensor, sd: float) -> Tensor:
    return sd * logits[:, 0]


def training_mean(data: FoldData) -> dict[str, Tensor]:
    """Return the mean of the training samples' genes, niche to (genes,): about zero where they are z-scores."""
    train = torch.from_numpy((data.samples["split"] == "train").to_numpy(bool))
    return {niche: values[train].mean(dim=0) for niche, values in data.genes.items()}


def integrated_gradients(
    model: Method,
    patches: Tensor | None,
    genes: Mapping[str, Tensor],
    *,
    target: Target,
    baseline: Mapping[str, Tensor] | None = None,
    steps: int = STEPS,
) -> dict[str, Tensor]:
    """Return what the output for each sample owes to each gene.

    Parameters
    ----------
    model
        A method that reads genes, in evaluation mode.
    patches : Tensor (B, n_patches, n_features)
        The map; None for a method that reads no patches.
    genes : mapping of niche to Tensor (B, genes)
        The genes, on the device of the model.
    target
        What is explained: one of `explained_outputs`.
    baseline : mapping of niche to Tensor (genes,)
        Where the path starts; by default at zero, the training mean of z-scores.
    steps
        Points on the path; more bring the sum over genes closer to the difference of the outputs.

    Returns
    -------
    dict of niche to Tensor (B, genes)
        Positive where a gene raises the output above that of the baseline.
    """
    from captum.attr import IntegratedGradients

    read = [niche for niche, values in genes.items() if values.shape[1]]
    with torch.no_grad():
        of_patches = None if patches is None else model.of_patches(patches)

    def output(*values: Tensor) -> Tensor:
        *of_niches, sample = values
        along = {**genes, **dict(zip(read, of_niches, strict=True))}
        if of_patches is None:
            return target(model(None, along).logits)
        return target(model.join(rows_of(of_patches, sample), model.of_genes(along)).logits)

    n_samples = len(genes[read[0]])
    first = {niche: torch.zeros_like(genes[niche]) for niche in read}
    if baseline is not None:
        first = {niche: baseline[niche].to(genes[niche]).expand_as(genes[niche]) for niche in read}
    found = IntegratedGradients(output).attribute(
        tuple(genes[niche] for niche in read),
        baselines=tuple(first.values()),
        additional_forward_args=(torch.arange(n_samples, device=genes[read[0]].device),),
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=max(AT_ONCE, n_samples),
    )
    parts = dict(zip(read, cast(tuple[Tensor, ...], found), strict=True))
    return {niche: parts.get(niche, torch.zeros_like(values)).detach() for niche, values in genes.items()}
