"""Measure one training step of a method at the paper's size: 8 samples of 2,500 patches x 1,024 features.

    python benchmarks/training.py [--method ksfusion] [--patches 2500] [--features 1024] [--threads 2]

A step is forward, backward and optimiser, the gather of the batch apart. On the CPU the aim is under 2 s and 2.5 GiB on
two cores; where there is a GPU, its steps per second and peak memory follow.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ksfusion.methods import METHODS, build
from ksfusion.training.objective import Classification
from ksfusion.training.reproducible import reproducible
from ksfusion.training.step import training_step

N_GENES = {"tumour": 59, "tme": 361}


def measure(args: argparse.Namespace, device: torch.device) -> tuple[np.ndarray, float]:
    """Return the seconds of each step after the first, and the peak memory in GiB."""
    niches = {niche: [f"{niche}{number}" for number in range(n)] for niche, n in N_GENES.items()}
    with reproducible(0, device=device, threads=args.threads):
        model = build(args.method, n_features=args.features, n_patches=args.patches, niches=niches, n_outputs=4)
        model.to(device).train()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
        objective = Classification(("a", "b", "c", "d"), (1.0, 1.0, 1.0, 1.0))
        patches = torch.randn(args.batch, args.patches, args.features, device=device)
        genes = {niche: torch.randn(args.batch, n, device=device) for niche, n in N_GENES.items()}
        truth = {"y": torch.arange(args.batch, device=device) % 4}
        weights = torch.ones(args.batch, device=device)
        seconds = []
        for _ in range(args.steps + 1):
            start = time.perf_counter()
            training_step(model, optimiser, patches, genes, truth, weights, objective=objective)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    if device.type == "cuda":
        return np.array(seconds[1:]), torch.cuda.max_memory_allocated() / 2**30
    return np.array(seconds[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="ksfusion", choices=METHODS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patches", type=int, default=2500)
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for name in devices:
        seconds, memory = measure(args, torch.device(name))
        typical = np.median(seconds)
        spread = f"{seconds.min():.3f} to {seconds.max():.3f}"
        print(f"{name}: {typical:.3f} s a step ({spread}), {1 / typical:.1f} steps/s, peak {memory:.2f} GiB")


if __name__ == "__main__":
    main()
