"""What pictures of attention show: which test samples, where a model looks on each, what is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import pandas as pd
import torch

from ksfusion.methods.output import Method
from ksfusion.results.attention.maps import attention_maps, sum_by_patch
from ksfusion.results.attention.slide_picture import SlidePatches
from ksfusion.results.config import ShownTask
from ksfusion.results.runs import outcome_columns
from ksfusion.terms.tasks import PREDICTED, TaskOutcome
from ksfusion.training.data import FoldData
from ksfusion.training.reproducible import reproducible


def choose_samples(predictions: pd.DataFrame, task: TaskOutcome, samples: int | Literal["all"]) -> list[str]:
    """Return the sample_id of some samples, in order of their class or value or, for survival, of their predicted risk.

    Where not all are asked for, they are spread evenly over that order, its ends included. A class that is not known
    comes last, equal ones by sample_id.

    Parameters
    ----------
    predictions
        ``predictions.parquet`` of a run, its test samples alone.
    task
        The task that is predicted.
    samples
        Number of samples.
    """
    by = "risk" if task.kind == "survival" else "y"
    ordered: list[str] = predictions.sort_values([by, "sample_id"], na_position="last")["sample_id"].tolist()
    if samples == "all" or samples >= len(ordered):
        return ordered
    return [ordered[position] for position in np.linspace(0, len(ordered) - 1, samples).round().astype(int)]


def outcome_text(predictions: pd.DataFrame, sample_id: str, task: ShownTask) -> str:
    """Return what the model predicts of a sample, and what is true, in words."""
    row = predictions.set_index("sample_id").loc[sample_id]
    if task.kind == "survival":
        rank = int((predictions["risk"] > row["risk"]).sum()) + 1
        told = f"Risk {row['risk']:.2f}, rank {rank} of {len(predictions)} test samples (1: highest)"
        if not np.isfinite(row["risk"]):
            told = "Risk not finite"
        if pd.isna(row["days"]) or pd.isna(row["event"]):
            return f"{told}; survival not known"
        return f"{told}; {'died' if row['event'] else 'censored'} after {row['days']:.0f} days"
    if task.kind == "regression":
        truth = "not known" if pd.isna(row["y"]) else f"{row['y']:.4g}"
        found = f"Predicted {row[PREDICTED]:.4g}" if np.isfinite(row[PREDICTED]) else "Prediction not finite"
        return f"{found}; truth {truth}"
    probabilities = row[outcome_columns(task)[1]].to_numpy(float)
    best, classes = int(probabilities.argmax()), task.class_labels()
    truth = "not known" if pd.isna(row["y"]) else classes[int(row["y"])]
    if not np.isfinite(probabilities).all():
        return f"Prediction not finite; truth {truth}"
    return f"Predicted {classes[best]} (probability {probabilities[best]:.2f}); truth {truth}"


def attention_of_samples(
    model: Method, data: FoldData, sample_ids: Iterable[str], *, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return the attention of each stream on the cells of the map of each sample.

    Parameters
    ----------
    model
        A trained method on the CPU, in evaluation mode.
    data
        The fold that it was trained on.
    sample_ids
        The samples.
    seed
        The seed of its run.

    Returns
    -------
    dict of sample_id to dict of stream to numpy.ndarray (n_patches,), float64

    Raises
    ------
    UserError
        If the method has no attention over patches.
    """
    position = {sample_id: number for number, sample_id in enumerate(data.samples["sample_id"])}
    cpu, found = torch.device("cpu"), {}
    with reproducible(seed, device=cpu, threads=1), torch.no_grad():
        for sample_id in sample_ids:
            maps = attention_maps(model, model(*data.gather(np.array([position[sample_id]]), cpu)))
            found[sample_id] = {stream: cells[0] for stream, cells in maps.items()}
    return found


def attention_table(
    attention: Mapping[str, Mapping[str, np.ndarray]], patches: Mapping[str, SlidePatches]
) -> pd.DataFrame:
    """Return a row for each patch of each sample: its place, and its share of the attention of each stream.

    Parameters
    ----------
    attention
        As `attention_of_samples` returns it.
    patches
        sample_id to the patches of its slide.

    Returns
    -------
    pandas.DataFrame
        sample_id, x and y of the upper left corner, ``cells`` of the map in which the patch stands, and a column for
        each stream.
    """
    tables = [pd.DataFrame(columns=["sample_id", "x", "y", "cells"])]
    for sample_id, streams in attention.items():
        here = patches[sample_id]
        place = {"sample_id": sample_id, "x": here.coords[:, 0], "y": here.coords[:, 1], "cells": here.cells}
        shares = {stream: sum_by_patch(cells, here.index) for stream, cells in streams.items()}
        tables.append(pd.DataFrame({**place, **shares}))
    return pd.concat(tables[1:] or tables, ignore_index=True)
