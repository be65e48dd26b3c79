"""All features in one memory map: its files, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.core.checksums import array_checksum, checksum
from ksfusion.core.errors import DamagedFileError
from ksfusion.core.storage import read_json, read_tsv

FEATURES, INDEX, SLIDES, DESCRIPTION = "features.npy", "index.npy", "slides.tsv", "store.json"
# In store.json: the checksums of its small files, and of the features of each slide.
FILES, BLOCKS = "files", "features"


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
    path : Path
        The folder.
    checksums : dict
        slide_id to the checksum of its features (`ksfusion.core.checksums.array_checksum`); what a store lacks is
        not looked at.
    """

    slide_ids: tuple[str, ...]
    features: np.ndarray
    index: np.ndarray
    offsets: np.ndarray
    n_unique: np.ndarray
    path: Path
    checksums: Mapping[str, str] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set, repr=False)

    def rows(self, slide: int) -> np.ndarray:
        """Return the rows of ``features`` that make the map of a slide, given by its position; shape (count,)."""
        return self.offsets[slide] + self.index[slide]

    def patches(self, slide: int) -> np.ndarray:
        """Return the map of a slide, given by its position; shape (count, d), float16."""
        return self.features[self.rows(slide)]

    def check(self, slides: Iterable[int]) -> None:
        """Make sure that the features of slides, given by their positions, are undamaged; of each slide once.

        It costs nothing beside reading them, and is done as they are read: reading a whole store for it would take
        minutes.

        Raises
        ------
        DamagedFileError
            If those of a slide are not what their checksum says.
        """
        for slide in set(slides) - self._seen:
            block = self.features[self.offsets[slide] : self.offsets[slide] + self.n_unique[slide]]
            wanted = self.checksums.get(self.slide_ids[slide])
            if wanted and array_checksum(block) != wanted:
                raise DamagedFileError(self.path)
            self._seen.add(slide)


def open_store(path: Path | str) -> FeatureStore:
    """Open a folder of `ksfusion.stages.build_store`.

    Raises
    ------
    DamagedFileError
        If its index is damaged, or a file of it cannot be read. Features are looked at by `FeatureStore.check`.
    """
    path = Path(path)
    try:
        known = read_json(path / DESCRIPTION) if (path / DESCRIPTION).exists() else {}
        for name, wanted in known.get(FILES, {}).items():
            if checksum((path / name).read_bytes()) != wanted:
                raise DamagedFileError(path)
        table = read_tsv(path / SLIDES, dtype={"slide_id": str})
    except (DamagedFileError, AttributeError):
        raise DamagedFileError(path) from None
    features, index = (_opened(path, name) for name in (FEATURES, INDEX))
    if FILES in known and not _fits(known, table, features):
        raise DamagedFileError(path)
    return FeatureStore(
        tuple(table["slide_id"]),
        features,
        index,
        table["offset"].to_numpy(dtype=np.int64),
        table["n_unique"].to_numpy(dtype=np.int64),
        path,
        known.get(BLOCKS, {}),
    )


def _opened(path: Path, name: str) -> np.ndarray:
    try:
        return np.load(path / name, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception:  # of a header that makes no sense NumPy says so in many ways
        raise DamagedFileError(path) from None


def _fits(known: Mapping[str, Any], table: pd.DataFrame, features: np.ndarray) -> bool:
    return features.dtype == np.float16 and features.shape == (table["n_unique"].sum(), known["d"])
