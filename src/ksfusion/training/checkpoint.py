"""The files of a run: written together, and read back as a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file, save_file
from torch import Tensor

from ksfusion.core.errors import UserError
from ksfusion.core.storage import PROVENANCE_KEY, atomic, write_parquet, write_tsv
from ksfusion.methods.output import Method
from ksfusion.methods.registry import build

MODEL, CONFIG, PREDICTIONS, HISTORY, METRICS = (
    "model.safetensors",
    "config.json",
    "predictions.parquet",
    "history.tsv",
    "metrics.json",
)


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
        save_file(tensors, temporary, metadata={PROVENANCE_KEY: json.dumps(made_by, sort_keys=True)})
    _write_json(config, folder / CONFIG)
    write_parquet(predictions, folder / PREDICTIONS, made_by)
    write_tsv(history, folder / HISTORY, made_by)
    _write_json({**metrics, "provenance": made_by}, folder / METRICS)


def _write_json(values: Mapping[str, Any], path: Path) -> None:
    with atomic(path) as temporary:
        text = json.dumps(values, indent=1, sort_keys=True, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def load_model(folder: Path | str) -> Method:
    """Rebuild the model of a run from its folder, ready to predict (on the CPU, in evaluation mode).

    Raises
    ------
    UserError
        If the run was skipped or has failed, so that there is no model.
    FileNotFoundError
        If a file of the run is missing.
    RuntimeError
        If the weights do not fit the method, whose code has changed since.
    """
    folder = Path(folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if "n_outputs" not in config:
        raise UserError(f"{folder}: this run was skipped or has failed, and has no model; see its {METRICS}")
    shape = {key: config[key] for key in ("n_features", "n_patches", "niches", "n_outputs", "groups")}
    model = build(config["method"], **shape, **config["options"])
    model.load_state_dict(load_file(folder / MODEL))
    return model.eval()
