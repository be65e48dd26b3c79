"""Training of one method for one task, fold and seed: from the files of the earlier stages to those of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ksfusion.errors import UserError
from ksfusion.methods.registry import METHODS, build
from ksfusion.provenance import provenance
from ksfusion.training.checkpoint import write_run
from ksfusion.training.data import FoldData, read_fold
from ksfusion.training.fit import HISTORY, fit, predict
from ksfusion.training.objective import OBJECTIVES, sample_weights
from ksfusion.training.reproducible import reproducible

log = logging.getLogger(__name__)

IDENTITY = ["sample_id", "case_id", "cohort", "fold", "split"]


def train(
    store: Path,
    expression: Path,
    selected: Path,
    samples_ledger: Path,
    cases: Path,
    splits: Path,
    output_dir: Path,
    *,
    task: Mapping[str, Any],
    method: str,
    fold: int,
    seed: int,
    settings: Mapping[str, Any],
    device: str = "cpu",
    threads: int = 1,
) -> None:
    """Train a method and write its weights, predictions, history and metrics.

    Classes are weighted and survival intervals cut on training samples, the epoch is chosen on validation samples, test
    samples are only predicted. A task that the training samples cannot teach (one class, no event) is skipped: its
    files say so.

    Parameters
    ----------
    store, expression, selected, samples_ledger, cases, splits
        Files of the earlier stages; expression and selected are those of the fold.
    output_dir
        Gets ``model.safetensors``, ``config.json``, ``predictions.parquet`` (all samples in use), ``history.tsv``
        (means over the steps of each epoch) and ``metrics.json``.
    task
        ``name``, ``kind``, ``classes`` and ``epochs``.
    method
        A key of `ksfusion.methods.METHODS`.
    fold, seed
        The seed is of initialisation, dropout and the order of samples; the split has its own.
    settings
        ``batch_size``, ``lr``, ``weight_decay``, ``dropout``, ``weight_by``, and those that the method reads.
    device
        ``cpu`` or ``cuda``.
    threads
        CPU threads; another number gives other last digits.

    Raises
    ------
    UserError
        If files do not fit together, the method is unknown, or the loss is no longer finite.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    info = METHODS[method]
    data = read_fold(
        store, expression, selected, samples_ledger, cases, splits, task=task, fold=fold, modalities=info.modalities
    )
    run = {"task": task["name"], "method": method, "fold": fold, "seed": seed}
    config = {
        **run,
        "task": dict(task),
        "settings": dict(settings),
        "options": {"dropout": settings["dropout"], **{key: settings[key] for key in info.settings}, **info.options},
        "classes": list(task.get("classes") or []),
        "n_features": data.n_features,
        "n_patches": data.n_patches,
        "niches": data.niches,
        "groups": data.groups,
        "provenance": provenance(
            ("ksfusion.training.loop", info.module), {**run, "task": dict(task), "training": dict(settings)}
        ),
    }
    kind = OBJECTIVES[task["kind"]]
    train_samples = data.samples.iloc[data.labelled("train")]
    if reason := kind.reason_to_skip(train_samples):
        log.warning("%s: skipped: %s", _words(run), reason)
        write_run(
            output_dir,
            weights={},
            config=config,
            predictions=_predictions(data, fold, pd.DataFrame(columns=kind.columns(task), dtype=float)).iloc[:0],
            history=pd.DataFrame(columns=HISTORY),
            metrics={**run, "status": "skipped", "reason": reason, "best_epoch": None, "val": {}, "test": {}},
        )
        return

    weights = sample_weights(train_samples, weight_by=settings["weight_by"])
    objective = kind.fit(train_samples, weights, task, info.rules)
    where = torch.device(device)
    with reproducible(seed, device=where, threads=threads):
        model = build(
            method,
            n_features=data.n_features,
            n_patches=data.n_patches,
            niches=data.niches,
            n_outputs=objective.n_outputs,
            groups=data.groups,
            **config["options"],
        ).to(where)
        fitted = fit(
            model,
            data,
            objective,
            epochs=task["epochs"],
            seed=seed,
            settings=settings,
            rules=info.rules,
            name=_words(run),
        )
        model.load_state_dict(fitted.weights)
        logits = predict(model, data, np.arange(len(data.samples)), batch_size=settings["batch_size"])
    write_run(
        output_dir,
        weights=fitted.weights,
        config={**config, "n_outputs": objective.n_outputs, **objective.describe()},
        predictions=_predictions(data, fold, objective.predictions(logits)),
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


def _words(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in run.items())


def _predictions(data: FoldData, fold: int, predicted: pd.DataFrame) -> pd.DataFrame:
    """Return who the samples are, what was predicted of them, and the truth."""
    samples = data.samples.assign(fold=fold)
    columns = [*IDENTITY, *(["y"] if "y" in samples else []), *predicted]
    columns += ["days", "event"] if "event" in samples else []
    return samples.join(predicted)[columns]
