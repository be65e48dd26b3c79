"""The files shipped with the project, found wherever the run's working directory is."""

from __future__ import annotations

import os
from pathlib import Path

import ksfusion

PACKAGE = Path(ksfusion.__file__).resolve().parent
# A wheel carries what stands beside the package in a checkout.
CARRIED = PACKAGE / "project"
PROJECT = CARRIED if CARRIED.is_dir() else PACKAGE.parents[1]


def resource(name: str) -> Path:
    """Return the path of a shipped file, such as ``"gene_sets/tme.tsv"``."""
    return PROJECT / "resources" / name


def shipped(name: str) -> str:
    """Return the path of a shipped file as rules name it."""
    return _relative(resource(name))


def shipped_with_code(name: str) -> str:
    """Return the path of a file that stands beside the code, such as ``"results/report/report.html.j2"``."""
    return _relative(PACKAGE / name)


def _relative(path: Path) -> str:
    """Return a path from the working directory where one holds the other, so that both can be moved."""
    here = Path.cwd()
    return os.path.relpath(path) if path.is_relative_to(here) or here.is_relative_to(PROJECT) else str(path)
