"""A study in object storage: what Snakemake's storage plugins leave to the workflow.

With ``--default-storage-provider`` Snakemake brings the inputs of a job from storage, and takes its outputs there. That
is not all that a run reads and writes: tables and folders are read when the Snakefile is, the study is known by a file
of its own, and beside the outputs that Snakemake knows stand pictures and the provenance of text files. All local
copies lie in one folder, to which ``results`` is a link, so that a path is the same with storage and without.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from ksfusion.core.atomic import atomic
from ksfusion.core.config_block import PATH
from ksfusion.core.errors import UserError
from ksfusion.core.paths import BUILTIN
from ksfusion.core.reference import block_of

T = TypeVar("T")
RESULTS = "results"
# What Snakemake notes of finished jobs, by which it sees that a setting has changed; and where it notes that.
NOTES, METADATA = "results/snakemake.tar.gz", Path(".snakemake/metadata")
# Of what a run writes and Snakemake does not know: size in bytes, and time in nanoseconds, by path.
LISTED = "results/untracked.json"
OWN = {Path(LISTED), Path(NOTES)}
# Beside what was fetched stands its state in storage.
STATE = ".{}.fetched"
OPTIONS = "--default-storage-provider and --default-storage-prefix"


class StoredFile(NamedTuple):
    """A file in storage: its path from the prefix, where its local copy is or would be, and its size in bytes."""

    path: str
    copy: str
    size: int


class _Listing:
    """What a plugin tells of a folder at once, by the keys of its files."""

    def __init__(self) -> None:
        self.exists_in_storage: dict[str, bool] = {}
        self.mtime: dict[str, Any] = {}
        self.size: dict[str, int] = {}


class ObjectStorage:
    """The storage in which a study is: its prefix stands for the study's folder.

    Parameters
    ----------
    provider
        Snakemake's storage provider.
    prefix
        Of the study, such as ``s3://bucket/study``.
    run
        Runs a coroutine of the provider, and returns what that does.
    """

    def __init__(self, provider: Any, prefix: str, run: Callable[[Any], Any]) -> None:
        self._provider, self.prefix, self._run = provider, prefix.rstrip("/"), run
        self.folder = self._object(RESULTS).local_path().parent

    @classmethod
    def of(cls, workflow: Any) -> ObjectStorage | None:
        """Return the storage that Snakemake was given; None where results are written to the study's folder."""
        provider = workflow.storage_registry.default_storage_provider
        if provider is None:
            if Path(RESULTS).is_symlink() and ".snakemake/storage" in str(Path(RESULTS).readlink()):
                raise UserError(f"{RESULTS}: is in object storage; give {OPTIONS} as before, or remove this link")
            return None
        prefix = workflow.storage_settings.default_storage_prefix
        if not prefix:
            raise UserError("--default-storage-prefix: is missing; say where in storage the study is")
        return cls(provider, prefix, workflow.async_run)

    def _object(self, path: str) -> Any:
        return self._provider.object(f"{self.prefix}/{os.path.normpath(path)}")

    def begin(self) -> None:
        """Let ``results`` be a link to the local copies, and fetch what tells whose results these are.

        Raises
        ------
        UserError
            If there are results here already, of a run without storage or with another.
        """
        link, copies = Path(RESULTS), self.folder / RESULTS
        copies.mkdir(parents=True, exist_ok=True)
        # A start with a wrong prefix leaves a link to nothing.
        ours = link.is_symlink() and ".snakemake/storage" in str(link.readlink())
        if ours and link.resolve() != copies.resolve() and not any(map(Path.is_file, link.rglob("*"))):
            link.unlink()
        if not link.is_symlink() and not link.exists():
            link.symlink_to(copies)
        elif not link.is_symlink() or link.resolve() != copies.resolve():
            raise UserError(f"{RESULTS}: is not of this storage; move it away, or name another folder (folder)")
        self.fetch(f"{RESULTS}/study.json")
        if self.fetch(NOTES):
            with tarfile.open(self.folder / NOTES) as archive:
                archive.extractall(METADATA, filter="data")

    def fetch(self, path: str) -> bool:
        """Fetch a file or a folder that is in storage, and return whether that was to be done."""
        stored = self._object(path)
        if not stored.exists():
            return False
        local = stored.local_path()
        state, file = self._state(stored), local.with_name(STATE.format(local.name))
        if local.exists() and file.is_file() and file.read_text(encoding="utf-8") == state:
            return False
        self._retrieve(stored, local, stored.mtime())
        file.write_text(state, encoding="utf-8")
        return True

    @staticmethod
    def _state(stored: Any) -> str:
        return f"{stored.mtime()} {stored.local_footprint()}"

    def _store(self, path: str) -> None:
        """Take a local copy to storage, from where it need not be fetched."""
        stored = self._object(path)
        self._run(stored.managed_store())
        local = stored.local_path()
        local.with_name(STATE.format(local.name)).write_text(self._state(self._object(path)), encoding="utf-8")

    def _retrieve(self, stored: Any, local: Path, time: float) -> None:
        """Fetch to a temporary name, and rename: what is killed leaves no half of it."""
        local.parent.mkdir(parents=True, exist_ok=True)
        with atomic(local) as temporary:
            stored.set_local_path(temporary)
            self._run(stored.managed_retrieve())
        if local.is_file():
            os.utime(local, (time, time))

    def fetch_missing(self, paths: Iterable[str], places: Sequence[Path]) -> None:
        """Fetch those relative paths that are in none of some folders, where they are in storage."""
        for path in dict.fromkeys(paths):
            if _is_below(path) and not any((place / path).exists() for place in places):
                self.fetch(path)

    def _sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Return the sizes in bytes of those files that are in storage: of S3 by a list of the folder that has all."""
        if not paths:
            return {}
        found, listing = {}, _Listing()
        common = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
        self._run(self._object(str(Path(common, "any"))).inventory(listing))
        for path in paths:
            stored = self._object(path)
            size = listing.size.get(stored.cache_key())
            if size is None and stored.exists():
                size = stored.size()
            if size is not None:
                found[path] = size
        return found

    def holds(self, path: str) -> bool:
        """Return whether a path is that of a local copy."""
        return Path(path).resolve().is_relative_to(self.folder.resolve())

    def slides(self, named: Iterable[str], table: str) -> dict[str, StoredFile]:
        """Return those slides of a table that are in storage, by the path that the table has.

        Parameters
        ----------
        named
            Paths that lead to no file here.
        table
            The table, beside which they may be, where it is in storage too.
        """
        beside = Path(table).resolve().parent.relative_to(self.folder.resolve()) if self.holds(table) else Path()
        relative = [path for path in dict.fromkeys(named) if "://" not in path and not Path(path).is_absolute()]
        found: dict[str, StoredFile] = {}
        for folder in dict.fromkeys((beside, Path())):
            places = {os.path.normpath(folder / path): path for path in relative if path not in found}
            for place, size in self._sizes([place for place in places if _is_below(place)]).items():
                found[places[place]] = StoredFile(place, str(self._object(place).local_path()), size)
        return found

    def bring(self, more: Iterable[str] = ()) -> None:
        """Fetch what runs have written and Snakemake does not know, where the local copy is not the same.

        Parameters
        ----------
        more
            Further files, where they are in storage.
        """
        for path in (LISTED, *more):
            self.fetch(path)
        for path, (size, time) in self._listed().items():
            local = self.folder / path
            if not local.is_file() or [local.stat().st_size, local.stat().st_mtime_ns] != [size, time]:
                stored = self._object(path)
                if stored.exists():
                    self._retrieve(stored, local, 0)
                    os.utime(local, ns=(time, time))

    def keep(self, tracked: Collection[str]) -> None:
        """Take to storage what this run has written and Snakemake does not know.

        Parameters
        ----------
        tracked
            Local copies that Snakemake takes there, files and folders.
        """
        listed = self._listed()
        for local in self._untracked(tracked):
            path, state = str(local.relative_to(self.folder)), [local.stat().st_size, local.stat().st_mtime_ns]
            if listed.get(path) != state:
                self._store(path)
                listed[path] = state
        with atomic(self.folder / LISTED) as temporary:
            temporary.write_text(json.dumps(listed, indent=1), encoding="utf-8")
        self._store(LISTED)
        if METADATA.is_dir():
            with atomic(self.folder / NOTES) as temporary, tarfile.open(temporary, "w:gz", compresslevel=1) as archive:
                archive.add(METADATA, arcname=".")
            self._store(NOTES)

    def _listed(self) -> dict[str, list[int]]:
        file = self.folder / LISTED
        found: dict[str, list[int]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if wrong := [path for path in found if not _is_below(path)]:
            raise UserError(f"{self.prefix}/{LISTED}: {wrong[0]} is not of this study; delete the list")
        return found

    def _untracked(self, tracked: Collection[str]) -> Iterator[Path]:
        known = {Path(path) for path in tracked}
        for place, folders, files in os.walk(self.folder / RESULTS):
            folders[:] = sorted(name for name in folders if Path(place, name) not in known)
            for name in sorted(files):
                local = Path(place, name)
                noted = name.startswith(".") and name.endswith(".fetched")
                if local not in known and not noted and local.relative_to(self.folder) not in OWN:
                    yield local


def _is_below(path: str) -> bool:
    """Return whether a path leads from the study's folder to a place below it."""
    first = Path(os.path.normpath(path)).parts[:1]
    return bool(path) and "://" not in path and first not in ((), ("/",), ("//",), ("..",))


def named_paths(kind: type[BaseModel], values: Any) -> Iterator[str]:
    """Yield the paths in settings that are not validated yet.

    Parameters
    ----------
    kind
        Their class.
    values
        As they were read.
    """
    for name, field in kind.model_fields.items() if isinstance(values, Mapping) else ():
        value = values.get(name)
        if field.json_schema_extra == PATH:
            several = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
            yield from (path for path in several if isinstance(path, str) and not path.startswith(BUILTIN))
        elif (block := block_of(field)) is not None:
            for item in value if isinstance(value, list) else [value]:
                yield from named_paths(block, item)


def tracked_files(jobs: Iterable[Any]) -> set[str]:
    """Return the local copies of what Snakemake takes to storage by itself: outputs, logs and benchmarks of jobs."""
    return {str(file) for job in jobs for file in (*job.output, *job.log, *([job.benchmark] if job.benchmark else []))}


def as_they_are(paths: T) -> T:
    """Return paths as rules name them where no object storage is."""
    return paths
