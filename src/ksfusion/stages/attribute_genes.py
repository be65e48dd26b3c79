"""Attribution of the outputs of trained models to each gene, on test samples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from ksfusion.core.devices import Device, choose_device
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.results.attribution.config import AttributeGenesSettings
from ksfusion.results.attribution.genes import Attributed, attribute_samples, attribution_table, check_rows
from ksfusion.results.attribution.integrated import explained_outputs, training_mean
from ksfusion.results.attribution.permuted import permuted_model
from ksfusion.results.attribution.tables import CHECKED, NUMBERS, as_text
from ksfusion.training.data import FoldFiles, read_fold
from ksfusion.training.reproducible import THREADS, reproducible
from ksfusion.training.trained_run import TrainedRun, runs_by_task

log = logging.getLogger(__name__)


def attribute_genes(
    files: FoldFiles,
    *,
    runs: Sequence[Path],
    output: Sequence[Path],
    stability: Sequence[Path],
    settings: AttributeGenesSettings,
    truth: Path | None = None,
    device: Device = "auto",
) -> None:
    """Tell by integrated gradients which genes the outputs of a method rest on, and how stable that is.

    Parameters
    ----------
    files
        The files that the runs were trained on.
    runs
        Folders of runs of one method and fold, in order of tasks and seeds; one without a model adds nothing.
    output
        A table for each task, in that order (`ksfusion.results.attribution.genes.attribution_table`).
    stability
        A table for each task (`ksfusion.results.attribution.genes.check_rows`).
    settings
        Number of test samples, and whether a model is trained on permuted labels for comparison.
    truth
        What each gene is bound to tell in the demo, of `draw-demo-expression`.
    device
        Device of the models.

    Raises
    ------
    UserError
        If files do not fit together, or there are not as many tables of a kind as tasks.
    """
    where = torch.device(choose_device(device))
    for own, (table, checks) in runs_by_task(runs, output=output, stability=stability):
        _attribute_task(files, own, table, checks, settings, truth, where)


def _attribute_task(
    files: FoldFiles,
    runs: Sequence[TrainedRun],
    output: Path,
    stability: Path,
    settings: AttributeGenesSettings,
    truth: Path | None,
    device: torch.device,
) -> None:
    """Explain the runs of a task."""
    task, info = runs[0].task, runs[0].method
    by_seed: list[Attributed] = []
    permuted: Attributed | None = None
    data = read_fold(files, task=task, fold=runs[0].fold, modalities=info.modalities)
    baseline = training_mean(data)
    for run in runs:
        if not run.has_model:
            continue
        outputs = explained_outputs(task, sd=run.config.get("sd", 1.0))
        explain = partial(attribute_samples, data=data, outputs=outputs, baseline=baseline, samples=settings.samples)
        with reproducible(run.seed, device=device, threads=THREADS):
            by_seed.append(explain(run.load(device)))
            if settings.permuted and permuted is None:
                log.info("task %s, method %s: trained on permuted labels for comparison", task.name, info.name)
                permuted = explain(permuted_model(data, run.config, device))
    categories = read_tsv(files.selected, dtype=str).set_index("symbol")["category"] if files.selected else {}
    table = attribution_table(by_seed, dict(categories))
    planted = read_tsv(truth).query("task == @task.name") if truth else None
    made_by = runs[0].made_by(__name__, settings)
    write_tsv(as_text(table, NUMBERS), output, made_by)
    checks = check_rows(by_seed, permuted, table, planted)
    write_tsv(as_text(checks, CHECKED), stability, made_by)
