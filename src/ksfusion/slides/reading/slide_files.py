"""The files of the slides that the table of samples names.

The Snakefile asks for them each time it is parsed, so nothing heavy is imported here.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from ksfusion.core.ids import batch_of, default_slide_id
from ksfusion.core.storage import read_rows

CLAM_FOLDER = "h5_files"
# The source of features that is one vector a slide.
VECTORS = "slide-vectors"
# Of files with one vector a slide, the first that is there.
VECTOR_SUFFIXES = (".h5", ".pt")


def is_readable(path: Path | str) -> bool:
    """Return whether a file or a folder can be read there; no path is not the working directory.

    A device or a pipe cannot: it may have no end.
    """
    try:
        if not str(path) or not os.access(path, os.R_OK):
            return False
        return _is_file_or_folder(os.stat(path))  # noqa: PTH116  (called for each slide, often)
    except (OSError, ValueError):  # gone meanwhile, or a character that no path has
        return False


def _is_file_or_folder(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)


def is_readable_folder(path: Path | str | None) -> bool:
    """Return whether a folder can be read there."""
    return path is not None and is_readable(path) and Path(path).is_dir()


def file_size(path: Path | str) -> int | None:
    """Return the size of a file in bytes; None where there is none that can be read."""
    try:
        if not str(path) or not os.access(path, os.R_OK):
            return None
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return found.st_size if _is_file_or_folder(found) else None


class SlideSource(NamedTuple):
    """A slide's file, and its scale where the manifest gives it."""

    path: str
    mpp: float | None

    def size(self) -> int | None:
        """Return the size of the file in bytes; None where there is none, or it is not a local file."""
        return file_size(self.path)


def slide_sources(samples: Path) -> dict[str, SlideSource]:
    """Return each slide of a manifest or table of samples once, by slide_id; a sample without a slide names none."""
    header, rows = read_rows(samples)
    sources: dict[str, SlideSource] = {}
    for _, fields in rows:
        row = dict(zip(header, fields, strict=True))
        slide_id = row.get("slide_id") or default_slide_id(row["slide"])
        if slide_id:
            sources[slide_id] = SlideSource(row["slide"], float(row["mpp"]) if row.get("mpp") else None)
    return dict(sorted(sources.items()))


def sources_of_batch(samples: Path, batch: int, batches: int) -> dict[str, SlideSource]:
    """Return those slides of a manifest or table of samples that stand in one batch of so many."""
    sources = slide_sources(samples).items()
    return {slide_id: source for slide_id, source in sources if batch_of(slide_id, batches) == batch}


def precomputed_file(folder: str | Path, slide_id: str) -> Path:
    """Return where another tool's features of a slide are: in its folder, or in the subfolder that CLAM makes."""
    subfolder = Path(folder, CLAM_FOLDER)
    return (subfolder if subfolder.is_dir() else Path(folder)) / f"{slide_id}.h5"


def vector_file(folder: str | Path, slide_id: str) -> Path:
    """Return where the vector of a slide is that another tool has computed: its .h5, else its .pt file."""
    files = [Path(folder, f"{slide_id}{suffix}") for suffix in VECTOR_SUFFIXES]
    return next((file for file in files if file.is_file()), files[0])


def features_file(folder: str | Path, slide_id: str, source: str) -> Path:
    """Return where another tool's features of a slide are, by ``features.source``."""
    return (vector_file if source == VECTORS else precomputed_file)(folder, slide_id)
