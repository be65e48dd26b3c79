"""Same seed, same bytes: torch's global switches, set for a run and put back after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

# Of the CPU, in every training: another number gives other last digits.
THREADS = 1


@contextlib.contextmanager
def reproducible(seed: int, *, device: torch.device, threads: int) -> Iterator[None]:
    """Make torch deterministic within the block, its generators seeded and its number of CPU threads fixed.

    Sums are split over threads, so that another number of threads gives other last digits.
    """
    if device.type == "cuda":
        # cuBLAS asks for this before its first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic: Any = torch.utils.deterministic  # whose one attribute torch gives no type
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        deterministic.fill_uninitialized_memory,
    )
    devices = [device] if device.type == "cuda" else []
    try:
        torch.set_num_threads(threads)
        # One thread always adds up in the same order, and this switch imports torch's compiler, which takes seconds.
        if devices or threads > 1:
            torch.use_deterministic_algorithms(True)
        # Filling every new tensor guards against reading one before it is written; it costs a tenth of a step.
        deterministic.fill_uninitialized_memory = False
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before[0])
        if devices or threads > 1:
            torch.use_deterministic_algorithms(before[1])
        deterministic.fill_uninitialized_memory = before[2]
