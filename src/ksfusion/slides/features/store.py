"""Gather the features of all batches into one memory map: what training reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ksfusion.cohort.failures import check_failures
from ksfusion.core.errors import UserError
from ksfusion.core.feature_store import DESCRIPTION, FEATURES, INDEX, SLIDES

if TYPE_CHECKING:
    import h5py


def build_store(
    feature_files: Sequence[Path],
    output_dir: Path,
    *,
    slides: Path | None = None,
    samples: Path | None = None,
    max_failed_fraction: float = 1.0,
) -> None:
    """Gather the features of all batches, slide by slide.

    Parameters
    ----------
    feature_files
        Files of `ksfusion.slides.features.extraction.extract_batch`, in any order.
    output_dir
        Gets ``features.npy``, ``index.npy``, ``slides.tsv`` and ``store.json``; slides that failed are not in it.
    slides, samples, max_failed_fraction
        The ledger's two tables, and the share of slides that may fail (`ksfusion.cohort.failures.check_failures`).

    Raises
    ------
    UserError
        If too many slides failed, no sample is complete, a slide is there twice, or the files were made with
        different settings.
    """
    import pandas as pd

    from ksfusion.core.provenance import provenance
    from ksfusion.core.storage import PROVENANCE_KEY, atomic, write_tsv

    if slides and samples:
        check_failures(slides, samples, max_failed_fraction=max_failed_fraction)
    where: dict[str, tuple[Path, int]] = {}
    first, shapes, settings = {}, set(), set()
    for path, file in _opened(feature_files):
        settings.add(json.dumps(json.loads(file.attrs[PROVENANCE_KEY])["settings"], sort_keys=True))
        for slide_id, group in _completed(file):
            if slide_id in where:
                raise UserError(f"slide {slide_id} is in {where[slide_id][0]} and in {path}; remove the older file")
            where[slide_id] = (path, len(group["features"]))
            shapes.add((group["features"].shape[1], group["index"].shape[0]))
            first.setdefault(group["features"].shape[1], slide_id)
    if not where:
        raise UserError("no slide came through the feature stage; see its reasons in results/slides.tsv")
    if len(first) > 1:
        found = ", ".join(f"slide {slide_id} has {d} features a patch" for d, slide_id in sorted(first.items()))
        raise UserError(f"{found}; all must come from one encoder: replace the files of the others and rerun")
    if len(shapes) > 1 or len(settings) > 1:
        raise UserError("the feature files were made with different settings; remove the older ones and rerun")
    ((n_features, count),) = shapes

    slide_ids = sorted(where)
    n_unique = np.array([where[slide_id][1] for slide_id in slide_ids], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(n_unique)[:-1]]).astype(np.int64)
    position = {slide_id: number for number, slide_id in enumerate(slide_ids)}
    made_by = provenance("ksfusion.slides.features.store", json.loads(settings.pop()))
    with atomic(output_dir) as temporary:
        temporary.mkdir()
        created = np.lib.format.open_memmap
        features = created(temporary / FEATURES, "w+", np.float16, (int(n_unique.sum()), n_features))
        index = created(temporary / INDEX, "w+", np.int32, (len(slide_ids), count))
        for _, file in _opened(feature_files):
            for slide_id, group in _completed(file):
                row = position[slide_id]
                group["features"].read_direct(features[offsets[row] : offsets[row] + n_unique[row]])
                index[row] = group["index"][:]
        features.flush()
        index.flush()
        table = pd.DataFrame({"slide_id": slide_ids, "offset": offsets, "n_unique": n_unique})
        write_tsv(table, temporary / SLIDES)
        description = {"provenance": made_by, "d": n_features, "count": count}
        (temporary / DESCRIPTION).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _opened(paths: Sequence[Path]) -> Iterator[tuple[Path, h5py.File]]:
    import h5py

    for path in paths:
        with h5py.File(path, "r") as file:
            yield path, file


def _completed(file: h5py.File) -> Iterator[tuple[str, h5py.Group]]:
    return ((slide_id, group) for slide_id, group in file.items() if group.attrs["status"] == "ok")
