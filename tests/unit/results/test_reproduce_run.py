"""The run inside `ksfusion reproduce`: its exit code, and what becomes of signals."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from ksfusion.stages.reproduce import _run

CHILD = """#!/bin/sh
trap 'echo terminated >> {log}; exit 7' TERM
echo "$@" > {log}
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep {pause}; done
exit 3
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Stand in for Python: a program that notes what it is called with, and what ends it."""

    def put(pause):
        program, log = tmp_path / "python", tmp_path / "log"
        program.write_text(CHILD.format(log=log, pause=pause))
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return log

    return put


def test_it_is_ksfusion_run_whose_exit_code_is_its_own(child):
    log = child(0)
    code = _run(Path("my.yaml"), ["training.alpha=0.7", "patches.count=16"], "2", "slurm", ["--keep-going"])
    assert code == 3
    assert log.read_text().split() == [
        *["-P", "-m", "ksfusion", "run", "my.yaml", "--set", "training.alpha=0.7", "--set", "patches.count=16"],
        *["--cores", "2", "--profile", "slurm", "--", "--keep-going"],
    ]


def test_what_ends_it_ends_the_run_first_and_ctrl_c_is_the_runs_own(child):
    log = child(0.5)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def send():
        while not log.exists():
            time.sleep(0.02)
        time.sleep(0.2)
        # On a terminal Snakemake gets it too.
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    assert _run(Path("my.yaml"), [], None, None, []) == 7
    sender.join()
    assert log.read_text().splitlines()[-1] == "terminated"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
