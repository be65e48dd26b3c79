"""What this machine has: packages, processors, memory, room on its disks and the right to write there."""

from __future__ import annotations

import fcntl
import mmap
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from ksfusion.core.memory import memory_limit
from ksfusion.doctor.findings import Finding, looked_at

GB = 10**9
# Of a folder in which results are to be written; what a study takes, `ksfusion estimate` tells.
LEAST_FREE, LEAST_FILES = 1 * GB, 10_000
# The thumbnail of the largest glass lies in TMPDIR while it is worked on.
LEAST_TEMPORARY = 200 * 10**6
# Snakemake keeps a file open for each job, and a job some more for each process that reads.
LEAST_OPEN = 1024


def machine_findings(folder: Path, needed_mb: int) -> Iterator[Finding]:
    """Yield what was found of this machine.

    Parameters
    ----------
    folder
        The study's folder, or one above it that is there.
    needed_mb
        Memory that the largest job asks for on this machine, in MB; 0 where jobs run elsewhere.
    """
    yield from package_findings()
    yield from looked_at("processors", _processors)
    yield from looked_at("memory", _memory, needed_mb)
    yield from looked_at("disk", _disk, folder)
    yield from looked_at("writing", _writing, folder)
    yield from looked_at("TMPDIR", _temporary)
    yield from looked_at("files", _open_files)


def package_findings() -> Iterator[Finding]:
    """Yield whether the packages are installed that ksfusion wants."""
    yield from looked_at("packages", _packages)


def _processors() -> Finding:
    cores = len(os.sched_getaffinity(0))
    return Finding("ok", "processors", f"{cores} core{'s' if cores > 1 else ''}, {platform.machine()}")


def _packages() -> Finding:
    from packaging.requirements import Requirement

    try:
        named = [Requirement(text) for text in requires("ksfusion") or ()]
    except PackageNotFoundError:
        # The workflow runs from a checkout too.
        return Finding("note", "packages", f"Python {platform.python_version()}; ksfusion itself is not installed")
    wanted = [entry for entry in named if entry.marker is None or entry.marker.evaluate({"extra": ""})]
    lost = []
    for package in wanted:
        try:
            found = version(package.name)
        except PackageNotFoundError:
            lost.append(f"{package.name} is not installed")
            continue
        if not package.specifier.contains(found, prereleases=True):
            lost.append(f"{package.name} is {found}, wanted {package.specifier}")
    if lost:
        # The packages of another environment of conda's may be all that a rule needs.
        return Finding(
            "problem", "packages", ", ".join(lost), f"install them: {sys.executable} -m pip install ksfusion"
        )
    return Finding("ok", "packages", f"Python {platform.python_version()}, all {len(wanted)} as ksfusion wants them")


def _memory(needed_mb: int) -> Finding:
    limit = memory_limit()
    said = f"{limit / GB:.1f} GB"
    if limit < needed_mb * 10**6:
        return Finding(
            "problem",
            "memory",
            f"{said}, and the largest job asks for {needed_mb / 1000:.1f} GB",
            "take a larger machine, or lower features.batch_size and training.batch_size",
        )
    if not needed_mb:
        return Finding("ok", "memory", said)
    jobs = int(limit // (needed_mb * 10**6))
    return Finding("ok", "memory", f"{said}, enough for {jobs} of the largest jobs ({needed_mb / 1000:.1f} GB) at once")


def _disk(folder: Path) -> Finding:
    free, files = shutil.disk_usage(folder).free, os.statvfs(folder)
    said = f"{free / GB:,.1f} GB free in {folder}"
    if free < LEAST_FREE:
        return Finding("problem", "disk", said, "free some, or move the study's folder to a larger disk")
    # File systems without a table of files (btrfs) say zero.
    if files.f_files and files.f_favail < LEAST_FILES:
        return Finding(
            "problem",
            "disk",
            f"{said}, but room for {files.f_favail:,} more files only",
            "remove files, or move the study",
        )
    return Finding("ok", "disk", said)


def _writing(folder: Path) -> Finding:
    """Look whether files can be written, locked, mapped into memory and renamed in a folder."""
    try:
        with tempfile.TemporaryDirectory(prefix=".ksfusion-", dir=folder) as made:
            first, then = Path(made, "first"), Path(made, "then")
            with first.open("w+b") as file:
                file.write(bytes(mmap.PAGESIZE))
                file.flush()
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mmap.mmap(file.fileno(), 0).close()
            first.replace(then)
    except OSError as error:
        said = f"in {folder} files cannot be written, locked, mapped and renamed ({error.strerror})"
        return Finding("problem", "writing", said, "name another folder: in the configuration, or use a disk that can")
    return Finding("ok", "writing", f"files can be written, locked, mapped and renamed in {folder}")


def _temporary() -> Finding:
    asked = os.environ.get("TMPDIR")
    try:
        taken = tempfile.gettempdir()
    except FileNotFoundError as error:
        return Finding("problem", "TMPDIR", str(error), "set TMPDIR to a folder that can be written")
    if asked and Path(asked).resolve() != Path(taken).resolve():
        said = f"nothing can be written to {asked}, so that {taken} is taken"
        return Finding("problem", "TMPDIR", said, "set TMPDIR to a folder that can be written, or unset it")
    free = shutil.disk_usage(taken).free
    said = f"{free / GB:,.1f} GB free in {taken}"
    if free < LEAST_TEMPORARY:
        return Finding(
            "problem", "TMPDIR", said, f"free {LEAST_TEMPORARY // 10**6} MB, or set TMPDIR to another folder"
        )
    return Finding("ok", "TMPDIR", said)


def _open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = (
        f"a process may have {soft:,} open" if soft != resource.RLIM_INFINITY else "a process may have any number open"
    )
    if soft != resource.RLIM_INFINITY and soft < LEAST_OPEN:
        return Finding("note", "files", said, f"if a run says 'Too many open files': ulimit -n {LEAST_OPEN}")
    return Finding("ok", "files", said)
