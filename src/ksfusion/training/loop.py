"""Training of one method for one task and fold, seed by seed: from the files of earlier stages to those of runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ksfusion.core.errors import UserError
from ksfusion.core.malloc import keep_freed_memory
from ksfusion.core.provenance import provenance
from ksfusion.methods.registry import METHODS, MethodInfo, build
from ksfusion.training.checkpoint import write_run
from ksfusion.training.data import FoldData, read_fold
from ksfusion.training.epoch import predict
from ksfusion.training.fit import HISTORY, Fitted, NotFiniteLossError, fit
from ksfusion.training.objective import OBJECTIVES, Classification, Survival, sample_weights
from ksfusion.training.reproducible import reproducible
from ksfusion.training.resume import Resume, key_of

if TYPE_CHECKING:
    from ksfusion.methods.output import Method

log = logging.getLogger(__name__)

# Of a GPU's free memory, what the features of all slides may take.
SHARE_OF_GPU = 0.6
IDENTITY = ["sample_id", "case_id", "cohort", "fold", "split"]


def train(
    store: Path,
    expression: Path,
    selected: Path,
    samples_ledger: Path,
    cases: Path,
    splits: Path,
    outputs: Mapping[int, Path],
    *,
    task: Mapping[str, Any],
    method: str,
    fold: int,
    settings: Mapping[str, Any],
    device: str = "cpu",
    threads: int = 1,
    chosen: Path | None = None,
    tensorboard: bool = False,
) -> None:
    """Train a method with some seeds and write weights, predictions, history and metrics of each.

    The seeds follow each other, so that start-up and the reading of the data are paid once; each gives what it would
    give alone. Classes are weighted and survival intervals cut on training samples, the epoch is chosen on validation
    samples, test samples are only predicted. A task that the training samples cannot teach (one class, no event) is
    skipped, and a run whose loss is no longer finite has failed: its files say so. Runs that were killed go on after
    their last finished epoch, to the same files.

    Parameters
    ----------
    store, expression, selected, samples_ledger, cases, splits
        Files of the earlier stages; expression and selected are those of the fold.
    outputs
        Of each seed the folder that gets ``model.safetensors``, ``config.json``, ``predictions.parquet`` (all samples
        in use), ``history.tsv`` (means over the steps of each epoch) and ``metrics.json``. The seed is of
        initialisation, dropout and the order of samples; the split has its own.
    task
        ``name``, ``kind``, ``classes`` and ``epochs``.
    method
        A key of `ksfusion.methods.METHODS`.
    fold
        Of ``splits``.
    settings
        ``batch_size``, ``lr``, ``weight_decay``, ``dropout``, ``weight_by``, and those that the method reads.
    device
        ``cpu`` or ``cuda``.
    threads
        CPU threads; another number gives other last digits.
    chosen
        File of `ksfusion.training.search.search_settings`, whose values take the place of those in ``settings``.
    tensorboard
        Write event files for TensorBoard to ``tensorboard`` in the folder of each run.

    Raises
    ------
    UserError
        If files do not fit together, or the method is unknown.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    info = METHODS[method]
    files = (store, expression, selected, samples_ledger, cases, splits)
    data = read_fold(*files, task=task, fold=fold, modalities=info.modalities)
    found = json.loads(chosen.read_text(encoding="utf-8")) if chosen else None
    settings = {**settings, **found["settings"]} if found else settings
    made_from = {"task": task["name"], "method": method, "fold": fold}
    config = {
        **made_from,
        "task": dict(task),
        "settings": dict(settings),
        "search": found,
        "options": _options(info, settings),
        "classes": list(task.get("classes") or []),
        "n_features": data.n_features,
        "n_patches": data.n_patches,
        "niches": data.niches,
        "groups": data.groups,
    }
    where = torch.device(device)
    reason = OBJECTIVES[task["kind"]].reason_to_skip(data.samples.iloc[data.labelled("train")])
    if not reason:
        keep_freed_memory()
        data = on_device(data, where)
    resumes = []
    for seed, folder in outputs.items():
        run = {**made_from, "seed": seed}
        made_by = provenance(
            ("ksfusion.training.loop", info.module), {**run, "task": dict(task), "training": dict(settings)}
        )
        of_run = {**config, "seed": seed, "provenance": made_by}
        if reason:
            _write_without_model(folder, data, run, of_run, status="skipped", reason=reason)
            continue
        key = {"config": of_run, "device": where.type, "threads": threads, "torch": str(torch.__version__)}
        resumes.append(Resume(folder, key_of(key, files)))
        try:
            with reproducible(seed, device=where, threads=threads):
                _train_run(folder, data, run, of_run, device=where, resume=resumes[-1], tensorboard=tensorboard)
        except NotFiniteLossError as error:
            _write_without_model(folder, data, run, of_run, status="failed", reason=str(error))
    # Not before the last is done: Snakemake removes the files of all of them when one is interrupted.
    for resume in resumes:
        resume.remove()


def _train_run(
    folder: Path,
    data: FoldData,
    run: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    device: torch.device,
    resume: Resume,
    tensorboard: bool,
) -> None:
    """Train with one seed and write its files."""
    settings = config["settings"]
    model, objective, fitted = fit_method(
        data,
        task=config["task"],
        method=run["method"],
        seed=run["seed"],
        settings=settings,
        device=device,
        name=_words(run),
        resume=resume,
        tensorboard=folder / "tensorboard" if tensorboard else None,
    )
    model.load_state_dict(fitted.weights)
    logits = predict(model, data, np.arange(len(data.samples)), batch_size=settings["batch_size"])
    write_run(
        folder,
        weights=fitted.weights,
        config={**config, "n_outputs": objective.n_outputs, **objective.describe()},
        predictions=_predictions(data, run["fold"], objective.predictions(logits)),
        history=fitted.history,
        metrics={
            **run,
            "status": "ok",
            "reason": "",
            "best_epoch": fitted.best_epoch,
            "selected_by": fitted.selected_by,
            "selection_reason": fitted.selection_reason,
            "val": fitted.val,
            "test": {},
        },
    )


def _write_without_model(
    folder: Path, data: FoldData, run: Mapping[str, Any], config: Mapping[str, Any], *, status: str, reason: str
) -> None:
    """Write the files of a run that has no model, and why."""
    log.warning("%s: %s: %s", _words(run), status, reason)
    task = config["task"]
    columns = OBJECTIVES[task["kind"]].columns(task)
    write_run(
        folder,
        weights={},
        config=config,
        predictions=_predictions(data, run["fold"], pd.DataFrame(columns=columns, dtype=float)).iloc[:0],
        history=pd.DataFrame(columns=HISTORY),
        metrics={**run, "status": status, "reason": reason, "best_epoch": None, "val": {}, "test": {}},
    )


def fit_method(
    data: FoldData,
    *,
    task: Mapping[str, Any],
    method: str,
    seed: int,
    settings: Mapping[str, Any],
    device: torch.device,
    name: str,
    resume: Resume | None = None,
    tensorboard: Path | None = None,
) -> tuple[Method, Classification | Survival, Fitted]:
    """Build a method for a fold and train it; see `train` and `ksfusion.training.fit.fit`.

    On a GPU the model is computed in bfloat16.
    """
    info = METHODS[method]
    samples = data.samples.iloc[data.labelled("train")]
    weights = sample_weights(samples, weight_by=settings["weight_by"])
    objective = OBJECTIVES[task["kind"]].fit(samples, weights, task, info.rules)
    model = build(
        method,
        n_features=data.n_features,
        n_patches=data.n_patches,
        niches=data.niches,
        n_outputs=objective.n_outputs,
        groups=data.groups,
        **_options(info, settings),
    ).to(device)
    fitted = fit(
        model,
        data,
        objective,
        epochs=task["epochs"],
        seed=seed,
        settings=settings,
        rules=info.rules,
        name=name,
        bf16=device.type == "cuda",
        resume=resume,
        tensorboard=tensorboard,
    )
    return model, objective, fitted


def on_device(data: FoldData, device: torch.device) -> FoldData:
    """Return the data with its features on the GPU where they leave room for the model."""
    if device.type != "cuda":
        return data
    return data.hold(device, memory=SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0])


def _options(info: MethodInfo, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a method is built with: the settings it reads, and what its variant fixes."""
    return {"dropout": settings["dropout"], **{key: settings[key] for key in info.settings}, **info.options}


def _words(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in run.items())


def _predictions(data: FoldData, fold: int, predicted: pd.DataFrame) -> pd.DataFrame:
    """Return who the samples are, what was predicted of them, and the truth."""
    samples = data.samples.assign(fold=fold)
    columns = [*IDENTITY, *(["y"] if "y" in samples else []), *predicted]
    columns += ["days", "event"] if "event" in samples else []
    return samples.join(predicted)[columns]
