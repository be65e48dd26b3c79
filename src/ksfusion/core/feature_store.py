"""All features in one memory map: its files, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ksfusion.core.storage import read_tsv

FEATURES, INDEX, SLIDES, DESCRIPTION = "features.npy", "index.npy", "slides.tsv", "store.json"


@dataclass(frozen=True)
class FeatureStore:
    """The features of all slides that came through, read as they are asked for.

    Attributes
    ----------
    slide_ids : tuple of str
        Sorted.
    features : numpy.memmap of shape (unique patches of all slides, d), float16
    index : numpy.memmap of shape (slides, count), int32
        Rows within the slide's own block, in map order.
    offsets : numpy.ndarray of shape (slides,), int64
        Where each slide's block starts.
    n_unique : numpy.ndarray of shape (slides,), int64
        How long it is.
    """

    slide_ids: tuple[str, ...]
    features: np.ndarray
    index: np.ndarray
    offsets: np.ndarray
    n_unique: np.ndarray

    def rows(self, slide: int) -> np.ndarray:
        """Return the rows of ``features`` that make the map of a slide, given by its position; shape (count,)."""
        return self.offsets[slide] + self.index[slide]

    def patches(self, slide: int) -> np.ndarray:
        """Return the map of a slide, given by its position; shape (count, d), float16."""
        return self.features[self.rows(slide)]


def open_store(path: Path | str) -> FeatureStore:
    """Open a folder of `ksfusion.stages.build_store`."""
    path = Path(path)
    table = read_tsv(path / SLIDES, dtype={"slide_id": str})
    return FeatureStore(
        tuple(table["slide_id"]),
        np.load(path / FEATURES, mmap_mode="r", allow_pickle=False),
        np.load(path / INDEX, mmap_mode="r", allow_pickle=False),
        table["offset"].to_numpy(dtype=np.int64),
        table["n_unique"].to_numpy(dtype=np.int64),
    )
