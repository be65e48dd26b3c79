"""Why a patient's answer is what it is: where the models look, and which genes move it; means over the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from ksfusion.bundles.members import Fold, FoldGenes, Member
from ksfusion.genes.scaling import POOLED
from ksfusion.methods.output import Method
from ksfusion.results.attention.heatmaps import attention_of_samples
from ksfusion.results.attribution.integrated import explained_outputs, integrated_gradients
from ksfusion.terms.modalities import MODALITIES, PAIRED
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.data import FoldData
from ksfusion.training.reproducible import THREADS, reproducible

# Of a patient's slides, as many are drawn.
MOST_SLIDES = 4
GENES_SHOWN = 15


def shown_samples(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the samples of a case whose slides are drawn: of each slide the first, of at most four slides.

    A sample without the profile that models read is explained by none of them.
    """
    return (
        samples[(samples["slide_id"] != "") & (samples[MODALITIES] == PAIRED)]
        .drop_duplicates("slide_id")
        .head(MOST_SLIDES)
    )


def mean_attention(
    members: Mapping[Member, Method], data: Mapping[int, FoldData], sample_ids: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the attention of each stream on the cells of the map of samples, mean over members.

    Parameters
    ----------
    members
        The members that answer for them, with their models.
    data
        The samples as each fold reads them.
    sample_ids
        The samples.

    Returns
    -------
    dict of sample_id to dict of stream to numpy.ndarray (n_patches,)
    """
    found = [
        attention_of_samples(model, data[member.fold], sample_ids, seed=member.seed)
        for member, model in members.items()
    ]
    return {
        sample_id: {
            stream: np.mean([maps[sample_id][stream] for maps in found], axis=0) for stream in found[0][sample_id]
        }
        for sample_id in sample_ids
    }


def mean_attributions(
    members: Mapping[Member, Method],
    data: Mapping[int, FoldData],
    folds: Mapping[int, Fold],
    case_id: str,
    task: TaskOutcome,
    predicted: str,
) -> list[dict[str, Any]]:
    """Return the genes that move the answer for a case most, by integrated gradients from the training mean.

    Parameters
    ----------
    members
        The members that answer for the case, with their models.
    data
        The samples as each fold reads them.
    folds
        The folds by number.
    case_id
        The case; its samples are averaged.
    task
        What is predicted.
    predicted
        The class that is explained, of classes; else nothing.

    Returns
    -------
    list of dict
        symbol, niche, value (scaled, mean over samples and folds), mean and sd over members of the output's attribution
        to it (sd empty of one), and in how many members it is read; the largest first.
    """
    rows: list[tuple[str, str, float, float]] = []
    for member, model in members.items():
        own, genes = data[member.fold], folds[member.fold].genes
        assert genes is not None
        positions = np.flatnonzero((own.samples["case_id"] == case_id) & own.present["p"] & own.present["g"])
        if not len(positions):
            return []
        outputs = explained_outputs(task, sd=member.config.get("sd", 1.0))
        target = outputs[predicted] if predicted else next(iter(outputs.values()))
        cpu = torch.device("cpu")
        with reproducible(member.seed, device=cpu, threads=THREADS):
            patches, values = own.gather(positions, cpu)
            found = integrated_gradients(model, patches, values, target=target, baseline=frozen_training_mean(genes))
        for niche, symbols in genes.niches.items():
            parts, scaled = found[niche].mean(dim=0).tolist(), values[niche].mean(dim=0).tolist()
            rows += [(symbol, niche, *pair) for symbol, *pair in zip(symbols, scaled, parts, strict=True)]
    table = pd.DataFrame(rows, columns=["symbol", "niche", "value", "attribution"]).groupby(["symbol", "niche"])
    means = table.agg(
        value=("value", "mean"),
        mean=("attribution", "mean"),
        sd=("attribution", "std"),
        members=("attribution", "size"),
    )
    # Members that do not read a gene count as an attribution of 0.
    means["weight"] = (means["mean"] * means["members"] / len(members)).abs()
    means = means.reset_index().sort_values(["weight", "symbol"], ascending=[False, True]).head(GENES_SHOWN)
    records: list[dict[str, Any]] = means.drop(columns="weight").to_dict("records")
    return [{**record, "sd": None if np.isnan(record["sd"]) else record["sd"]} for record in records]


def frozen_training_mean(genes: FoldGenes) -> dict[str, torch.Tensor]:
    """Return the mean of the training samples' scaled genes, niche to (genes,): zero where they are z-scores."""
    scaling = genes.scaling
    mean = ((scaling.fill - scaling.mean) / scaling.sd).loc[POOLED]
    return {
        niche: torch.from_numpy(mean[list(symbols)].to_numpy(np.float32)) for niche, symbols in genes.niches.items()
    }
