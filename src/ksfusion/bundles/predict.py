"""What the members of a bundle predict of samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pandas as pd
import torch

from ksfusion.bundles.members import Member
from ksfusion.methods.registry import METHODS, method_class
from ksfusion.training.covariates import read_covariates
from ksfusion.training.data import FoldData
from ksfusion.training.objective import restored_objective
from ksfusion.training.predict import predict_all, prediction_table
from ksfusion.training.reproducible import THREADS, reproducible

if TYPE_CHECKING:
    from ksfusion.methods.output import Method
    from ksfusion.training.baselines import BaselineModel


def member_predictions(
    member: Member, data: FoldData, *, batch_size: int, device: torch.device | str = "cpu"
) -> pd.DataFrame:
    """Return what a member predicts of samples: the columns of ``predictions.parquet``.

    On a CPU and with the batches of training (the same samples in the same order) the numbers are those of the run to
    the bit; else the last digits may differ.

    Parameters
    ----------
    member
        The member.
    data
        Samples with patches and with genes as the member's fold has them scaled; ``split`` may be anything.
    batch_size
        Samples that are predicted at once; that of training is `ksfusion.bundles.config.BundleContents.batch_size`.
    device
        Device of the model; baselines are computed on a CPU.

    Returns
    -------
    pandas.DataFrame
        sample_id, case_id, cohort, fold, split, y where it is known, the predictions, days and event where known.
    """
    config, where = member.config, torch.device(device)
    # Sums are split over threads, and read by their order.
    with reproducible(member.seed, device=where, threads=THREADS):
        model = member.load()
        if METHODS[config["method"]].is_baseline:
            parts = method_class(config["method"]).parts
            logits = cast("BaselineModel", model).logits(read_covariates(data, Path(), parts=parts))
        else:
            logits = predict_all(cast("Method", model).to(where), data, batch_size=batch_size)
    return prediction_table(data, member.fold, restored_objective(config).predictions(logits))


def is_predictable(method: str) -> bool:
    """Return whether a bundle can hold a method: it reads patches, genes or both, and nothing else."""
    return METHODS[method].modalities in ("p", "g", "pg")
