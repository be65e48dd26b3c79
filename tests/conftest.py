"""What several test modules share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real slides and real TCGA omics; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("KSFUSION_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real slides and omics at {folder}; set KSFUSION_REAL_DATA to their folder")
    return folder
