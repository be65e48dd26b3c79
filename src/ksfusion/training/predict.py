"""What a model predicts of samples, and the table of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.methods.output import Method
from ksfusion.training.data import FoldData

IDENTITY = ["sample_id", "case_id", "cohort", "fold", "split"]


def predict(model: Method, data: FoldData, positions: np.ndarray, *, batch_size: int) -> Tensor:
    """Return the logits of samples, (n, n_outputs), on the CPU; in full precision, so that ranks have no false ties."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        logits = [model(*data.gather(part, device)).logits.float().cpu() for part in batched(positions, batch_size)]
    return torch.cat(logits)


def batched(positions: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield positions in batches; the last may be smaller."""
    return (positions[start : start + batch_size] for start in range(0, len(positions), batch_size))


def prediction_table(data: FoldData, fold: int, predicted: pd.DataFrame) -> pd.DataFrame:
    """Return the samples, what was predicted of them, and the truth: the columns of ``predictions.parquet``.

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
    columns = [*IDENTITY, *(["y"] if "y" in samples else []), *predicted]
    columns += ["days", "event"] if "event" in samples else []
    return samples.join(predicted)[columns]
