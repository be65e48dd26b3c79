"""Attribution of the output for a sample to each of its genes: integrated gradients (Sundararajan et al. 2017).

The gradient of the output is averaged along the straight line from a baseline, the mean of the training samples, to the
sample's own genes, and multiplied by how far they lie apart: the parts of all genes sum to the difference of the two
outputs (completeness). The slide stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias, cast

import torch
from torch import Tensor

from ksfusion.methods.output import Method
from ksfusion.results.modalities.pairs import rows_of
from ksfusion.terms.tasks import PREDICTED, RISK, TaskOutcome
from ksfusion.training.data import FoldData
from ksfusion.training.losses import risk

# What is explained, of logits (B, n_outputs): one number for each sample, (B,).
Target: TypeAlias = Callable[[Tensor], Tensor]
# Points on the path at which the gradient is taken (Gauss-Legendre): of one patient, and where means are told.
STEPS, STEPS_OF_MEANS = 32, 6
# Points of all samples that are computed together.
AT_ONCE = 64


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
    """Return the attribution of one output for each sample to each gene; see `integrated_gradients_of`.

    Parameters
    ----------
    model, patches, genes, baseline, steps
        As of `integrated_gradients_of`.
    target
        What is explained: one of `explained_outputs`.

    Returns
    -------
    dict of niche to Tensor (B, genes)
        Positive where a gene raises the output above that of the baseline.
    """
    (found,) = integrated_gradients_of(model, patches, genes, targets=[target], baseline=baseline, steps=steps)
    return found


def integrated_gradients_of(
    model: Method,
    patches: Tensor | None,
    genes: Mapping[str, Tensor],
    *,
    targets: Sequence[Target],
    baseline: Mapping[str, Tensor] | None = None,
    steps: int = STEPS,
) -> list[dict[str, Tensor]]:
    """Return the attribution of some outputs for each sample to each gene; the model is run once for all outputs.

    Parameters
    ----------
    model
        A method that reads genes, in evaluation mode.
    patches : Tensor (B, n_patches, n_features)
        The map; None for a method that reads no patches.
    genes : mapping of niche to Tensor (B, genes)
        The genes, on the device of the model.
    targets
        What is explained, of `explained_outputs`.
    baseline : mapping of niche to Tensor (genes,)
        Where the path starts; by default at zero, the training mean of z-scores.
    steps
        Points on the path; more bring the sum over genes closer to the difference of the outputs.

    Returns
    -------
    list of dict of niche to Tensor (B, genes)
        One for each target.
    """
    from captum.attr import IntegratedGradients

    read = [niche for niche, values in genes.items() if values.shape[1]]
    with torch.no_grad():
        of_patches = None if patches is None else model.of_patches(patches)

    def outputs(*values: Tensor) -> Tensor:
        *of_niches, sample = values
        along = {**genes, **dict(zip(read, of_niches, strict=True))}
        if of_patches is None:
            logits = model(None, along).logits
        else:
            logits = model.join(rows_of(of_patches, sample), model.of_genes(along)).logits
        return torch.stack([target(logits) for target in targets], dim=1)

    def with_targets(values: Tensor) -> Tensor:
        return values.unsqueeze(-2).expand(n_samples, len(targets), -1)

    n_samples = len(genes[read[0]])
    start = baseline or {niche: torch.zeros_like(genes[niche][0]) for niche in read}
    explain = IntegratedGradients(outputs)
    explain.gradient_func = _gradients_of_all
    found = explain.attribute(
        tuple(with_targets(genes[niche]) for niche in read),
        baselines=tuple(with_targets(start[niche].to(genes[niche]).expand_as(genes[niche])) for niche in read),
        additional_forward_args=(torch.arange(n_samples, device=genes[read[0]].device),),
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=max(AT_ONCE, n_samples),
    )
    parts = dict(zip(read, cast(tuple[Tensor, ...], found), strict=True))
    return [
        {niche: parts[niche][:, number].detach() if niche in parts else values for niche, values in genes.items()}
        for number in range(len(targets))
    ]


def _gradients_of_all(
    forward_fn: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    target_ind: None = None,
    additional_forward_args: tuple[Tensor, ...] = (),
) -> tuple[Tensor, ...]:
    """Return the gradient of each output, in the place of captum's own function, which runs the model for one alone.

    Parameters
    ----------
    forward_fn
        What makes outputs (n, targets) of genes (n, genes) of each niche.
    inputs : tuple of Tensor (n, targets, genes)
        The genes of each niche, the same for all targets.
    target_ind, additional_forward_args
        As captum has them.

    Returns
    -------
    tuple of Tensor (n, targets, genes)
    """
    with torch.enable_grad():
        genes = tuple(values[:, 0].detach().requires_grad_() for values in inputs)
        outputs = forward_fn(*genes, *additional_forward_args).sum(dim=0)
        gradients = [torch.autograd.grad(output, genes, retain_graph=True) for output in outputs]
    return tuple(torch.stack(of_niche, dim=1) for of_niche in zip(*gradients, strict=True))
