"""A model that had nothing to learn: trained on the labels of other cases, for comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ksfusion.methods.output import Method
from ksfusion.training.config import RunSettings, TrainedTask
from ksfusion.training.data import FoldData
from ksfusion.training.fit_method import fit_method
from ksfusion.training.fold_tables import truth_in


def permuted_labels(data: FoldData, seed: int) -> FoldData:
    """Return samples with the truth of other cases: the labelled cases of each split change places among themselves."""
    samples, random = data.samples.copy(), np.random.default_rng(seed)
    truth = truth_in(samples)
    for split in ("train", "val"):
        rows = data.labelled(split)
        of_case = samples.iloc[rows].drop_duplicates("case_id").set_index("case_id")[truth]
        moved = of_case.iloc[random.permutation(len(of_case))].set_axis(of_case.index)
        for name in truth:
            samples.iloc[rows, samples.columns.get_loc(name)] = (
                samples["case_id"].iloc[rows].map(moved[name]).to_numpy()
            )
    return dataclasses.replace(data, samples=samples)


def permuted_model(data: FoldData, config: Mapping[str, Any], device: torch.device) -> Method:
    """Train the method of a run as it was trained, on permuted labels.

    Parameters
    ----------
    data
        Samples of its fold.
    config
        The run's ``config.json``, whose seed also draws the permutation.
    device
        Device of the model.
    """
    model, _, fitted = fit_method(
        permuted_labels(data, config["seed"]),
        task=TrainedTask.model_validate(config["task"]),
        method=config["method"],
        seed=config["seed"],
        settings=RunSettings.model_validate(config["settings"]),
        device=device,
        name=f"task {config['task']['name']}, method {config['method']}, permuted labels",
    )
    model.load_state_dict(fitted.weights)
    return model.eval()
