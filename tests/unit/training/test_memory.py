"""Memory of large tensors is reused: pages that the system gives out count as faults when they are first written."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from ksfusion.core.malloc import keep_freed_memory

def faults(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(size).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    keep_freed_memory()
faults(2**24)
# Each fits in the place of the one before.
print(sum(faults(2**power) for power in (23, 22, 21)))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_large_tensors_take_their_memory_once():
    taken = {}
    for how in ("keep", "as it is"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        taken[how] = int(done.stdout)
    assert taken["keep"] < 0.1 * taken["as it is"]
