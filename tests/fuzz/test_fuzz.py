"""A minute of damaged files for all readers together, the same in every run; ``make fuzz`` takes its time."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fuzz import fuzz
from readers import READERS, stop_workers

SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def workers():
    yield
    stop_workers()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused_in_a_line(tmp_path, name):
    outcome = fuzz(name, tmp_path, seconds=SECONDS / len(READERS), seed=0)
    assert not outcome.findings, outcome.findings[0]
