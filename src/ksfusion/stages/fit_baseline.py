"""A baseline of one fold, task by task: ridge regressions in the place of networks, with the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from ksfusion.core.errors import UserError
from ksfusion.core.provenance import provenance
from ksfusion.methods.baselines import PartName
from ksfusion.methods.registry import MethodInfo, method_class, method_info
from ksfusion.training.baselines import FittedBaseline, NoCoefficientsError, fit_regression
from ksfusion.training.checkpoint import write_run
from ksfusion.training.config import FitBaselineSettings
from ksfusion.training.covariates import Covariates, has_chosen_penalty, read_covariates
from ksfusion.training.data import FoldData, FoldFiles, read_fold
from ksfusion.training.objective import OBJECTIVES
from ksfusion.training.predict import apart, prediction_table
from ksfusion.training.reproducible import THREADS, reproducible
from ksfusion.training.unfinished import Status, write_unfinished_run


def fit_baseline(
    files: FoldFiles,
    output: Sequence[Path],
    *,
    method: str,
    fold: int,
    seed: Sequence[int],
    settings: Sequence[FitBaselineSettings],
) -> None:
    """Fit one baseline for one fold: a ridge regression for each task, written once for each seed.

    What is imputed, coded and scaled is told from the training cases, each case counts once with the mean of its
    samples, and the penalty of genes or patches is chosen on the validation cases; test samples and those of external
    cohorts are only predicted. Nothing is drawn, so that the seeds have the same model: they stand beside those of the
    networks. A task that the method is not for, or that the training cases cannot teach, is skipped: its files say why.

    Parameters
    ----------
    files
        Files of the earlier stages, of which those that the method does not read may be left out; expression and genes
        are those of the fold.
    output
        Folder of each task and seed, seed by seed of the first task, then of the next. It gets ``model.safetensors``
        (coefficients), ``config.json``, ``predictions.parquet`` (all samples in use), ``history.tsv`` (a row for each
        penalty tried) and ``metrics.json``.
    method
        Name of the baseline.
    fold
        Number of the fold.
    seed
        Seeds of the networks that it stands beside.
    settings
        Each task, and the clinical columns for it.

    Raises
    ------
    UserError
        If files do not fit together, the method is unknown or no baseline, or there is not a folder for each task and
        seed.
    """
    if len(output) != len(seed) * len(settings):
        expected = f"{len(settings)} tasks with {len(seed)} seeds"
        raise UserError(f"--output: {len(output)} folders for {expected}; give each its own")
    if not method_info(method).is_baseline:
        raise UserError(f"--method {method}: is no baseline; ksfusion train-model trains it")
    for number, own in enumerate(settings):
        folders = output[number * len(seed) : (number + 1) * len(seed)]
        _fit_task(files, dict(zip(seed, folders, strict=True)), method, fold, own)


def _fit_task(
    files: FoldFiles, folders: Mapping[int, Path], method: str, fold: int, settings: FitBaselineSettings
) -> None:
    """Fit the baseline for one task, and write it to the folder of each seed."""
    info, task = method_info(method), settings.task
    parts: Sequence[PartName] = method_class(method).parts
    data = read_fold(files, task=task, fold=fold, modalities=info.modalities)
    data = data.holding_out(settings.calibration_fraction)
    fitted = None
    status, reason = _why_not(info, settings, data)
    if not reason:
        try:
            # The mean over patches adds up in one order, on any number of cores.
            with reproducible(0, device=torch.device("cpu"), threads=THREADS):
                covariates = read_covariates(data, files.cases, parts=parts, clinical=settings.clinical)
                fitted = fit_regression(covariates, data.samples, task, chosen_penalty=has_chosen_penalty(parts))
        except NoCoefficientsError as error:
            reason, status = str(error), "failed"
    for number, folder in folders.items():
        run = {"task": task.name, "method": method, "fold": fold, "seed": number}
        made_by = provenance((__name__, info.module), {**run, **settings.record()})
        config = {**run, **settings.record(), "classes": task.classes, "provenance": made_by}
        if fitted is None:
            write_unfinished_run(folder, data, task, run, config, status=status, reason=reason)
            continue
        write_run(
            folder,
            weights=fitted.model.tensors(),
            config={**config, **fitted.configuration()},
            predictions=prediction_table(data, fold, _predicted(data, covariates, fitted)),
            history=fitted.history,
            metrics={**run, "status": "ok", "reason": "", **fitted.describe(), "test": {}},
        )


def _predicted(data: FoldData, covariates: Covariates, fitted: FittedBaseline) -> pd.DataFrame:
    logits = apart(data, lambda positions: fitted.model.logits(covariates.rows(positions)))
    return fitted.objective.predictions(logits)


def _why_not(info: MethodInfo, settings: FitBaselineSettings, data: FoldData) -> tuple[Status, str]:
    """Return the status of a baseline that cannot be fitted for a task, and why; an empty reason where it can."""
    kind = settings.task.kind
    if not info.serves(kind):
        return "unsuited", f"{info.name} is for tasks of {' and '.join(info.kinds)} alone"
    if "c" in info.modalities and not settings.clinical:
        return "unsuited", "cohort.clinical has no column that the label is not made of"
    return "skipped", OBJECTIVES[kind].reason_to_skip(data.samples.iloc[data.labelled("train")])
