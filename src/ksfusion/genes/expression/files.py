"""Which files a source of expression consists of. Light: the Snakefile asks each time it is parsed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ksfusion.genes.config import ExpressionSource
from ksfusion.terms.published_files import GDC_SUFFIX, IVYGAP_FILES
from ksfusion.terms.units import FOLDER_FORMATS, IVYGAP, ExpressionFormat


def source_files(path: str, *, format: ExpressionFormat) -> list[str]:
    """Return the files of a source, or its folder where they are too many to name."""
    return [f"{path}/{name}" for name in IVYGAP_FILES] if format == IVYGAP else [path]


def gdc_files(folder: Path | str) -> list[tuple[str, int]]:
    """Return the STAR gene counts of a folder and of the folders in it: path relative to it, and size in bytes."""
    return sorted(_counts_in(folder, depth=1))


def _counts_in(folder: Path | str, *, depth: int, prefix: str = "") -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(GDC_SUFFIX) and entry.is_file():
                yield prefix + entry.name, entry.stat().st_size
            elif depth and entry.is_dir():
                yield from _counts_in(entry.path, depth=depth - 1, prefix=f"{entry.name}/")


def folder_digest(folder: Path | str) -> str:
    """Hash the names and sizes of a folder's STAR gene counts: a folder's own time misses a file that is overwritten.

    Returns
    -------
    str
        How many files, and twelve hexadecimal digits; empty where there is no such folder.
    """
    if not Path(folder).is_dir():
        return ""
    files = gdc_files(folder)
    return f"{len(files)} files {hashlib.sha256(repr(files).encode()).hexdigest()[:12]}"


def misplaced_sources(sources: Iterable[ExpressionSource], source: str) -> list[str]:
    """Return a line for each path of expression that is a file where its format has a folder, or the other way round.

    Parameters
    ----------
    sources
        The sources of expression.
    source
        Name of the configuration in messages.
    """
    problems = []
    for number, entry in enumerate(sources):
        path, wanted = Path(entry.path), "folder" if entry.format in FOLDER_FORMATS else "file"
        if path.exists() and path.is_dir() != (wanted == "folder"):
            remedy = "give the folder that holds the files" if wanted == "folder" else "name the file in it"
            problems.append(
                f"{source}: cohort.expression.{number}.path: {path} is a {'file' if wanted == 'folder' else 'folder'}, "
                f"format {entry.format} wants a {wanted}; {remedy}"
            )
    return problems
