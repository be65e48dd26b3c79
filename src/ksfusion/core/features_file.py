"""The file of a batch's features: HDF5 with a group for each slide, and how damage in it is noticed.

Of each slide the attribute ``checksums`` has those of its arrays and of its other attributes; the file's own has that
of all of these and of what made it. So whatever is read of a file is looked at, and no more. Files of other programs
and of versions up to 0.1.0, without the attributes, are read as they are.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ksfusion.core.checksums import checksum
from ksfusion.core.errors import DamagedFileError
from ksfusion.core.provenance import as_json
from ksfusion.core.storage import PROVENANCE_KEY

CHECKSUMS, OF_ATTRIBUTES = "checksums", "attributes"
# What h5py raises where the bytes of a file make no sense.
UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError, MemoryError)


def array_checksum(values: np.ndarray) -> str:
    """Return the checksum of an array: its type, its shape and its values."""
    values = np.ascontiguousarray(values)
    return checksum(f"{values.dtype.str} {values.shape}".encode(), values.reshape(-1).view(np.uint8).data)


def write_slide(
    file: h5py.File, slide_id: str, attributes: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write the group of a slide; `seal_features` finishes the file."""
    group = file.create_group(slide_id)
    group.attrs.update(attributes)
    for name, values in (arrays or {}).items():
        group.create_dataset(name, data=values)
    sums = {name: array_checksum(values) for name, values in (arrays or {}).items()}
    group.attrs[CHECKSUMS] = as_json({**sums, OF_ATTRIBUTES: _attribute_checksum(slide_id, dict(group.attrs))})


def reseal_slide(group: h5py.Group, slide_id: str) -> None:
    """Write the checksum of a slide's attributes anew after one was changed, where it has one."""
    if CHECKSUMS in group.attrs:
        sums = json.loads(group.attrs[CHECKSUMS])
        sums[OF_ATTRIBUTES] = _attribute_checksum(slide_id, dict(group.attrs))
        group.attrs[CHECKSUMS] = as_json(sums)


def seal_features(file: h5py.File) -> None:
    """Write the checksum of a file whose slides have theirs."""
    file.attrs[CHECKSUMS] = _file_checksum(file)


def is_sealed(file: h5py.File) -> bool:
    """Return whether a file has its checksum."""
    return CHECKSUMS in file.attrs


def _file_checksum(file: h5py.File) -> str:
    of_slides = {slide_id: str(group.attrs[CHECKSUMS]) for slide_id, group in file.items()}
    return checksum(as_json([str(file.attrs.get(PROVENANCE_KEY)), of_slides]).encode())


def _attribute_checksum(slide_id: str, attributes: Mapping[str, Any]) -> str:
    plain = {name: getattr(value, "item", lambda value=value: value)() for name, value in attributes.items()}
    plain.pop(CHECKSUMS, None)
    return checksum(as_json([slide_id, plain]).encode())


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
    checksums
        Of the arrays, by name; empty where the file has none.
    """

    def __init__(self, path: Path, group: h5py.Group, slide_id: str, *, sealed: bool):
        self._path, self._group = path, group
        self.attributes: dict[str, Any] = dict(group.attrs)
        self.checksums: dict[str, str] = {}
        if sealed:
            self.checksums = json.loads(self.attributes.pop(CHECKSUMS))
            if self.checksums.pop(OF_ATTRIBUTES) != _attribute_checksum(slide_id, self.attributes):
                raise DamagedFileError(path)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        with _damaged_where_unreadable(self._path):
            return self._group[name].shape

    def read(self, name: str, into: np.ndarray | None = None) -> np.ndarray:
        """Return an array, read into another one where that is given.

        Raises
        ------
        DamagedFileError
            If it is not what its checksum says.
        """
        with _damaged_where_unreadable(self._path):
            dataset = self._group[name]
            values = np.empty(dataset.shape, dataset.dtype) if into is None else into
            dataset.read_direct(values)
        if self.checksums and self.checksums.get(name) != array_checksum(values):
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
            self._slide_ids = list(file)
            self._sealed = is_sealed(file)
            if self._sealed and file.attrs[CHECKSUMS] != _file_checksum(file):
                raise DamagedFileError(path)
            self.made_by: dict[str, Any] = json.loads(file.attrs.get(PROVENANCE_KEY, "{}"))

    def __getitem__(self, slide_id: str) -> SlideGroup:
        if slide_id not in self._slide_ids:
            raise KeyError(slide_id)
        with _damaged_where_unreadable(self._path):
            return SlideGroup(self._path, self._file[slide_id], slide_id, sealed=self._sealed)

    def __iter__(self) -> Iterator[str]:
        return iter(self._slide_ids)

    def __len__(self) -> int:
        return len(self._slide_ids)

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
