"""How well the attention of models, and the attribution of their output to each patch, find what was planted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.results.attention.localisation import COLUMNS, as_text, locate_all, patch_means
from ksfusion.results.attention.maps import WHOLE, attention_maps
from ksfusion.results.attention.patch_attribution import patch_attribution
from ksfusion.results.attention.slide_picture import SlidePatches, read_patches
from ksfusion.results.attention.targets import TargetFiles, Targets
from ksfusion.results.stage_settings import LocateAttentionSettings
from ksfusion.training.data import FoldData, FoldFiles, read_fold
from ksfusion.training.reproducible import reproducible
from ksfusion.training.trained_run import TrainedRun

ATTENTION, ATTRIBUTION = "attention", "attribution"
# Samples that are computed together.
AT_ONCE = 16
CPU = torch.device("cpu")


def locate_attention(
    files: FoldFiles,
    *,
    target_files: TargetFiles,
    runs: Sequence[Path],
    output: Path,
    settings: LocateAttentionSettings,
) -> None:
    """Compare where models look on test slides with what was planted there, or with what the user has annotated.

    Parameters
    ----------
    files
        The files that the runs were trained on.
    target_files
        The files of patches, and of what they show.
    runs
        Folders of runs of one fold; one without a model adds nothing.
    output
        A table (`ksfusion.results.attention.localisation.COLUMNS`).
    settings
        Number of bootstrap resamples.
    """
    targets = Targets.read(target_files)
    slide_of = read_tsv(files.samples, dtype=str).set_index("sample_id")["slide_id"]
    slide_of = slide_of[slide_of.isin(targets.slides)]
    patches = read_patches(target_files.features, set(slide_of))
    tested: dict[tuple[str, str], FoldData] = {}
    rows = []
    for run in map(TrainedRun.read, runs):
        if not run.has_model:
            continue
        task, method = run.task, run.method
        read = (task.name, method.modalities)
        if read not in tested:
            data = read_fold(files, task=task, fold=run.fold, modalities=method.modalities)
            tested[read] = data.only("test")
        data = tested[read]
        with reproducible(run.seed, device=CPU, threads=1):
            found_in = list(_scored(run, data, slide_of, patches))
        if not found_in:
            continue
        scored = pd.concat(found_in, ignore_index=True)
        table = targets.of(scored)
        streams = [name for name in scored if name.startswith((ATTENTION, ATTRIBUTION))]
        identity = (method.name, task.name, run.fold, run.seed)
        for name, target, found in locate_all(table, streams, targets.names, resamples=settings.resamples):
            measure, _, stream = name.partition(":")
            rows.append((*identity, stream, target, measure, *found))
    made_by = provenance(__name__, settings.record())
    write_tsv(as_text(pd.DataFrame(rows, columns=COLUMNS)), output, made_by)


def _scored(
    run: TrainedRun, data: FoldData, slide_of: pd.Series, patches: dict[str, SlidePatches]
) -> Iterator[pd.DataFrame]:
    """Yield the scores of the patches of each test sample: attention of each stream, and attribution."""
    model = run.load(CPU)
    known = data.samples[data.samples["sample_id"].isin(slide_of.index)]
    for start in range(0, len(known), AT_ONCE):
        samples = known[["sample_id", "case_id"]].iloc[start : start + AT_ONCE]
        read, genes = data.gather(samples.index.to_numpy(), CPU)
        assert read is not None  # these methods read patches
        out, attributions = patch_attribution(model, read, genes, run.task.kind)
        maps = attention_maps(model, out)
        for number, (sample_id, case_id) in enumerate(samples.itertuples(index=False)):
            slide_id = slide_of[sample_id]
            here = patches[slide_id]
            scores = {f"{ATTENTION}:{name}": patch_means(cells[number], here.index) for name, cells in maps.items()}
            scores[f"{ATTRIBUTION}:{WHOLE}"] = np.abs(patch_means(attributions[number], here.index))
            place = {"slide_id": slide_id, "x": here.coords[:, 0], "y": here.coords[:, 1]}
            yield pd.DataFrame({"sample_id": sample_id, "case_id": case_id, **place, **scores})
