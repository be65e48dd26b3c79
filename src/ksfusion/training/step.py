"""One step of training, and the values of it that ``history.tsv`` has as means over an epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ksfusion.methods.consistency import similarity
from ksfusion.methods.output import Method, MethodOutput
from ksfusion.methods.stand_ins import Present
from ksfusion.training.coordination import coordinate_classifier
from ksfusion.training.distillation import Lesson, distillation_losses
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
    present: Present | None = None,
    lesson: Lesson | None = None,
) -> dict[str, Tensor]:
    """Update the model on one batch: forward pass, losses, backward pass, CG-Coord where the method asks for it, step.

    Parameters
    ----------
    model
        Model in training mode; its parameters are changed.
    optimiser
        Optimiser of its parameters, with the learning rate of this step.
    patches : Tensor (B, n_patches, n_features)
        Features of the patches; None for a method that reads genes alone.
    genes : mapping of niche to Tensor (B, genes)
        Scaled expression.
    truth : mapping of name to Tensor (B,)
        Labels of the batch, by the names that the objective gives them.
    weights : Tensor (B,)
        Weights of the samples in the loss.
    objective
        Loss of the task, and confidence of a stream.
    strategy
        The method's way to train: here, how CG-Coord changes the classifier's gradient.
    bf16
        Whether the model is computed in bfloat16 where torch's autocast allows it; losses, CG-Coord and the
        parameters stay in float32.
    present
        Who has patches and genes, where some samples lack one: these have rows of the others alone then.
    lesson
        What a teacher says of the batch, for a method that learns from one.

    Returns
    -------
    dict of name to scalar Tensor, detached
        ``train_loss`` and its parts before weighting (``task_loss`` and the method's auxiliary losses), and, where the
        method has streams, ``spread_...`` and ``coordination_...`` (docs/training.md).
    """
    with torch.autocast(weights.device.type, dtype=torch.bfloat16, enabled=bf16):
        out = model(patches, genes) if present is None else model(patches, genes, present)
    out = _in_full_precision(out)
    task_loss = objective.loss(out.logits, truth, weights)
    loss, record = task_loss, {"task_loss": task_loss}
    auxiliaries = dict(model.auxiliary_losses(out))
    if lesson is not None:
        auxiliaries |= distillation_losses(out, lesson, objective)
    for name, auxiliary in auxiliaries.items():
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
    """Return the output with all that losses are computed from (logits, points, embeddings) in float32."""
    streams: dict[str, Any] = {
        name: {stream: part.float() for stream, part in getattr(out, name).items()}
        for name in ("points", "embeddings", "gene_embeddings")
    }
    return dataclasses.replace(out, logits=out.logits.float(), **streams)


@torch.no_grad()
def _spreads(out: MethodOutput) -> dict[str, Tensor]:
    """Return, for each stream, how much the samples of a batch differ in what Ge-Con compares.

    Standard deviations over the samples of the sampling points, and over the pairs of samples of the entries of both
    Gram matrices. Close to zero all slides are sampled at the same points, or all gene embeddings point the same way.
    """
    spreads = {}
    for stream in out.points:
        points, genes = out.of_both("points", stream), out.of_both("gene_embeddings", stream)
        if not len(points):
            continue
        spreads[f"points_{stream}"] = points.std(dim=0, correction=0).mean()
        n = len(genes)
        if n > 1:
            # Each pair once. A mask in place of these indices would make the CPU wait for a GPU.
            row, column = torch.triu_indices(n, n, offset=1, device=genes.device).unbind()
            by_group = points.flatten(2).transpose(0, 1)  # (groups, B, 2 n_points)
            spreads[f"similarity_genes_{stream}"] = similarity(genes)[row, column].std(correction=0)
            spreads[f"similarity_points_{stream}"] = similarity(by_group)[:, row, column].std(correction=0)
    return {f"spread_{name}": value for name, value in spreads.items()}
