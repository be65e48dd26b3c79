"""Training of one method for one task and fold, seed by seed: from the files of earlier stages to those of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ksfusion.core.devices import Device, choose_device
from ksfusion.core.errors import UserError
from ksfusion.core.malloc import keep_freed_memory
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_json
from ksfusion.methods.own_files import method_file
from ksfusion.methods.registry import MethodInfo, method_info
from ksfusion.training.checkpoint import run_name, write_run
from ksfusion.training.collapse import why_collapsed
from ksfusion.training.config import RunSettings, TrainedTask, TrainModelSettings
from ksfusion.training.data import FoldData, FoldFiles, on_device, read_fold
from ksfusion.training.distillation import Teacher, files_of_teacher, why_no_teacher
from ksfusion.training.fit import NotFiniteLossError
from ksfusion.training.fit_method import fit_method, method_options
from ksfusion.training.objective import OBJECTIVES, sample_weights
from ksfusion.training.predict import predict_all, prediction_table
from ksfusion.training.reproducible import THREADS, reproducible
from ksfusion.training.resume import Resume, key_of
from ksfusion.training.unfinished import Status, write_unfinished_run


def train_model(
    files: FoldFiles,
    output: Sequence[Path],
    *,
    method: str,
    fold: int,
    seed: Sequence[int],
    settings: TrainModelSettings,
    chosen: Path | None = None,
    teacher: Sequence[Path] = (),
    tensorboard: bool = False,
    device: Device = "auto",
) -> None:
    """Train one method for one task and fold, with some seeds one after another.

    The seeds follow each other, so that start-up and the reading of the data are paid once; each gives what it would
    give alone. Classes are weighted and survival intervals cut on training samples, the epoch is chosen on validation
    samples; test samples and those of external cohorts are only predicted. A task that the training samples cannot
    teach (one class, no event) is skipped, a run whose loss is no longer finite has failed, and one whose output is the
    same for every sample has collapsed: its files say so. Runs that were killed go on after their last finished epoch,
    to the same files; runs that were finished before with the same settings, code and inputs are not trained anew.

    Parameters
    ----------
    files
        Files of the earlier stages; expression and genes are those of the fold.
    output
        Folder of each seed, which gets ``model.safetensors``, ``config.json``, ``predictions.parquet`` (all samples in
        use), ``history.tsv`` (means over the steps of each epoch) and ``metrics.json``.
    method
        Name of the method.
    fold
        Number of the fold.
    seed
        Seeds of initialisation, dropout and the order of samples; the split has its own.
    settings
        Task, and what the method's training reads.
    chosen
        File of ``search-settings``, whose values take the place of those in the settings.
    teacher
        Folder of the run of each seed that a method with a teacher learns from.
    tensorboard
        Write event files for TensorBoard to ``tensorboard`` in the folder of each run.
    device
        Device of the model.

    Raises
    ------
    UserError
        If files do not fit together, the method is unknown, or there are not as many folders as seeds, or teachers.
    """
    if len(output) != len(seed):
        raise UserError(f"--output: {len(output)} folders for {len(seed)} seeds; give each seed its own")
    info, task = method_info(method), settings.task
    taught_by = dict(zip(seed, teacher, strict=True)) if info.teacher and len(teacher) == len(seed) else {}
    if info.teacher and not taught_by:
        raise UserError(f"--teacher: {len(teacher)} runs of {info.teacher} for {len(seed)} seeds; give each its own")
    partial = bool(settings.training.modality_dropout)
    data = read_fold(files, task=task, fold=fold, modalities=info.modalities, partial=partial)
    data = data.holding_out(settings.training.calibration_fraction)
    search = read_json(chosen) if chosen else None
    training = settings.training
    if search is not None:
        training = RunSettings.model_validate({**training.record(), **search["settings"]})
    config = {
        "method": method,
        "fold": fold,
        "task": task.record(),
        "settings": training.record(),
        "search": search,
        "options": method_options(info, training),
        "classes": task.classes,
        "n_features": data.n_features,
        "n_patches": data.n_patches,
        "niches": data.niches,
        "groups": data.groups,
        **method_file(info),
    }
    where = torch.device(choose_device(device))
    unteachable = OBJECTIVES[task.kind].reason_to_skip(data.samples.iloc[data.labelled("train")])
    if not unteachable:
        keep_freed_memory()
        data = on_device(data, where)
    runs = _Runs(info, task, fold, training, files, data, unteachable, config, where, tensorboard)
    for number, folder in zip(seed, output, strict=True):
        _train_seed(runs, number, folder, taught_by.get(number))


@dataclass(frozen=True)
class _Runs:
    """What the runs of a method for a task and fold have in common, whatever their seed."""

    info: MethodInfo
    task: TrainedTask
    fold: int
    training: RunSettings
    files: FoldFiles
    data: FoldData
    unteachable: str
    config: Mapping[str, Any]
    device: torch.device
    tensorboard: bool


def _train_seed(runs: _Runs, seed: int, folder: Path, teacher: Path | None) -> None:
    """Train one run and write its files; of a run that has no model, why."""
    data, task, training = runs.data, runs.task, runs.training
    run = {"task": task.name, "method": runs.info.name, "fold": runs.fold, "seed": seed}
    recorded = {**run, "task": task.record(), "training": training.record()}
    config = {**runs.config, "seed": seed, "provenance": provenance((__name__, runs.info.module), recorded)}
    key = {"config": config, "device": runs.device.type, "threads": THREADS, "torch": str(torch.__version__)}
    resume = Resume(folder, key_of(key, [*runs.files, *files_of_teacher(teacher)]))
    fitted = None
    status, reason = _why_no_model(runs, teacher)
    if not reason:
        try:
            with reproducible(seed, device=runs.device, threads=THREADS):
                model, objective, fitted = fit_method(
                    data,
                    task=task,
                    method=runs.info.name,
                    seed=seed,
                    settings=training,
                    device=runs.device,
                    name=run_name(run),
                    resume=resume,
                    tensorboard=folder / "tensorboard" if runs.tensorboard else None,
                    teacher=Teacher.read(teacher) if teacher else None,
                )
                model.load_state_dict(fitted.weights)
                logits = predict_all(model, data, batch_size=training.batch_size)
            status, reason = "collapsed", why_collapsed(logits, task.kind, training)
        except NotFiniteLossError as error:
            status, reason = "failed", str(error)
    if fitted is None or reason:
        write_unfinished_run(folder, data, task, run, config, status=status, reason=reason, fitted=fitted)
        resume.remove()
        return
    train = data.labelled("train")
    learned = data.samples.iloc[train]
    weights = sample_weights(learned, weight_by=training.weight_by)
    objective = objective.completed(logits[train], learned, weights)
    write_run(
        folder,
        weights=fitted.weights,
        config={**config, "n_outputs": objective.n_outputs, **objective.describe()},
        predictions=prediction_table(data, runs.fold, objective.predictions(logits)),
        history=fitted.history,
        metrics={**run, "status": "ok", "reason": "", **fitted.describe(), "test": {}},
    )
    # Snakemake removes the files of all seeds when one is interrupted; this brings them back.
    resume.finish()


def _why_no_model(runs: _Runs, teacher: Path | None) -> tuple[Status, str]:
    """Return the status of a run that cannot be trained, and why; an empty reason where it can."""
    if runs.unteachable:
        return "skipped", runs.unteachable
    return "failed", why_no_teacher(runs.info, teacher)
