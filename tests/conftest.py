"""What several test modules share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run Snakemake, those that run SLURM, and those that read the real slides and omics."""
    for item in items:
        if "workflow" in item.path.relative_to(ROOT).parts:
            item.add_marker("workflow")
        if item.path.name == "test_slurm.py":
            item.add_marker("slurm")
        if "real_data" in getattr(item, "fixturenames", ()) or item.path.name == "test_real.py":
            item.add_marker("real")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real slides and real TCGA omics; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("KSFUSION_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real slides and omics at {folder}; set KSFUSION_REAL_DATA to their folder")
    return folder
