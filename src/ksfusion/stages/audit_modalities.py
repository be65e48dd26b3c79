"""The audit of modalities: what the models of a method predict when slides and profiles are not of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from ksfusion.core.devices import Device, choose_device
from ksfusion.core.parquet import write_parquet
from ksfusion.results.modalities.audit import audited_predictions
from ksfusion.results.modalities.changes import audit_columns
from ksfusion.results.stage_settings import AuditModalitiesSettings
from ksfusion.training.data import FoldFiles, on_device, read_fold
from ksfusion.training.reproducible import THREADS, reproducible
from ksfusion.training.trained_run import TrainedRun, runs_by_task


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
        If files do not fit together, or there are not as many tables as tasks.
    """
    where = torch.device(choose_device(device))
    for own, (path,) in runs_by_task(runs, output=output):
        _audit_task(files, own, path, settings, where)


def _audit_task(
    files: FoldFiles,
    runs: Sequence[TrainedRun],
    output: Path,
    settings: AuditModalitiesSettings,
    device: torch.device,
) -> None:
    """Audit the runs of a task."""
    task, info = runs[0].task, runs[0].method
    tables = [pd.DataFrame(columns=audit_columns(task))]
    with_model = [run for run in runs if run.has_model]
    if with_model:
        data = read_fold(files, task=task, fold=runs[0].fold, modalities=info.modalities).only("test")
        data = on_device(data, device)
    for number, run in enumerate(with_model):
        projected = 0 if number else settings.audit_samples
        with reproducible(run.seed, device=device, threads=THREADS):
            model = run.load(device)
            scale = {key: run.config[key] for key in ("mean", "sd") if key in run.config}
            batch_size = run.config["settings"]["batch_size"]
            found = audited_predictions(model, data, task, projected=projected, batch_size=batch_size, **scale)
        identity = {"task": task.name, "method": info.name, "fold": run.fold, "seed": run.seed}
        tables.append(found.assign(**identity)[audit_columns(task)])
    table = pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)
    write_parquet(table, output, runs[0].made_by(__name__, settings))
