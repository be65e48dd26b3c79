"""What several test modules share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Share tests out as ``make test PROCESSES=2`` does (``--dist loadscope``); else as pytest-xdist does."""
    if config.getvalue("dist") != "loadscope":
        return None
    from several_processes import InGroups

    return InGroups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that run Snakemake, those that run SLURM, and those that read the real slides and omics."""
    if hasattr(config, "workerinput"):  # one of several processes
        from several_processes import turn

        items.sort(key=lambda item: turn(item.nodeid))
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
