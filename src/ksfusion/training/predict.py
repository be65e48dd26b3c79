"""What a model predicts of samples, and the table of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.methods.output import Method
from ksfusion.terms.modalities import MODALITIES
from ksfusion.terms.splits import EXTERNAL
from ksfusion.training.data import FoldData

IDENTITY = ["sample_id", "case_id", "cohort", "fold", "split"]


def predict(model: Method, data: FoldData, positions: np.ndarray, *, batch_size: int) -> Tensor:
    """Return the logits of samples, (n, n_outputs), on the CPU; in full precision, so that ranks have no false ties."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        logits = [model(*data.inputs(part, device)).logits.float().cpu() for part in batched(positions, batch_size)]
    return torch.cat(logits)


def predict_all(model: Method, data: FoldData, *, batch_size: int) -> Tensor:
    """Return the logits of all samples, (n, n_outputs), in their order; see `apart`."""
    return apart(data, lambda positions: predict(model, data, positions, batch_size=batch_size))


def apart(data: FoldData, predicted: Callable[[np.ndarray], Tensor]) -> Tensor:
    """Return what is predicted of all samples, in their order.

    Samples of external cohorts are predicted by themselves, so that those of the others keep their batches, and with
    them the last digit of what is predicted of them, whether or not there are external cohorts.

    Parameters
    ----------
    data
        The samples.
    predicted
        Returns what is predicted of samples, given their positions: (n, n_outputs).
    """
    outside = (data.samples["split"] == EXTERNAL).to_numpy()
    parts = [part for part in (np.flatnonzero(~outside), np.flatnonzero(outside)) if len(part)]
    order = torch.from_numpy(np.argsort(np.concatenate(parts)))
    return torch.cat([predicted(part) for part in parts])[order]


def batched(positions: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield positions in batches; the last may be smaller."""
    return (positions[start : start + batch_size] for start in range(0, len(positions), batch_size))


def prediction_table(data: FoldData, fold: int, predicted: pd.DataFrame) -> pd.DataFrame:
    """Return the samples, what was predicted of them, and the truth: the columns of ``predictions.parquet``.

    ``modalities``, what a sample has, is among them only where samples of the study differ in it.

    Parameters
    ----------
    data
        Data whose samples were predicted, all of them.
    fold
        Number of the fold.
    predicted : pandas.DataFrame
        Predictions of an objective, a row for each sample.
    """
    samples = data.samples.assign(fold=fold)
    columns = [*IDENTITY, *(name for name in (MODALITIES, "y") if name in samples), *predicted]
    columns += ["days", "event"] if "event" in samples else []
    return samples.join(predicted)[columns]
