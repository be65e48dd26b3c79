"""The cohort on which trainings are tested, trainings that several modules look at, and the threads of torch."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from training_cohort import DIAGNOSIS, SURVIVAL, Cohort, draw_cohort


@pytest.fixture
def one_thread():
    """Use one thread: small products are quicker so, most of all on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Cohort:
    return draw_cohort(tmp_path_factory.mktemp("drawn") / "cohort")


@pytest.fixture
def cohort(drawn, tmp_path) -> Cohort:
    """Return a copy that a test may change."""
    shutil.copytree(drawn.folder, tmp_path / "cohort")
    return replace(drawn, folder=tmp_path / "cohort")


@pytest.fixture(scope="session")
def runs(drawn) -> dict[tuple[str, str], Path]:
    return {
        (task.name, method): drawn.train(f"{task.name}/{method}", task=task, method=method)
        for task in (DIAGNOSIS, SURVIVAL)
        for method in ("attmil", "snn", "ksfusion")
    }
