"""Where a trained model looks on the slides of test samples: a picture of each, and a table of all their patches."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from ksfusion.core.provenance import as_json, provenance
from ksfusion.core.storage import atomic, read_parquet, read_tsv, write_parquet, write_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.results.attention.maps import attention_maps, sum_by_patch
from ksfusion.results.attention.slide_picture import Patches, Sheet, on_slide, on_white, read_patches, read_picture
from ksfusion.results.plots.attention import LONGEST_PX, draw_attention
from ksfusion.results.plots.style import STYLE
from ksfusion.results.runs import outcome_columns
from ksfusion.results.tables.layout import method_label, plain
from ksfusion.slides.reading.slide import SlideError
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.reading.workers import IsolatedCalls
from ksfusion.training.checkpoint import load_model
from ksfusion.training.data import read_fold
from ksfusion.training.reproducible import reproducible

TABLE, LIST = "attention.parquet", "heatmaps.tsv"
COLUMNS = ["sample_id", "slide_id", "heatmap", "sha256", "reason"]


def make_heatmaps(
    run: Path,
    output: Path,
    *,
    store: Path,
    expression: Path,
    selected: Path,
    samples_ledger: Path,
    cases: Path,
    splits: Path,
    features: Iterable[Path],
    manifest: Path,
    samples: int | Literal["all"],
    slides: Mapping[str, Any] | None,
) -> None:
    """Draw where a model looks on the slides of some test samples.

    Parameters
    ----------
    run
        Folder of `ksfusion.training.loop.train`. A run without a model has no pictures.
    output
        Folder: a PNG for each sample, named after it; ``heatmaps.tsv`` lists them (sample_id, slide_id, heatmap,
        sha256, and the reason where the slide could not be read and its patches lie on white); ``attention.parquet``
        has one row for each patch of each sample: sample_id, x and y of its upper left corner as in the features,
        ``cells`` of the map in which it stands, and its share of the attention of each stream.
    store, expression, selected, samples_ledger, cases, splits
        As for the training of the run.
    features
        ``features/{batch}.h5`` of all batches.
    manifest
        The user's table of samples.
    samples
        How many test samples, spread evenly over the classes or the predicted risk.
    slides
        Settings of reading; None where there are no slides to read.
    """
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    task, method, fold = config["task"], config["method"], config["fold"]
    made_by = provenance(
        ("ksfusion.results.attention.heatmaps", METHODS[method].module),
        {"run": config["provenance"]["settings"], "samples": samples, "slides": dict(slides) if slides else None},
    )
    predictions = read_parquet(run / "predictions.parquet").query("split == 'test'")
    chosen = choose_samples(predictions, task, samples)
    ledger = read_tsv(samples_ledger, dtype=str).set_index("sample_id")["slide_id"]
    wanted = {sample_id: ledger[sample_id] for sample_id in chosen}
    patches = read_patches(features, set(wanted.values()))
    files = (store, expression, selected, samples_ledger, cases, splits)
    attention = _attention(run, config, files, wanted, patches)

    rows, tables = [], []
    with IsolatedCalls(read_picture, slides["timeout"] if slides else 0) as read:
        sources = slide_sources(manifest) if slides else {}
        for sample_id, slide_id in wanted.items():
            here, shares, sheet, reason = patches[slide_id], attention[sample_id], None, ""
            if slides:
                try:
                    sheet = on_slide(read, sources[slide_id], here, settings=slides, longest=LONGEST_PX)
                except SlideError as error:
                    reason = error.reason
                    print(f"{slide_id}\t{reason}: {error}", file=sys.stderr, flush=True)
            sheet = sheet or on_white(here, longest=LONGEST_PX)
            lines = [
                f"{plain(task['name']).capitalize()}, {method_label(method)}, fold {fold}, seed {config['seed']}",
                outcome(predictions, sample_id, task),
            ]
            data = _draw(sheet, shares, here.cells, sample_id, lines, as_json(made_by))
            picture = output / f"{sample_id}.png"
            with atomic(picture) as temporary:
                temporary.write_bytes(data)
            rows.append((sample_id, slide_id, picture.name, hashlib.sha256(data).hexdigest(), reason))
            table = {"sample_id": sample_id, "x": here.coords[:, 0], "y": here.coords[:, 1], "cells": here.cells}
            tables.append(pd.DataFrame({**table, **shares}))
    for picture in set(output.glob("*.png")) - {output / row[2] for row in rows}:
        picture.unlink()
    empty = pd.DataFrame(columns=["sample_id", "x", "y", "cells"])
    write_parquet(pd.concat(tables, ignore_index=True) if tables else empty, output / TABLE, made_by)
    write_tsv(pd.DataFrame(rows, columns=COLUMNS), output / LIST, made_by)


def choose_samples(predictions: pd.DataFrame, task: Mapping[str, Any], samples: int | Literal["all"]) -> list[str]:
    """Return the sample_id of some samples, in order of their class or, for survival, of their predicted risk.

    Where not all are asked for, they are spread evenly over that order, its ends included. A class that is not known
    comes last, equal ones by sample_id.
    """
    by = "risk" if task["kind"] == "survival" else "y"
    ordered = predictions.sort_values([by, "sample_id"], na_position="last")["sample_id"].tolist()
    if samples == "all" or samples >= len(ordered):
        return ordered
    return [ordered[position] for position in np.linspace(0, len(ordered) - 1, samples).round().astype(int)]


def outcome(predictions: pd.DataFrame, sample_id: str, task: Mapping[str, Any]) -> str:
    """Say what the model predicts of a sample, and what is true."""
    row = predictions.set_index("sample_id").loc[sample_id]
    if task["kind"] == "survival":
        rank = int((predictions["risk"] > row["risk"]).sum()) + 1
        told = f"Risk {row['risk']:.2f}, rank {rank} of {len(predictions)} test samples (1: highest)"
        if pd.isna(row["days"]) or pd.isna(row["event"]):
            return f"{told}; survival not known"
        return f"{told}; {'died' if row['event'] else 'censored'} after {row['days']:.0f} days"
    probabilities = row[outcome_columns(task)[1]].to_numpy(float)
    best = int(probabilities.argmax())
    truth = "not known" if pd.isna(row["y"]) else plain(task["classes"][int(row["y"])])
    return f"Predicted {plain(task['classes'][best])} (probability {probabilities[best]:.2f}); truth {truth}"


def _attention(
    run: Path,
    config: Mapping[str, Any],
    files: Sequence[Path],
    wanted: Mapping[str, str],
    patches: Mapping[str, Patches],
) -> dict[str, dict[str, np.ndarray]]:
    """Return the attention of each stream on the patches of each sample; ``wanted`` is sample_id to slide_id."""
    if not wanted:
        return {}
    modalities = METHODS[config["method"]].modalities
    data = read_fold(*files, task=config["task"], fold=config["fold"], modalities=modalities)
    position = {sample_id: number for number, sample_id in enumerate(data.samples["sample_id"])}
    cpu, found = torch.device("cpu"), {}
    with reproducible(config["seed"], device=cpu, threads=1), torch.no_grad():
        model = load_model(run)
        for sample_id, slide_id in wanted.items():
            out = model(*data.gather(np.array([position[sample_id]]), cpu))
            maps = attention_maps(model, out)
            found[sample_id] = {name: sum_by_patch(cells[0], patches[slide_id].index) for name, cells in maps.items()}
    return found


def _draw(
    sheet: Sheet,
    attention: Mapping[str, np.ndarray],
    cells: np.ndarray,
    title: str,
    lines: Sequence[str],
    description: str,
) -> bytes:
    """Return the picture of a sample as a PNG."""
    from matplotlib import rc_context, style
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    data = io.BytesIO()
    with rc_context(), style.context(["default", STYLE]):
        figure = draw_attention(sheet, attention, cells, title=title, lines=lines)
        FigureCanvasAgg(figure)
        figure.savefig(data, format="png", metadata={"Description": description})
    return data.getvalue()
