"""The figure of what the streams of a method make of test samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ksfusion.core.errors import UserError
from ksfusion.core.provenance import as_json, provenance
from ksfusion.results.attention.embeddings import embeddings_of, on_a_plane
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.embeddings import EmbeddedTask, draw_planes
from ksfusion.results.plots.panels import save_figure
from ksfusion.results.plots.style import drawing_style
from ksfusion.results.stage_settings import DrawTasksSettings
from ksfusion.training.data import FoldFiles, read_fold
from ksfusion.training.reproducible import THREADS, reproducible
from ksfusion.training.trained_run import TrainedRun


def draw_embeddings(files: FoldFiles, *, runs: Sequence[Path], output: Path, settings: DrawTasksSettings) -> None:
    """Draw the embeddings of the test samples of each task on a plane, by label and by cohort, as SVG and PNG.

    Parameters
    ----------
    files
        The files that the runs were trained on.
    runs
        Folders of runs of one method, fold and seed, one for each task in their order; one without a model has empty
        panels.
    output
        The files to write, without their suffix.
    settings
        What tasks and classes are called.

    Raises
    ------
    UserError
        If files do not fit together, or there are not as many runs as tasks.
    """
    found = [TrainedRun.read(run) for run in runs]
    if len(found) != len(settings.tasks):
        raise UserError(f"--runs: {len(found)} runs for {len(settings.tasks)} tasks; give one for each, in their order")
    drawn = [_embedded(files, run, shown) for run, shown in zip(found, settings.tasks, strict=True)]
    info = found[0].method
    title = f"Test samples as {info.label} sees them, fold {found[0].fold}, seed {found[0].seed}"
    recorded = {"runs": [run.config["provenance"]["settings"] for run in found], **settings.record()}
    with drawing_style():
        figure = draw_planes(drawn, title=title, study=settings.title)
        save_figure(figure, output, as_json(provenance((__name__, info.module), recorded)))


def _embedded(files: FoldFiles, run: TrainedRun, shown: ShownTask) -> EmbeddedTask:
    """Return the test samples of a task on the planes of its run's streams."""
    data = read_fold(files, task=run.task, fold=run.fold, modalities=run.method.modalities).only("test")
    planes, cpu = {}, torch.device("cpu")
    if run.has_model:
        with reproducible(run.seed, device=cpu, threads=THREADS):
            found = embeddings_of(run.load(cpu), data, batch_size=run.config["settings"]["batch_size"])
            planes = {stream: on_a_plane(values) for stream, values in found.items()}
    return EmbeddedTask(shown, data.samples, planes)
