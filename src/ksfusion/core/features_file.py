"""The file of a batch's features: HDF5 with a group for each slide, and how damage in it is noticed.

Each array has an attribute ``checksum``, and the file one of all attributes of its slides and of what made it: so
whatever is read of a file is looked at, and no more. Files of other programs and of versions up to 0.1.0, without
these attributes, are read as they are.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from ksfusion.core.checksums import array_checksum, checksum
from ksfusion.core.errors import DamagedFileError
from ksfusion.core.failures import take_room
from ksfusion.core.provenance import as_json
from ksfusion.core.storage import PROVENANCE_KEY

CHECKSUM = "checksum"
# More than a slide takes beside its arrays.
GROUP_BYTES = 1 << 14
# What h5py raises where the bytes of a file make no sense.
UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError, MemoryError)


class FeaturesWriter:
    """A file of features that is being written; a context manager.

    Parameters
    ----------
    path
        The file.
    made_by
        What makes it (see `ksfusion.core.provenance`).
    """

    def __init__(self, path: Path, made_by: Mapping[str, Any] | None = None):
        self._path, self._size = path, 0
        self._file = h5py.File(path, "w")
        if made_by is not None:
            self._file.attrs[PROVENANCE_KEY] = json.dumps(made_by, sort_keys=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            seal_features(self._file)
        self._file.close()

    def write(
        self, slide_id: str, attributes: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Write the group of a slide."""
        # HDF5 cuts off what it has not used.
        self._size += GROUP_BYTES + sum(values.nbytes for values in (arrays or {}).values())
        take_room(self._path, self._size)
        group = self._file.create_group(slide_id)
        group.attrs.update(attributes)
        for name, values in (arrays or {}).items():
            group.create_dataset(name, data=values).attrs[CHECKSUM] = array_checksum(values)


def seal_features(file: h5py.File) -> None:
    """Write the checksum of a file whose slides are written."""
    file.attrs[CHECKSUM] = _checksum_of(file, _attributes_of(file))


def is_sealed(file: h5py.File) -> bool:
    """Return whether a file has its checksum."""
    return CHECKSUM in file.attrs


def _attributes_of(file: h5py.File) -> dict[str, dict[str, Any]]:
    """Return the attributes of each slide."""
    return {slide_id: dict(group.attrs) for slide_id, group in file.items()}


def _checksum_of(file: h5py.File, attributes: Mapping[str, Mapping[str, Any]]) -> str:
    plain = {
        slide_id: {name: value.item() if isinstance(value, np.generic) else value for name, value in own.items()}
        for slide_id, own in attributes.items()
    }
    return checksum(as_json([file.attrs.get(PROVENANCE_KEY), plain]).encode())


@contextlib.contextmanager
def _damaged_where_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise DamagedFileError(path) from error


class SlideGroup:
    """What a file has of a slide.

    Attributes
    ----------
    attributes
        ``status``, ``reason``, ``mpp`` and what else was written.
    """

    def __init__(self, path: Path, group: h5py.Group, attributes: Mapping[str, Any]):
        self._path, self._group, self.attributes = path, group, attributes

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        with _damaged_where_unreadable(self._path):
            return self._group[name].shape

    def checksum(self, name: str) -> str | None:
        """Return the checksum of an array (`ksfusion.core.checksums.array_checksum`); None where it has none."""
        with _damaged_where_unreadable(self._path):
            return self._group[name].attrs.get(CHECKSUM)

    def read(self, name: str, into: np.ndarray | None = None) -> np.ndarray:
        """Return an array, read into another one where that is given.

        Raises
        ------
        DamagedFileError
            If it is not what its checksum says.
        """
        wanted = self.checksum(name)
        with _damaged_where_unreadable(self._path):
            dataset = self._group[name]
            values = np.empty(dataset.shape, dataset.dtype) if into is None else into
            dataset.read_direct(values)
        if wanted and array_checksum(values) != wanted:
            raise DamagedFileError(self._path)
        return values


class FeaturesFile(Mapping[str, SlideGroup]):
    """The slides of an open file, by slide_id.

    Attributes
    ----------
    made_by
        What made the file (see `ksfusion.core.provenance`); empty where it does not say.
    """

    def __init__(self, path: Path, file: h5py.File):
        self._path, self._file = path, file
        with _damaged_where_unreadable(path):
            self._attributes = _attributes_of(file)
            if is_sealed(file) and file.attrs[CHECKSUM] != _checksum_of(file, self._attributes):
                raise DamagedFileError(path)
            self.made_by: dict[str, Any] = json.loads(file.attrs.get(PROVENANCE_KEY, "{}"))

    def __getitem__(self, slide_id: str) -> SlideGroup:
        attributes = self._attributes[slide_id]
        with _damaged_where_unreadable(self._path):
            return SlideGroup(self._path, self._file[slide_id], attributes)

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def completed(self) -> Iterator[tuple[str, SlideGroup]]:
        """Yield the slides that came through."""
        return ((slide_id, group) for slide_id, group in self.items() if group.attributes["status"] == "ok")


@contextlib.contextmanager
def open_features(path: Path) -> Iterator[FeaturesFile]:
    """Open a file of features.

    Raises
    ------
    DamagedFileError
        If what is read of it is damaged.
    FileNotFoundError
        If it is not there.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    with contextlib.ExitStack() as stack:
        with _damaged_where_unreadable(path):
            file = stack.enter_context(h5py.File(path, "r"))
        yield FeaturesFile(path, file)
