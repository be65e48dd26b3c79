"""Measure one training step of methods, by default at the paper's size: 8 samples of 2,500 patches x 1,024 features.

    python benchmarks/training.py                           # ksfusion, the released code's variant, and their ratio
    python benchmarks/training.py --methods attmil transmil mcat ksfusion --patches 625 2500 10000 --batch 2
    python benchmarks/training.py --device cuda --grid      # the eleven methods on a GPU, and the paper's 99 runs

A step is forward, backward and optimiser, the gather of the batch apart; each measurement has a process of its own, so
that the peak memory is its own. On the CPU the aim is under 2 s and 2.5 GiB on two cores for ksfusion. The cost is to grow linearly with the
patches. Where there is a GPU, it is measured too, in bfloat16, with the share of the time in which it computes.
`--grid` estimates the paper's grid from the steps alone: 1,910 training samples, 20, 20
and 10 epochs, three seeds, and validation (239 samples an epoch) and prediction (2,387 samples) at a third of a step's
cost a sample; start-up and the reading of the features come on top.
"""

from __future__ import annotations

import argparse
import functools
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ksfusion.config import Config
from ksfusion.methods import METHODS, build
from ksfusion.training.memory import keep_freed_memory
from ksfusion.training.objective import Classification
from ksfusion.training.optimiser import Adam
from ksfusion.training.reproducible import reproducible
from ksfusion.training.step import training_step

N_GENES = {"tumour": 59, "tme": 361}
NICHES = {niche: [f"{niche}{number}" for number in range(n)] for niche, n in N_GENES.items()}
SYMBOLS = NICHES["tumour"] + NICHES["tme"]
GROUPS = {f"group{start}": SYMBOLS[start : start + 42] for start in range(0, 420, 42)}


class Cost(NamedTuple):
    """Of one step: seconds (median, lowest, highest), processor seconds (lowest), peak memory in GiB."""

    seconds: float
    lowest: float
    highest: float
    processor: float
    memory: float
    busy: float  # share of the time in which the GPU computes; NaN on a CPU


def busy_share(step: Callable[[], object], n_steps: int) -> float:
    """Return the time that kernels ran on the GPU, divided by the time that the steps took."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        for _ in range(n_steps):
            step()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / seconds


def grid_hours(seconds: dict[str, float], batch: int) -> float:
    """Return the hours of the paper's grid, from the seconds of a step of each method."""
    train, val, everyone = 1910, 239, 2387
    epochs = (20, 20, 10)
    steps = sum(n * (train + val / 3) + everyone / 3 for n in epochs) / batch
    return 3 * steps * sum(seconds.values()) / 3600


def measure(method: str, n_patches: int, device_name: str, args: argparse.Namespace) -> Cost:
    """Time the steps after the first."""
    keep_freed_memory()
    device = torch.device(device_name)
    rules = METHODS[method].rules
    with reproducible(0, device=device, threads=args.threads):
        sizes = {"n_features": args.features, "n_patches": n_patches, "n_outputs": 4}
        model = build(method, **sizes, niches=NICHES, groups=GROUPS).to(device).train()
        optimiser = Adam(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
        objective = Classification(("a", "b", "c", "d"), (1.0, 1.0, 1.0, 1.0))
        patches = torch.randn(args.batch, n_patches, args.features, device=device)
        genes = {niche: torch.randn(args.batch, n, device=device) for niche, n in N_GENES.items()}
        truth = {"y": torch.arange(args.batch, device=device) % 4}
        weights = torch.ones(args.batch, device=device)
        step = functools.partial(
            training_step,
            model,
            optimiser,
            patches,
            genes,
            truth,
            weights,
            objective=objective,
            coordinate_rows=rules.coordinate_rows,
            bf16=device.type == "cuda",
        )
        seconds, processor = [], []
        for _ in range(args.steps + 1):
            start, start_processor = time.perf_counter(), time.process_time()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - start_processor)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    busy = float("nan")
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**30
        busy = busy_share(step, args.steps)
    median = float(np.median(seconds[1:]))
    return Cost(median, min(seconds[1:]), max(seconds[1:]), min(processor[1:]), memory, busy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["ksfusion", "ksfusion-released"], choices=METHODS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patches", type=int, nargs="+", default=[2500])
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], help="one of the two; else all that there are")
    parser.add_argument("--grid", action="store_true", help="measure the paper's methods, estimate the paper's grid")
    args = parser.parse_args()
    if args.grid:
        args.methods, args.patches = Config.model_fields["methods"].get_default(call_default_factory=True), [2500]
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in [args.device] if args.device else devices:
        costs: dict[str, Cost] = {}
        for method in args.methods:
            works = []
            for n_patches in args.patches:
                # A process for each, so that its peak memory is that of this method.
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    cost = costs[method] = pool.submit(measure, method, n_patches, device, args).result()
                works.append((cost.seconds if device == "cuda" else cost.processor) / n_patches)
                spread = f"{cost.lowest:.3f} to {cost.highest:.3f}; processor {cost.processor:.3f}"
                growth = f", {works[-1] / works[0]:.2f} times the work a patch" if len(args.patches) > 1 else ""
                head = f"{device} {method:20} {n_patches:6} patches: {cost.seconds:7.3f} s a step"
                busy = f", computing {cost.busy:.0%} of the time" if device == "cuda" else ""
                print(
                    f"{head} ({spread}), {1 / cost.seconds:.1f} steps/s, {cost.memory:5.2f} GiB{busy}{growth}",
                    flush=True,
                )
        if args.grid:
            hours = grid_hours({method: cost.seconds for method, cost in costs.items()}, args.batch)
            print(f"{device} the paper's grid of {9 * len(costs)} runs, one after another: {hours:.2f} hours")
        if {"ksfusion", "ksfusion-released"} <= set(costs):
            names = ("seconds", "processor", "memory")
            pairs = [(getattr(costs["ksfusion-released"], key), getattr(costs["ksfusion"], key)) for key in names]
            ratios = ", ".join(f"{key} {theirs / ours:.2f}" for key, (theirs, ours) in zip(names, pairs, strict=True))
            print(f"{device} ksfusion-released / ksfusion: {ratios}")


if __name__ == "__main__":
    main()
