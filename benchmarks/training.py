"""Measure one training step of methods, by default at the paper's size: 8 samples of 2,500 patches x 1,024 features.

    python benchmarks/training.py                           # ksfusion, the released code's variant, and their ratio
    python benchmarks/training.py --methods attmil transmil mcat ksfusion --patches 625 2500 10000 --batch 2

A step is forward, backward and optimiser, the gather of the batch apart; each measurement has a process of its own, so
that the peak memory is its own. On the CPU the aim is under 2 s and 2.5 GiB on two cores for ksfusion; the cost of any
method is to grow linearly with the patches. Where there is a GPU, it is measured too, in bfloat16.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ksfusion.methods import METHODS, build
from ksfusion.training.objective import Classification
from ksfusion.training.optimiser import Adam
from ksfusion.training.reproducible import reproducible
from ksfusion.training.step import training_step

N_GENES = {"tumour": 59, "tme": 361}
NICHES = {niche: [f"{niche}{number}" for number in range(n)] for niche, n in N_GENES.items()}
SYMBOLS = NICHES["tumour"] + NICHES["tme"]
GROUPS = {f"group{start}": SYMBOLS[start : start + 42] for start in range(0, 420, 42)}


class Cost(NamedTuple):
    """Of one step: seconds (median, lowest, highest), processor seconds (lowest), the process's peak memory in GiB."""

    seconds: float
    lowest: float
    highest: float
    processor: float
    memory: float


def measure(method: str, n_patches: int, device_name: str, args: argparse.Namespace) -> Cost:
    """Time the steps after the first."""
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
        seconds, processor = [], []
        for _ in range(args.steps + 1):
            start, start_processor = time.perf_counter(), time.process_time()
            training_step(
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
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - start_processor)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**30
    return Cost(float(np.median(seconds[1:])), min(seconds[1:]), max(seconds[1:]), min(processor[1:]), memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["ksfusion", "ksfusion-released"], choices=METHODS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patches", type=int, nargs="+", default=[2500])
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
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
                print(f"{head} ({spread}), {cost.memory:5.2f} GiB{growth}", flush=True)
        if {"ksfusion", "ksfusion-released"} <= set(costs):
            names = ("seconds", "processor", "memory")
            pairs = [(getattr(costs["ksfusion-released"], key), getattr(costs["ksfusion"], key)) for key in names]
            ratios = ", ".join(f"{key} {theirs / ours:.2f}" for key, (theirs, ours) in zip(names, pairs, strict=True))
            print(f"{device} ksfusion-released / ksfusion: {ratios}")


if __name__ == "__main__":
    main()
