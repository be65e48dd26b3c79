"""The pictures of attention: where a trained model looks on the slides of some test samples."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ksfusion.core.atomic import atomic
from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import as_json
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.results.attention.heatmaps import attention_of_samples, choose_samples, outcome_text
from ksfusion.results.attention.maps import sum_by_patch
from ksfusion.results.attention.patch_gallery import gallery_png, pictures_of, read_slide_and_patches
from ksfusion.results.attention.slide_picture import read_patches
from ksfusion.results.config import DrawHeatmapsSettings, Printing, ShownTask
from ksfusion.results.plots.attention import attention_png
from ksfusion.results.runs import paired_samples
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.reading.workers import IsolatedCalls
from ksfusion.training.checkpoint import PREDICTIONS
from ksfusion.training.data import FoldFiles, read_fold
from ksfusion.training.trained_run import TrainedRun

log = logging.getLogger(__name__)

TABLE, LIST, GALLERIES = "attention.parquet", "heatmaps.tsv", Path("patches")
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
        The user's table of samples.
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

    rows, tables = [], []
    shown = ShownTask.of(task, **settings.printing.get(task.name, Printing()).model_dump())
    which = f"{shown.heading}, {method.label}, fold {trained.fold}, seed {trained.seed}"
    sources = slide_sources(manifest) if settings.slides else {}
    with IsolatedCalls(read_slide_and_patches, settings.slides.timeout if settings.slides else 0) as read:
        for sample_id, slide_id in chosen.items():
            here = patches[slide_id]
            shares = {stream: sum_by_patch(cells, here.index) for stream, cells in attention[sample_id].items()}
            slide, sheet, reason = pictures_of(slide_id, here, shares, read, sources, settings.slides)
            lines, about = [which, outcome_text(predictions, sample_id, shown)], as_json(made_by)
            file = Path(f"{sample_id}.png")
            png = attention_png(slide, shares, here.cells, title=sample_id, lines=lines, description=about)
            pictures = {str(file): png}
            if sheet:
                pictures[str(GALLERIES / file)] = gallery_png(
                    sheet, title=f"{sample_id}: patches by attention. {which}", description=about
                )
            for name, picture in pictures.items():
                with atomic(output / name) as temporary:
                    temporary.write_bytes(picture)
            (drawn, digest), *others = ((name, hashlib.sha256(png).hexdigest()) for name, png in pictures.items())
            rows.append((sample_id, slide_id, drawn, digest, reason, *(others[0] if others else ("", ""))))
            place = {"sample_id": sample_id, "x": here.coords[:, 0], "y": here.coords[:, 1], "cells": here.cells}
            tables.append(pd.DataFrame({**place, **shares}))
    kept = {output / name for row in rows for name in (row[2], row[5]) if name}
    for old in {*output.glob("*.png"), *output.glob(f"{GALLERIES}/*.png")} - kept:
        old.unlink()
    empty = pd.DataFrame(columns=["sample_id", "x", "y", "cells"])
    write_parquet(pd.concat(tables, ignore_index=True) if tables else empty, output / TABLE, made_by)
    write_tsv(pd.DataFrame(rows, columns=COLUMNS), output / LIST, made_by)
