"""Jobs on one machine share its GPUs."""

import os
import subprocess
import sys

import pytest

from ksfusion.core.devices import choose_device

CLAIM = """
from ksfusion.core.devices import claim_gpu
print(claim_gpu(["GPU-a", "GPU-b"]), flush=True)
input()
"""


@pytest.fixture
def job(tmp_path):
    """Return a function that starts a process which takes one of two GPUs and holds it."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM],
            env=os.environ | {"TMPDIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_each_job_has_its_own_and_then_all_have_as_many(job):
    first, taken = job()
    assert [taken, *(job()[1] for _ in range(4))] == [0, 1, 0, 1, 0]
    # A job that is killed gives its place back: then there are two on each.
    first.kill()
    first.wait()
    assert [job()[1], job()[1]] == [0, 1]


def test_a_device_that_is_asked_for():
    assert (choose_device("cpu"), choose_device("cuda")) == ("cpu", "cuda")
