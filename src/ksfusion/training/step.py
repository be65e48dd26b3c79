"""One step of training, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ksfusion.training.coordination import coordinate_classifier
from ksfusion.training.losses import ge_con, similarity
from ksfusion.training.objective import Classification, Survival

if TYPE_CHECKING:
    from ksfusion.methods.output import Alignment, Method


def training_step(
    model: Method,
    optimiser: torch.optim.Optimizer,
    patches: Tensor | None,
    genes: Mapping[str, Tensor],
    truth: Mapping[str, Tensor],
    weights: Tensor,
    *,
    objective: Classification | Survival,
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

    Returns
    -------
    dict of name to scalar Tensor
        The loss, its parts, and the state of alignment and coordination.
    """
    out = model(patches, genes)
    task_loss = objective.loss(out.logits.float(), truth, weights)
    loss, record = task_loss, {"task_loss": task_loss}
    for alignment in model.alignments(out):
        value = ge_con(alignment.genes, alignment.points)
        loss = loss + alignment.weight * value
        record[f"alignment_{alignment.stream}"] = value
        record.update(_spreads(alignment))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    classifier = model.coordinated_classifier()
    if classifier is not None:
        coordination = coordinate_classifier(classifier, out.embeddings, truth)
        record.update({f"coordination_{name}": value for name, value in coordination._asdict().items()})
    optimiser.step()
    return {"train_loss": loss.detach(), **{name: value.detach() for name, value in record.items()}}


@torch.no_grad()
def _spreads(alignment: Alignment) -> dict[str, Tensor]:
    """Return standard deviations over the samples of a batch: of its points, and of its similarities.

    Close to zero they say that all samples are looked at in the same places, or have the same gene embedding.
    """
    points, genes = alignment.points.detach(), alignment.genes.detach()
    spreads = {"points": points.std(dim=0, correction=0).mean()}
    n = len(genes)
    if n > 1:
        apart = ~torch.eye(n, dtype=torch.bool, device=genes.device)
        by_group = points.flatten(2).transpose(0, 1)  # (groups, B, 2 n_points)
        spreads["similarity_genes"] = similarity(genes.float())[apart].std(correction=0)
        spreads["similarity_points"] = similarity(by_group.float())[:, apart].std(correction=0)
    return {f"spread_{name}_{alignment.stream}": value for name, value in spreads.items()}
