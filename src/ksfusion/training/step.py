"""One step of training, and what it says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from ksfusion.methods.consistency import similarity
from ksfusion.methods.output import Method, MethodOutput
from ksfusion.training.coordination import coordinate_classifier
from ksfusion.training.objective import Objective
from ksfusion.training.strategy import Strategy


def training_step(
    model: Method,
    optimiser: torch.optim.Optimizer,
    patches: Tensor | None,
    genes: Mapping[str, Tensor],
    truth: Mapping[str, Tensor],
    weights: Tensor,
    *,
    objective: Objective,
    strategy: Strategy,
    bf16: bool = False,
) -> dict[str, Tensor]:
    """Change the model by one batch.

    Parameters
    ----------
    model
        Model to change.
    optimiser
        Optimiser of its parameters.
    patches : Tensor (B, n_patches, n_features)
        Features of the patches; None for a method that reads genes alone.
    genes : mapping of niche to Tensor (B, genes)
        Scaled expression.
    truth : mapping of name to Tensor (B,)
        Truth of the batch, as the objective gives it.
    weights : Tensor (B,)
        Weights of the samples.
    objective
        What the task asks of the model.
    strategy
        How the classifier's gradient is coordinated.
    bf16
        Whether the model is computed in bfloat16 where torch's autocast allows it; losses, their gradients'
        coordination and the weights stay in float32.

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
        coordination = coordinate_classifier(
            classifier, out.embeddings, truth, confidence=objective.confidence, coordinate=strategy.coordinate
        )
        record.update({f"coordination_{name}": value for name, value in coordination._asdict().items()})
    optimiser.step()
    return {"train_loss": loss.detach(), **{name: value.detach() for name, value in record.items()}}


def _in_full_precision(out: MethodOutput) -> MethodOutput:
    """Return what losses are computed from in float32."""
    streams = {
        name: {stream: part.float() for stream, part in getattr(out, name).items()}
        for name in ("points", "embeddings", "gene_embeddings")
    }
    return dataclasses.replace(out, logits=out.logits.float(), **streams)


@torch.no_grad()
def _spreads(out: MethodOutput) -> dict[str, Tensor]:
    """Return standard deviations over the samples of a batch, by stream: of its points, and of its similarities.

    Close to zero they say that all samples are looked at in the same places, or have the same gene embedding.
    """
    spreads = {}
    for stream, points in out.points.items():
        genes = out.gene_embeddings[stream]
        spreads[f"points_{stream}"] = points.std(dim=0, correction=0).mean()
        n = len(genes)
        if n > 1:
            # A mask in place of these indices would make the CPU wait for a GPU.
            row, column = torch.triu_indices(n, n, offset=1, device=genes.device).unbind()
            by_group = points.flatten(2).transpose(0, 1)  # (groups, B, 2 n_points)
            spreads[f"similarity_genes_{stream}"] = similarity(genes)[row, column].std(correction=0)
            spreads[f"similarity_points_{stream}"] = similarity(by_group)[:, row, column].std(correction=0)
    return {f"spread_{name}": value for name, value in spreads.items()}
