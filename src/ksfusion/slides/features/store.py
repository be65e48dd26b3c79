"""The features of all batches, gathered into one memory map: what training reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.core.checksums import array_checksum
from ksfusion.core.errors import UserError
from ksfusion.core.feature_store import FEATURES, INDEX
from ksfusion.core.features_file import FeaturesFile, open_features
from ksfusion.core.machine_errors import take_room


@dataclass(frozen=True)
class StoreLayout:
    """Where the features of each slide lie in the store.

    Attributes
    ----------
    slides : pandas.DataFrame
        slide_id, offset, n_unique: of each slide that came through, in order of their ids, where its block starts and
        how long it is.
    n_features : int
        Length of a feature vector.
    count : int
        Patches of a slide's map.
    settings : dict
        What all files were made with.
    """

    slides: pd.DataFrame
    n_features: int
    count: int
    settings: dict[str, Any]


def lay_out(feature_files: Sequence[Path]) -> StoreLayout:
    """Return the layout of the store that holds the features of all batches.

    Parameters
    ----------
    feature_files
        Files of `ksfusion.stages.extract_features` or `ksfusion.stages.import_features`, in any order.

    Raises
    ------
    UserError
        If no slide came through, a slide is there twice, or the files were made with different settings.
    """
    where: dict[str, tuple[Path, int]] = {}
    first: dict[int, str] = {}
    shapes, settings = set(), set()
    for path, file in _opened(feature_files):
        settings.add(json.dumps(file.made_by["settings"], sort_keys=True))
        for slide_id, group in file.completed():
            if slide_id in where:
                raise UserError(f"slide {slide_id} is in {where[slide_id][0]} and in {path}; remove the older file")
            rows, width = group.shape("features")
            where[slide_id] = (path, rows)
            shapes.add((width, *group.shape("index")))
            first.setdefault(width, slide_id)
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
    slides = pd.DataFrame({"slide_id": slide_ids, "offset": offsets, "n_unique": n_unique})
    return StoreLayout(slides, n_features, count, json.loads(settings.pop()))


def any_completed(feature_files: Sequence[Path]) -> bool:
    """Return whether any slide came through."""
    return any(True for _, file in _opened(feature_files) for _ in file.completed())


def no_slides() -> pd.DataFrame:
    """Return the table of the slides of a store that has none."""
    return pd.DataFrame(columns=["slide_id", "offset", "n_unique"])


def gather(feature_files: Sequence[Path], layout: StoreLayout, folder: Path) -> dict[str, str]:
    """Write the memory maps of a store, slide by slide.

    Parameters
    ----------
    feature_files
        The files that were laid out.
    layout
        The place of each slide.
    folder
        Gets ``features.npy`` and ``index.npy``.

    Returns
    -------
    dict
        slide_id to the checksum of its features.

    Raises
    ------
    DamagedFileError
        If the features of a slide are damaged.
    """
    total = int(layout.slides["n_unique"].sum())
    features = _created(folder / FEATURES, np.float16, (total, layout.n_features))
    index = _created(folder / INDEX, np.int32, (len(layout.slides), layout.count))
    checksums: dict[str, str] = {}
    rows = {slide_id: row for row, slide_id in enumerate(layout.slides["slide_id"])}
    starts = layout.slides["offset"].to_numpy()
    ends = starts + layout.slides["n_unique"].to_numpy()
    for _, file in _opened(feature_files):
        for slide_id, group in file.completed():
            row = rows[slide_id]
            block = group.read("features", into=features[starts[row] : ends[row]])
            known = group["features"]
            checksums[slide_id] = known.checksum if known else array_checksum(block)
            index[row] = group.read("index")
    features.flush()
    index.flush()
    return checksums


def _created(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    take_room(path, path.stat().st_size)
    return array


def _opened(paths: Sequence[Path]) -> Iterator[tuple[Path, FeaturesFile]]:
    for path in paths:
        with open_features(path) as file:
            yield path, file
