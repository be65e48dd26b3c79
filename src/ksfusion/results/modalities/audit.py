"""What a trained model predicts of test samples whose genes or patches are those of others, and without interactions.

What is projected on additive functions (`ksfusion.results.modalities.projection`) is the logit of each class, of which
the probabilities are then made, for survival the risk, and of a regression the number itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.methods.output import Method
from ksfusion.results.modalities.changes import ADDITIVE, CHANGE, GENES, OWN, PATCHES, PERMUTATION, SAMPLE
from ksfusion.results.modalities.pairs import pair_logits
from ksfusion.results.modalities.partners import draw_partners
from ksfusion.results.modalities.projection import additive_projection, choose_samples
from ksfusion.results.runs import outcome_columns
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.data import FoldData
from ksfusion.training.losses import risk


def audited_predictions(
    model: Method,
    data: FoldData,
    task: TaskOutcome,
    *,
    projected: int,
    batch_size: int,
    mean: float = 0.0,
    sd: float = 1.0,
) -> pd.DataFrame:
    """Return what a model predicts of its labelled test samples.

    Parameters
    ----------
    model
        A trained method, in evaluation mode.
    data
        The fold that it was trained on.
    task
        Task that it predicts.
    projected
        Largest number of samples that the additive projection is computed for; 0 for none.
    batch_size
        Samples that are computed together.
    mean, sd
        Mean and standard deviation by which a regression's values were scaled for training.

    Returns
    -------
    pandas.DataFrame
        The columns of `ksfusion.results.modalities.changes.audit_columns` but for those of the run. Empty without such
        a sample.
    """
    tested = data.labelled("test")
    truth, columns = outcome_columns(task)
    samples = data.samples.iloc[tested].reset_index(drop=True)
    samples = samples[[*SAMPLE, *truth]].astype(dict.fromkeys(truth, float))
    if samples.empty:
        return pd.DataFrame(columns=[CHANGE, PERMUTATION, *samples, *columns])
    chosen = np.array(choose_samples(samples["sample_id"], projected), dtype=int)
    grid = np.stack(np.meshgrid(chosen, chosen, indexing="ij"), axis=-1)  # (chosen, chosen, 2)
    pairs = list(_permuted_pairs(samples))
    wanted = np.concatenate([grid.reshape(-1, 2), *(pair for _, _, pair in pairs)])
    scores = mean + sd * _scores(pair_logits(model, data, tested[wanted], batch_size=batch_size), task)
    of_grid, *of_pairs = np.split(scores, np.cumsum([grid.size // 2, *(len(pair) for *_, pair in pairs)])[:-1])
    rows = [
        samples.assign(**{CHANGE: kind, PERMUTATION: permutation}).join(_predicted(found, columns, task))
        for (kind, permutation, _), found in zip(pairs, of_pairs, strict=True)
    ]
    if len(chosen):
        projection = additive_projection(of_grid.reshape(len(chosen), len(chosen), -1))
        additive = samples.iloc[chosen].reset_index(drop=True).assign(**{CHANGE: ADDITIVE, PERMUTATION: 0})
        rows.append(additive.join(_predicted(projection, columns, task)))
    return pd.concat(rows, ignore_index=True)


def _permuted_pairs(samples: pd.DataFrame) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield what is changed, the number of the permutation, and the samples whose slide and profile meet, (n, 2)."""
    own, partners = np.arange(len(samples)), draw_partners(samples["case_id"], samples["cohort"])
    yield OWN, 0, np.column_stack([own, own])
    for number, (genes, patches) in enumerate(zip(partners.genes, partners.patches, strict=True)):
        yield GENES, number, np.column_stack([own, genes])
        yield PATCHES, number, np.column_stack([patches, own])


def _scores(logits: Tensor, task: TaskOutcome) -> np.ndarray:
    """Return what is projected, (n, n_scores): the logits of classes, or the risk, which may be one logit itself."""
    hazards = task.kind == "survival" and logits.shape[1] > 1
    return (risk(logits.double())[:, None] if hazards else logits.double()).numpy()


def _predicted(scores: np.ndarray, columns: list[str], task: TaskOutcome) -> pd.DataFrame:
    """Return the predictions that scores, (n, n_scores), stand for: the probabilities of classes, or the risk."""
    values = torch.from_numpy(scores).softmax(dim=1).numpy() if task.kind == "classification" else scores
    return pd.DataFrame(values, columns=columns)
