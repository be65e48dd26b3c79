"""The pictures of attention: where a trained model looks on the slides of some test samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import as_json
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.results.attention.drawing import Drawing, DrawnSample
from ksfusion.results.attention.heatmaps import attention_of_samples, attention_table, choose_samples, outcome_text
from ksfusion.results.attention.patch_gallery import read_slide_and_patches
from ksfusion.results.attention.slide_picture import read_patches
from ksfusion.results.config import Printing, ShownTask
from ksfusion.results.runs import paired_samples
from ksfusion.results.stage_settings import DrawHeatmapsSettings
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.reading.workers import IsolatedCalls
from ksfusion.training.checkpoint import PREDICTIONS
from ksfusion.training.data import FoldFiles, read_fold
from ksfusion.training.trained_run import TrainedRun

TABLE, LIST, SHEETS = "attention.parquet", "heatmaps.tsv", "patches"
COLUMNS = ["sample_id", "slide_id", "heatmap", "sha256", "reason", "patches", "patches_sha256"]


def draw_heatmaps(
    files: FoldFiles,
    *,
    run: Path,
    features: Sequence[Path],
    manifest: Path,
    output: Path,
    settings: DrawHeatmapsSettings,
) -> None:
    """Draw where a model looks on the slides of some test samples.

    Parameters
    ----------
    files
        The files that the run was trained on.
    run
        Folder of the run; one without a model has no pictures.
    features
        ``features/{batch}.h5`` of all batches.
    manifest
        Table of slide_id, slide and mpp: ``results/cohort/manifest.tsv`` of a run, or a table of samples.
    output
        Folder: a PNG for each sample, named after it; ``heatmaps.tsv`` lists them (sample_id, slide_id, heatmap,
        sha256, and the reason where the slide could not be read and its patches lie on white; else also a sheet of the
        patches with most and least attention, in ``patches/``, and its digest); ``attention.parquet`` has one row for
        each patch of each sample: sample_id, x and y of its upper left corner as in the features, ``cells`` of the map
        in which it stands, and its share of the attention of each stream.
    settings
        Number of samples, what tasks and classes are called, and how slides are read; no slides are read where they
        are null.

    Raises
    ------
    UserError
        If the method has no attention over patches, or files do not fit together.
    """
    trained = TrainedRun.read(run)
    task, method, made_by = trained.task, trained.method, trained.made_by(__name__, settings)
    predictions = paired_samples(read_parquet(run / PREDICTIONS).query("split == 'test'"))
    slide_of = read_tsv(files.samples, dtype=str).set_index("sample_id")["slide_id"]
    chosen = {sample_id: slide_of[sample_id] for sample_id in choose_samples(predictions, task, settings.samples)}
    patches = read_patches(features, set(chosen.values()))
    attention: dict[str, dict[str, np.ndarray]] = {}
    if chosen:
        data = read_fold(files, task=task, fold=trained.fold, modalities=method.modalities)
        attention = attention_of_samples(trained.load(torch.device("cpu")), data, chosen, seed=trained.seed)

    shown = ShownTask.of(task, **settings.printing.get(task.name, Printing()).model_dump())
    which = f"{shown.heading}, {method.label}, fold {trained.fold}, seed {trained.seed}"
    sources = slide_sources(manifest) if settings.slides else {}
    with IsolatedCalls(read_slide_and_patches, settings.slides.timeout if settings.slides else 0) as read:
        drawing = Drawing(
            patches,
            sources,
            output,
            read,
            settings.slides,
            description=as_json(made_by),
            sheet_name=f"{SHEETS}/{{}}.png",
            sheet_note=f". {which}",
        )
        drawn = [
            drawing.draw(
                sample_id, slide_id, attention[sample_id], [which, outcome_text(predictions, sample_id, shown)]
            )
            for sample_id, slide_id in chosen.items()
        ]
    kept = {output / name for one in drawn for name in (one.heatmap, one.patches) if name}
    for old in {*output.glob("*.png"), *output.glob(f"{SHEETS}/*.png")} - kept:
        old.unlink()
    of_sample = {sample_id: patches[slide_id] for sample_id, slide_id in chosen.items()}
    write_parquet(attention_table(attention, of_sample), output / TABLE, made_by)
    rows = [{**asdict(one), **_digests(one, output)} for one in drawn]
    write_tsv(pd.DataFrame(rows, columns=COLUMNS), output / LIST, made_by)


def _digests(drawn: DrawnSample, folder: Path) -> dict[str, str]:
    """Return the SHA-256 of a sample's picture, and of its sheet of patches where it has one."""
    names = {"sha256": drawn.heatmap, "patches_sha256": drawn.patches}
    return {
        key: hashlib.sha256((folder / name).read_bytes()).hexdigest() if name else "" for key, name in names.items()
    }
