"""The search of training settings for one method, task and fold, on the validation samples alone."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import torch

from ksfusion.core.devices import Device, choose_device
from ksfusion.core.malloc import keep_freed_memory
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_json, write_tsv
from ksfusion.methods.registry import method_info
from ksfusion.training.checkpoint import run_name
from ksfusion.training.config import SearchSettings
from ksfusion.training.data import FoldFiles, on_device, read_fold
from ksfusion.training.distillation import files_of_teacher, why_no_teacher
from ksfusion.training.objective import OBJECTIVES
from ksfusion.training.reproducible import THREADS
from ksfusion.training.resume import key_of
from ksfusion.training.search import best_trial, run_trials, trial_table
from ksfusion.training.trials import Trials


def search_settings(
    files: FoldFiles,
    *,
    chosen: Path,
    trials: Path,
    method: str,
    fold: int,
    settings: SearchSettings,
    teacher: Path | None = None,
    device: Device = "auto",
) -> None:
    """Choose the training settings of one method for one task and fold, on the validation samples.

    The first trial has the configured settings, so that what is chosen is no worse on the validation samples; the
    others are drawn by a tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS). Of the test samples neither
    features nor genes nor labels are used. Where there is nothing to choose by, or every trial fails, the configured
    settings are chosen. A search that was killed goes on after its last finished trial, to the same files (see
    `ksfusion.training.trials.Trials`).

    Parameters
    ----------
    files
        Files of the earlier stages; expression and genes are those of the fold.
    chosen
        JSON file to write: ``settings`` (name to value), ``trial`` (from 0), ``value`` and ``selected_by``, ``reason``.
    trials
        Table to write: one row per trial, with its settings, its validation result and why it failed.
    method
        Name of the method.
    fold
        Number of the fold.
    settings
        Task, the configured settings, the range of each that is searched, the number of trials that are drawn, and the
        seed of every training and of the search.
    teacher
        Folder of the run that a method with a teacher learns from.
    device
        Device of the model.

    Raises
    ------
    UserError
        If files do not fit together, the method is unknown, or it has a teacher and none is given.
    """
    info, task = method_info(method), settings.task
    partial = bool(settings.training.modality_dropout)
    data = read_fold(files, task=task, fold=fold, modalities=info.modalities, partial=partial)
    data = data.holding_out(settings.training.calibration_fraction).only("train", "val")
    run = {"task": task.name, "method": method, "fold": fold, "seed": settings.seed}
    reason = OBJECTIVES[task.kind].reason_to_skip(data.samples.iloc[data.labelled("train")])
    if not reason and not len(data.labelled("val")):
        reason = "no labelled validation sample"
    if not reason:
        reason = why_no_teacher(info, teacher)
    made_by = provenance((__name__, info.module), {**run, **settings.record()})
    where = torch.device(choose_device(device))
    versions = [metadata.version(package) for package in ("optuna", "torch")]
    made_from = {"provenance": made_by, "device": where.type, "threads": THREADS, "versions": versions}
    kept = Trials(chosen.parent, key_of(made_from, [*files, *files_of_teacher(teacher)]), settings.seed)
    if not reason:
        keep_freed_memory()
        run_trials(
            kept, on_device(data, where), settings, method=method, device=where, name=run_name(run), teacher=teacher
        )
    table = trial_table(kept, settings.space)
    choice = best_trial(table, settings)
    write_tsv(table, trials, made_by)
    written = {**choice, "reason": reason or choice["reason"], "provenance": made_by}
    write_json(written, chosen)
    kept.remove()
