"""The files of a run: written together, and read back as a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ksfusion.core.atomic import atomic
from ksfusion.core.checksums import PROVENANCE_KEY, SEAL_KEY, UNSEALED, check_seal, seal
from ksfusion.core.errors import DamagedFileError, UserError
from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import read_json, write_json, write_tsv
from ksfusion.methods.output import Method
from ksfusion.methods.registry import build

MODEL, CONFIG, PREDICTIONS, HISTORY, METRICS = (
    "model.safetensors",
    "config.json",
    "predictions.parquet",
    "history.tsv",
    "metrics.json",
)


def run_name(run: Mapping[str, object]) -> str:
    """Return what a run is called in messages, by its task, method, fold and seed."""
    return ", ".join(f"{key} {value}" for key, value in run.items())


def write_run(
    folder: Path,
    *,
    weights: Mapping[str, Tensor],
    config: Mapping[str, Any],
    predictions: pd.DataFrame,
    history: pd.DataFrame,
    metrics: Mapping[str, Any],
) -> None:
    """Write the files of a run; ``config["provenance"]`` goes into each."""
    made_by = config["provenance"]
    with atomic(folder / MODEL) as temporary:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        # One entry alone: safetensors writes several in no fixed order.
        said = json.dumps({**made_by, SEAL_KEY: UNSEALED}, sort_keys=True)
        save_file(tensors, temporary, metadata={PROVENANCE_KEY: said})
        seal(temporary)
    write_json(config, folder / CONFIG)
    write_parquet(predictions, folder / PREDICTIONS, made_by)
    write_tsv(history, folder / HISTORY, made_by)
    write_json({**metrics, "provenance": made_by}, folder / METRICS)


def load_model(folder: Path | str) -> Method:
    """Rebuild the model of a run from its folder, ready to predict (on the CPU, in evaluation mode).

    Raises
    ------
    UserError
        If the run was skipped, has failed or collapsed, so that there is no model.
    FileNotFoundError
        If a file of the run is missing.
    DamagedFileError
        If the weights or what describes them are damaged.
    RuntimeError
        If the weights do not fit the method, whose code has changed since.
    """
    folder = Path(folder)
    config = read_run_config(folder)
    shape = {key: config[key] for key in ("n_features", "n_patches", "niches", "n_outputs", "groups")}
    model = build(config["method"], **shape, **config["options"])
    model.load_state_dict(read_weights(folder / MODEL))
    return model.eval()


def read_run_config(folder: Path) -> dict[str, Any]:
    """Return what a run with a model says of it.

    Raises
    ------
    UserError
        If the run was skipped, has failed or collapsed, so that there is no model.
    """
    config: dict[str, Any] = read_json(folder / CONFIG)
    if not has_model(config):
        raise UserError(f"{folder}: this run was skipped, has failed or collapsed, and has no model; see its {METRICS}")
    return config


def has_model(config: Mapping[str, Any]) -> bool:
    """Return whether a run has a model, by its ``config.json``: it was not skipped, and has not failed or collapsed."""
    return "n_outputs" in config


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a run.

    Raises
    ------
    DamagedFileError
        If they are damaged.
    """
    check_seal(path)
    try:
        return load_file(path)
    except SafetensorError:
        raise DamagedFileError(path) from None
