"""What the outputs of trained models owe to each gene, on test samples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ksfusion.core.devices import Device, choose_device
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_json, read_tsv, write_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.results.attribution.config import AttributeGenesSettings
from ksfusion.results.attribution.genes import Attributed, attribute_samples, attribution_table, check_rows
from ksfusion.results.attribution.integrated import explained_outputs, training_mean
from ksfusion.results.attribution.permuted import permuted_model
from ksfusion.results.attribution.tables import CHECKED, NUMBERS, as_text
from ksfusion.training.checkpoint import CONFIG, load_model
from ksfusion.training.config import TrainedTask
from ksfusion.training.data import FoldFiles, read_fold
from ksfusion.training.reproducible import THREADS, reproducible

log = logging.getLogger(__name__)


def attribute_genes(
    files: FoldFiles,
    *,
    runs: Sequence[Path],
    output: Sequence[Path],
    stability: Sequence[Path],
    settings: AttributeGenesSettings,
    truth: Sequence[Path] = (),
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
        What each gene is bound to tell in the demo, of `draw-demo-expression`; at most one.
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
    for name, table, checks in zip(names, output, stability, strict=True):
        own = [(run, config) for run, config in configs if config["task"]["name"] == name]
        _attribute_task(files, own, table, checks, settings, truth, where)


def _attribute_task(
    files: FoldFiles,
    runs: Sequence[tuple[Path, dict[str, Any]]],
    output: Path,
    stability: Path,
    settings: AttributeGenesSettings,
    truth: Sequence[Path],
    device: torch.device,
) -> None:
    """Explain the runs of a task, each given with its configuration."""
    first = runs[0][1]
    task, info = TrainedTask.model_validate(first["task"]), METHODS[first["method"]]
    with_model = [(run, config) for run, config in runs if "n_outputs" in config]
    by_seed: list[Attributed] = []
    permuted: Attributed | None = None
    data = read_fold(files, task=task, fold=first["fold"], modalities=info.modalities)
    baseline = training_mean(data)
    for run, config in with_model:
        outputs = explained_outputs(task, sd=config.get("sd", 1.0))
        explain = partial(attribute_samples, data=data, outputs=outputs, baseline=baseline, samples=settings.samples)
        with reproducible(config["seed"], device=device, threads=THREADS):
            by_seed.append(explain(load_model(run).to(device)))
            if settings.permuted and permuted is None:
                log.info("task %s, method %s: trained on permuted labels for comparison", task.name, info.name)
                permuted = explain(permuted_model(data, config, device))
    categories = read_tsv(files.selected, dtype=str).set_index("symbol")["category"] if files.selected else {}
    table = attribution_table(by_seed, dict(categories))
    planted = read_tsv(truth[0]).query("task == @task.name") if truth else None
    made_by = provenance((__name__, info.module), {"run": first["provenance"]["settings"], **settings.record()})
    write_tsv(as_text(table, NUMBERS), output, made_by)
    checks = check_rows(by_seed, permuted, table, planted)
    write_tsv(as_text(checks, CHECKED), stability, made_by)
