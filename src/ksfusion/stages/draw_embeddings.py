"""The figure of what the streams of a method make of test samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ksfusion.core.provenance import as_json, provenance
from ksfusion.core.storage import read_json
from ksfusion.methods.registry import METHODS
from ksfusion.results.attention.embeddings import embeddings_of, on_a_plane
from ksfusion.results.config import DrawTasksSettings
from ksfusion.results.plots.embeddings import EmbeddedTask, draw_planes
from ksfusion.results.plots.panels import save_figure
from ksfusion.results.plots.style import drawing_style
from ksfusion.training.checkpoint import CONFIG, load_model
from ksfusion.training.config import TrainedTask
from ksfusion.training.data import FoldFiles, read_fold
from ksfusion.training.reproducible import THREADS, reproducible


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
        If files do not fit together.
    """
    drawn, configs = [], [read_json(run / CONFIG) for run in runs]
    info = METHODS[configs[0]["method"]]
    for shown, run, config in zip(settings.tasks, runs, configs, strict=True):
        task = TrainedTask.model_validate(config["task"])
        data = read_fold(files, task=task, fold=config["fold"], modalities=info.modalities).only("test")
        planes = {}
        if "n_outputs" in config:
            with reproducible(config["seed"], device=torch.device("cpu"), threads=THREADS):
                found = embeddings_of(load_model(run), data, batch_size=config["settings"]["batch_size"])
                planes = {stream: on_a_plane(values) for stream, values in found.items()}
        drawn.append(EmbeddedTask(shown, data.samples, planes))
    title = f"Test samples as {info.label} sees them, fold {configs[0]['fold']}, seed {configs[0]['seed']}"
    recorded = {"runs": [config["provenance"]["settings"] for config in configs], **settings.record()}
    with drawing_style():
        figure = draw_planes(drawn, title=title, study=settings.title)
        save_figure(figure, output, as_json(provenance((__name__, info.module), recorded)))
