"""The files shipped with the project, found wherever the run's working directory is."""

from __future__ import annotations

from pathlib import Path

import ksfusion


def resource(name: str) -> Path:
    """Return the path of a shipped file, such as ``"gene_sets/tme.tsv"``."""
    return Path(ksfusion.__file__).resolve().parents[2] / "resources" / name
