"""One step of training, and what it says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ksfusion.methods.consistency import similarity
from ksfusion.training.coordination import coordinate_classifier
from ksfusion.training.objective import Classification, Survival

if TYPE_CHECKING:
    from ksfusion.methods.output import Method, MethodOutput


def training_step(
    model: Method,
    optimiser: torch.optim.Optimizer,
    patches: Tensor | None,
    genes: Mapping[str, Tensor],
    truth: Mapping[str, Tensor],
    weights: Tensor,
    *,
    objective: Classification | Survival,
    coordinate_rows: bool = False,
    bf16: bool = False,
) -> dict[str, Tensor]:
    """Change the model by one batch.

    Parameters
    ----------
    model, optimiser
    patches : Tensor (B, n_patches, n_features)
        None for a method that reads genes alone.
    genes : mapping of niche to Tensor (B, genes)
    truth
        Of the batch, as the objective gives it.
    weights : Tensor (B,)
        Of the samples.
    objective
        The task.
    coordinate_rows
        See `ksfusion.methods.registry.TrainingRules`.
    bf16
        Compute the model in bfloat16 where torch's autocast allows it; losses, their gradients' coordination and the
        weights stay in float32.

    Returns
    -------
    dict of name to scalar Tensor
        The loss, its parts, and the state of alignment and coordination.
    """
    with torch.autocast(weights.device.type, dtype=torch.bfloat16, enabled=bf16):
        out = model(patches, genes)
    out = _in_full_precision(out)
    task_loss = objective.loss(out.logits, truth, weights)
    loss, record = task_loss, {"task_loss": task_loss}
    for name, auxiliary in model.auxiliary_losses(out).items():
        loss = loss + auxiliary.weight * auxiliary.value
        record[name] = auxiliary.value
    record.update(_spreads(out))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    classifier = model.coordinated_classifier()
    if classifier is not None:
        coordination = coordinate_classifier(classifier, out.embeddings, truth, by_row=coordinate_rows)
        record.update({f"coordination_{name}": value for name, value in coordination._asdict().items()})
    optimiser.step()
    return {"train_loss": loss.detach(), **{name: value.detach() for name, value in record.items()}}


def _in_full_precision(out: MethodOutput) -> MethodOutput:
    """Return what losses are computed from in float32."""
    streams = {
        name: {stream: part.float() for stream, part in values.items()}
        for name in ("points", "embeddings", "gene_embeddings")
        if (values := getattr(out, name)) is not None
    }
    return dataclasses.replace(out, logits=out.logits.float(), **streams)


@torch.no_grad()
def _spreads(out: MethodOutput) -> dict[str, Tensor]:
    """Return standard deviations over the samples of a batch, by stream: of its points, and of its similarities.

    Close to zero they say that all samples are looked at in the same places, or have the same gene embedding.
    """
    spreads = {}
    for stream, points in (out.points or {}).items():
        genes = out.gene_embeddings[stream]
        spreads[f"points_{stream}"] = points.std(dim=0, correction=0).mean()
        n = len(genes)
        if n > 1:
            # A mask in place of these indices would make the CPU wait for a GPU.
            pairs = torch.triu_indices(n, n, offset=1, device=genes.device).unbind()
            by_group = points.flatten(2).transpose(0, 1)  # (groups, B, 2 n_points)
            spreads[f"similarity_genes_{stream}"] = similarity(genes)[pairs].std(correction=0)
            spreads[f"similarity_points_{stream}"] = similarity(by_group)[(slice(None), *pairs)].std(correction=0)
    return {f"spread_{name}": value for name, value in spreads.items()}
