"""What a command costs with all the processes that it starts."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

SAMPLING_SECONDS = 0.25


def tree_memory(process: psutil.Process) -> int:
    """Return the proportional memory in bytes of a process and its descendants: shared pages count once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def run(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory in GiB."""
    started, peak, done = time.monotonic(), 0, threading.Event()
    process = psutil.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors = []
    reader = threading.Thread(target=lambda: (errors.append(process.stderr.read()), done.set()))
    reader.start()
    while not done.wait(SAMPLING_SECONDS):
        peak = max(peak, tree_memory(process))
    reader.join()
    if process.wait():
        sys.exit(f"{' '.join(command)}\n{errors[0][-3000:]}")
    return time.monotonic() - started, peak / 2**30
