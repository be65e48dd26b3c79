"""The file of a batch's features: HDF5 with a group for each slide, and how damage in it is noticed.

HDF5 itself notices little, and reading a damaged file with it may end the process. So behind what HDF5 reads stands
where each array lies, its checksum, and that of everything else. The latter, some kilobytes a slide, is looked at
before the file is opened; an array when it is read. That there is such an end stands with what made the file, so that
a file that has lost it is damaged. Files of other programs and of versions up to 0.1.0 have none, and are read as they
are.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import h5py
import numpy as np

from ksfusion.core.checksums import DIGITS, PROVENANCE_KEY, SEAL_KEY, array_checksum, checksum
from ksfusion.core.errors import DamagedFileError
from ksfusion.core.machine_errors import take_room
from ksfusion.core.provenance import as_json

END = b"ksfusion"
# The end: what is written as JSON, its checksum, its length, END.
END_BYTES = 2 * DIGITS + len(END)
# More than a slide takes beside its arrays.
GROUP_BYTES = 1 << 14
# What h5py raises where the bytes of a file make no sense.
UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError, MemoryError)


class Region(NamedTuple):
    """Where an array lies in the file, in bytes, and its checksum."""

    start: int
    size: int
    checksum: str


class FeaturesWriter:
    """A file of features that is being written; a context manager.

    Parameters
    ----------
    path
        The file.
    made_by
        Provenance of the file (see `ksfusion.core.provenance`).
    """

    def __init__(self, path: Path, made_by: Mapping[str, Any] | None = None):
        self._path, self._room = path, 0
        self._file = h5py.File(path, "w")
        said = {**(made_by or {}), SEAL_KEY: END.decode()}
        self._file.attrs[PROVENANCE_KEY] = json.dumps(said, sort_keys=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.flush()
        size = self._file.id.get_filesize()
        self._file.close()
        if error is None:
            os.truncate(self._path, size)
            seal_features(self._path)

    def write(
        self, slide_id: str, attributes: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Write the group of a slide."""
        self._room += GROUP_BYTES + sum(values.nbytes for values in (arrays or {}).values())
        take_room(self._path, self._room)
        group = self._file.create_group(slide_id)
        group.attrs.update(attributes)
        for name, values in (arrays or {}).items():
            group.create_dataset(name, data=values)


def seal_features(path: Path) -> None:
    """Write the end of a file."""
    arrays: dict[str, Region] = {}
    with h5py.File(path, "r") as file:
        for slide_id, group in file.items():
            for name, dataset in group.items():
                if (start := dataset.id.get_offset()) is not None:
                    size = dataset.id.get_storage_size()
                    arrays[f"{slide_id}/{name}"] = Region(start, size, array_checksum(dataset[:]))
    said = as_json({"arrays": arrays, "rest": _checksum_of_rest(path, arrays, path.stat().st_size)}).encode()
    with path.open("ab") as end:
        end.write(said + checksum(said).encode() + f"{len(said):0{DIGITS}x}".encode() + END)


@contextlib.contextmanager
def unsealed(path: Path) -> Iterator[h5py.File]:
    """Open a file to change attributes in it; its end, where it has one, is written anew.

    Raises
    ------
    DamagedFileError
        If the file is damaged.
    """
    with open_features(path) as slides:
        sealed = slides.size is not None
        for slide in slides.values():
            for name in slide:
                slide.read(name)
    if slides.size is not None:
        os.truncate(path, slides.size)
    with h5py.File(path, "r+") as file:
        yield file
    if sealed:
        seal_features(path)


def _read_end(path: Path) -> tuple[dict[str, Region], int] | None:
    """Return where the arrays of a file lie, and where its end begins; None where it has no such end."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - END_BYTES))
        last = file.read()
        if not last.endswith(END):
            return None
        try:
            start = size - END_BYTES - int(last[DIGITS : 2 * DIGITS], 16)
            file.seek(start)
            said = file.read(size - END_BYTES - start)
            if checksum(said).encode() != last[:DIGITS]:
                raise DamagedFileError(path)
            content = json.loads(said)
        except (OSError, ValueError):
            raise DamagedFileError(path) from None
    arrays = {name: Region(*region) for name, region in content["arrays"].items()}
    if _checksum_of_rest(path, arrays, start) != content["rest"]:
        raise DamagedFileError(path)
    return arrays, start


def _checksum_of_rest(path: Path, arrays: Mapping[str, Region], end: int) -> str:
    """Return the checksum of what stands between the arrays of a file, up to its end."""
    parts, place = [], 0
    with path.open("rb") as file:
        for region in [*sorted(arrays.values()), Region(end, 0, "")]:
            file.seek(place)
            parts.append(file.read(max(0, region.start - place)))
            place = region.start + region.size
    return checksum(*parts)


@contextlib.contextmanager
def _damaged_where_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise DamagedFileError(path) from error


class SlideGroup(Mapping[str, Region | None]):
    """What a file has of a slide: its arrays by name, and where they lie where that is known.

    Attributes
    ----------
    attributes
        ``status``, ``reason``, ``mpp`` and what else was written.
    """

    def __init__(self, path: Path, group: h5py.Group, regions: Mapping[str, Region]):
        self._path, self._group = path, group
        with _damaged_where_unreadable(path):
            self.attributes: dict[str, Any] = dict(group.attrs)
            self._arrays = {name: regions.get(f"{group.name.removeprefix('/')}/{name}") for name in group}

    def __getitem__(self, name: str) -> Region | None:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

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
            fits = into is not None and into.dtype == dataset.dtype
            values = into if into is not None and fits else np.empty(dataset.shape, dataset.dtype)
            if values.size:
                dataset.read_direct(values)
        region = self._arrays[name]
        if region is not None and array_checksum(values) != region.checksum:
            raise DamagedFileError(self._path)
        if into is not None and into is not values:
            into[:] = values
        return values


class FeaturesFile(Mapping[str, SlideGroup]):
    """The slides of an open file, by slide_id.

    Attributes
    ----------
    made_by
        What made the file (see `ksfusion.core.provenance`); empty where it does not say.
    size
        Bytes that HDF5 reads; None where the file has no end of ours.
    """

    def __init__(self, path: Path, file: h5py.File, end: tuple[dict[str, Region], int] | None):
        self._path, self._file = path, file
        self._regions: dict[str, Region] = end[0] if end else {}
        self.size: int | None = end[1] if end else None
        with _damaged_where_unreadable(path):
            self._slide_ids = dict.fromkeys(file)
            self.made_by: dict[str, Any] = json.loads(file.attrs.get(PROVENANCE_KEY, "{}"))
            sealed = self.made_by.pop(SEAL_KEY, None)
        if sealed and end is None:
            raise DamagedFileError(path)

    def __getitem__(self, slide_id: str) -> SlideGroup:
        if slide_id not in self._slide_ids:
            raise KeyError(slide_id)
        with _damaged_where_unreadable(self._path):
            return SlideGroup(self._path, self._file[slide_id], self._regions)

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
    end = _read_end(path)
    with contextlib.ExitStack() as stack:
        with _damaged_where_unreadable(path):
            file = stack.enter_context(h5py.File(path, "r"))
        yield FeaturesFile(path, file, end)
