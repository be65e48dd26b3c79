"""Memory of large tensors is reused: pages that the system gives out count as faults when they are first written."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from ksfusion.training.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(2**24).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    keep_freed_memory()
faults()
print(sum(faults() for _ in range(4)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_large_tensors_take_their_memory_once():
    taken = {}
    for how in ("keep", "as it is"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        taken[how] = int(done.stdout)
    # 64 MiB are 16,384 pages of 4 KiB, or 32 of 2 MiB.
    assert taken["keep"] < 0.1 * taken["as it is"]
