"""The features of finished slides, kept aside until their batch is packed."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ksfusion.core.provenance import as_json
from ksfusion.core.storage import atomic

KEY = "key"
T = TypeVar("T")


def key_of(made_of: Mapping[str, Any], *arrays: np.ndarray) -> str:
    """Return the key of what a slide's features are made of: settings, code and identities, and arrays."""
    digest = hashlib.sha256(as_json(made_of).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def weights_digest(path: Path | str) -> str:
    """Return the SHA-256 of a file of weights, whole."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Aside:
    """A place beside a batch's file for the features of its slides.

    While the batch is made, each finished slide is a file of its own, so that a job that is killed redoes the slide in
    hand only. The packed batch is kept under a second name, at no cost: Snakemake removes the first before the job
    runs again, and a slide that is new in the batch would have all its neighbours encoded again.

    Parameters
    ----------
    output
        The batch's HDF5 file.
    """

    def __init__(self, output: Path):
        self._folder = output.with_name(f".{output.stem}.aside")
        self._packed = output.with_name(f".{output.stem}.kept{output.suffix}")
        self._output = output

    def _file(self, slide_id: str, key: str) -> Path:
        return self._folder / f"{slide_id}.{key}.npy"

    def __contains__(self, slide: tuple[str, str]) -> bool:
        """Say whether the features of a slide (id, key) are here; they are not loaded."""
        return self._found(*slide, lambda _: True) is not None

    def find(self, slide_id: str, key: str) -> np.ndarray | None:
        """Return the features of a slide, if they were made of what ``key`` says."""
        return self._found(slide_id, key, lambda features: features[:])

    def _found(self, slide_id: str, key: str, take: Callable[[Any], T]) -> T | None:
        """Return what ``take`` makes of the features on the disk; None where they are not there."""
        import h5py

        with contextlib.suppress(OSError, ValueError):
            return take(np.load(self._file(slide_id, key), mmap_mode="r", allow_pickle=False))
        with contextlib.suppress(OSError), h5py.File(self._packed, "r") as file:
            if slide_id in file and file[slide_id].attrs.get(KEY) == key:
                return take(file[slide_id]["features"])
        return None

    def keep(self, slide_id: str, key: str, features: np.ndarray) -> None:
        """Keep the features of a slide."""
        with atomic(self._file(slide_id, key)) as temporary:
            np.save(temporary, features, allow_pickle=False)

    def close(self) -> None:
        """Forget the single slides: the batch's file has them."""
        self._packed.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a file system without hard links keeps nothing for later
            self._packed.hardlink_to(self._output)
        shutil.rmtree(self._folder, ignore_errors=True)
