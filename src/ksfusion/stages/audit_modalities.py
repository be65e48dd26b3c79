"""The audit of modalities: what the models of a method predict when slides and profiles are not of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ksfusion.core.devices import Device, choose_device
from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_json
from ksfusion.methods.registry import METHODS
from ksfusion.results.config import AuditModalitiesSettings
from ksfusion.results.modalities.audit import audited_predictions
from ksfusion.results.modalities.changes import audit_columns
from ksfusion.training.checkpoint import CONFIG, load_model
from ksfusion.training.config import TrainedTask
from ksfusion.training.data import FoldFiles, on_device, read_fold
from ksfusion.training.reproducible import THREADS, reproducible


def audit_modalities(
    files: FoldFiles,
    *,
    runs: Sequence[Path],
    output: Sequence[Path],
    settings: AuditModalitiesSettings,
    device: Device = "auto",
) -> None:
    """Predict test samples with the genes, or the patches, of others, and without interactions of the two.

    Parameters
    ----------
    files
        The files that the runs were trained on.
    runs
        Folders of runs of one method and fold, in order of tasks and seeds; one without a model adds nothing.
    output
        A table for each task, in that order (`ksfusion.results.modalities.changes.audit_columns`). The additive
        projection is of the first seed that has a model.
    settings
        Number of samples that the additive projection is computed for.
    device
        Device of the models.

    Raises
    ------
    UserError
        If files do not fit together, or the number of tasks is not that of the outputs.
    """
    where = torch.device(choose_device(device))
    configs = [(run, read_json(run / CONFIG)) for run in runs]
    names = dict.fromkeys(config["task"]["name"] for _, config in configs)
    for name, path in zip(names, output, strict=True):
        own = [(run, config) for run, config in configs if config["task"]["name"] == name]
        _audit_task(files, own, path, settings, where)


def _audit_task(
    files: FoldFiles,
    runs: Sequence[tuple[Path, dict[str, Any]]],
    output: Path,
    settings: AuditModalitiesSettings,
    device: torch.device,
) -> None:
    """Audit the runs of a task, each given with its configuration."""
    first = runs[0][1]
    task, info = TrainedTask.model_validate(first["task"]), METHODS[first["method"]]
    tables = [pd.DataFrame(columns=audit_columns(task))]
    with_model = [(run, config) for run, config in runs if "n_outputs" in config]
    if with_model:
        data = read_fold(files, task=task, fold=first["fold"], modalities=info.modalities).only("test")
        data = on_device(data, device)
    for number, (run, config) in enumerate(with_model):
        projected = 0 if number else settings.audit_samples
        with reproducible(config["seed"], device=device, threads=THREADS):
            model = load_model(run).to(device)
            scale = {key: config[key] for key in ("mean", "sd") if key in config}
            batch_size = config["settings"]["batch_size"]
            found = audited_predictions(model, data, task, projected=projected, batch_size=batch_size, **scale)
        identity = {"task": task.name, **{key: config[key] for key in ("method", "fold", "seed")}}
        tables.append(found.assign(**identity)[audit_columns(task)])
    made_by = provenance((__name__, info.module), {"run": first["provenance"]["settings"], **settings.record()})
    write_parquet(pd.concat([table for table in tables if len(table)] or tables, ignore_index=True), output, made_by)
