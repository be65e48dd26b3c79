"""Measure one training step of methods, by default at the paper's size: 8 samples of 2,500 patches x 1,024 features.

    python benchmarks/training.py                           # ksfusion, the released code's variant, and their ratio
    python benchmarks/training.py --methods attmil transmil mcat ksfusion --batch 2 --patches 625 2500 10000
    python benchmarks/training.py --methods snn ksfusion --batch 2 4 8
    python benchmarks/training.py --device cuda --grid      # the eleven methods on a GPU, and the paper's 99 runs
    python benchmarks/training.py --device cuda --sharing 1 2 4   # processes that share a GPU
    python benchmarks/training.py --profile --threads 1 --methods attmil transmil   # what a step spends its time on

A step is the gather of a batch, forward, backward and optimiser; each measurement has a process of its own, so that the
peak memory is its own. On the CPU the aim is under 2 s and 2.5 GiB on two cores for ksfusion, and a cost that grows
linearly with patches and samples: the work a patch is printed relative to the first size. At batch 2 the paper's
released code, run independently, took 16 s and 6 GiB; ksfusion should be 40 times as fast. Where there is a GPU, it is
measured too, in bfloat16, with the share of the time in which it computes.

`--profile` prints, in place of the cost of a step, its operations with their shapes, largest first: the least time
that each took in any of the steps, by the clock, so that other work on the machine shows little.

`--grid` estimates the paper's grid from what it measures: 1,910 training samples, 20, 20 and 10 epochs, three seeds,
validation (239 samples an epoch) and prediction (2,387 samples), which compute in float32. On a GPU the features of all
2,387 slides lie there, as in training. Start-up and the reading of the features come on top, once a method and task.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ksfusion.config import PAPER_METHODS
from ksfusion.core.malloc import keep_freed_memory
from ksfusion.methods import METHODS, build
from ksfusion.training.data import FoldData
from ksfusion.training.fit_method import STRATEGIES
from ksfusion.training.objective import Classification
from ksfusion.training.optimiser import Adam
from ksfusion.training.predict import predict
from ksfusion.training.reproducible import reproducible
from ksfusion.training.step import training_step

N_GENES = {"tumour": 59, "tme": 361}
NICHES = {niche: [f"{niche}{number}" for number in range(n)] for niche, n in N_GENES.items()}
SYMBOLS = NICHES["tumour"] + NICHES["tme"]
GROUPS = {f"group{start}": SYMBOLS[start : start + 42] for start in range(0, 420, 42)}


# The released code at this batch, as it was measured elsewhere: seconds and GiB of a step.
RELEASED_BATCH, RELEASED_SECONDS, RELEASED_MEMORY = 2, 16.0, 6.0
TRAIN, VAL, EVERYONE = 1910, 239, 2387


class Cost(NamedTuple):
    """Of one step: seconds (median, lowest, highest), processor seconds (lowest), peak memory in GiB."""

    seconds: float
    lowest: float
    highest: float
    processor: float
    memory: float
    predicting: float  # seconds to predict a batch (median)
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


def grid_hours(costs: dict[str, Cost], batch: int) -> float:
    """Return the hours of the paper's grid, one run after another."""
    epochs = (20, 20, 10)
    steps, predictions = sum(epochs) * TRAIN / batch, (sum(epochs) * VAL + len(epochs) * EVERYONE) / batch
    return 3 * sum(steps * cost.seconds + predictions * cost.predicting for cost in costs.values()) / 3600


def draw_data(n_slides: int, n_patches: int, n_features: int, device: torch.device, *, on_host: bool) -> FoldData:
    """Return samples whose features hold numbers of no meaning; on a GPU they lie there, unless ``on_host``."""
    on_gpu = device.type == "cuda" and not on_host
    place = device if on_gpu else torch.device("cpu")
    features = torch.empty(n_slides * n_patches, n_features, dtype=torch.float16, device=place)
    for part in features.split(2**16):
        part.normal_()
    rows = np.arange(n_slides * n_patches).reshape(n_slides, n_patches)
    genes = {niche: torch.randn(n_slides, n) for niche, n in N_GENES.items()}
    host = np.empty((0, n_features), np.float16) if on_gpu else features.numpy()
    samples, slides = pd.DataFrame(index=range(n_slides)), np.arange(n_slides)
    return FoldData(samples, host, rows, slides, genes, NICHES, GROUPS, "pg", features if on_gpu else None)


def seconds_of(
    call: Callable[[], object], times: int, device: torch.device, *, first: bool = False
) -> tuple[list[float], list[float]]:
    """Return the seconds and the processor seconds of calls after a first one, which may count too."""
    seconds, processor = [], []
    for _ in range(times + 1):
        start, start_processor = time.perf_counter(), time.process_time()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return seconds[not first :], processor[not first :]


@contextmanager
def prepared(
    method: str, batch: int, n_patches: int, device: torch.device, args: argparse.Namespace
) -> Iterator[tuple[Callable[[], None], Callable[[], object]]]:
    """Yield a training step of a method, and the prediction of a batch."""
    keep_freed_memory()
    strategy, bf16 = STRATEGIES[METHODS[method].training], device.type == "cuda"
    with reproducible(0, device=device, threads=args.threads):
        sizes = {"n_features": args.features, "n_patches": n_patches, "n_outputs": 4}
        model = build(method, **sizes, niches=NICHES, groups=GROUPS).to(device).train()
        n_slides = EVERYONE if args.grid and bf16 else batch
        data = draw_data(n_slides, n_patches, args.features, device, on_host=args.features_on_host)
        data = dataclasses.replace(data, modalities=METHODS[method].modalities)
        optimiser = Adam(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
        objective = Classification(("a", "b", "c", "d"), (1.0, 1.0, 1.0, 1.0))
        truth = {"y": torch.arange(batch, device=device) % 4}
        weights, random = torch.ones(batch, device=device), np.random.default_rng(0)

        def step() -> None:
            chosen = random.choice(len(data.samples), batch, replace=False)
            patches, genes = data.gather(chosen, device, bf16=bf16)
            training_step(
                model,
                optimiser,
                patches,
                genes,
                truth,
                weights,
                objective=objective,
                strategy=strategy,
                bf16=bf16,
            )

        yield step, lambda: predict(model, data, np.arange(batch), batch_size=batch)


def operations(method: str, batch: int, n_patches: int, device_name: str, args: argparse.Namespace) -> pd.DataFrame:
    """Return what a step spends its time on: operation, shapes, calls, milliseconds (least of the steps) and share."""
    device = torch.device(device_name)
    on_gpu = device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    which = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    rows = []
    with prepared(method, batch, n_patches, device, args) as (step, _):
        step()
        for _ in range(args.steps):
            with profile(activities=kinds, record_shapes=True) as profiler:
                step()
                if on_gpu:
                    torch.cuda.synchronize()
            rows += [
                (
                    event.key.removeprefix("aten::"),
                    _shapes(event.input_shapes),
                    event.count,
                    getattr(event, which) / 1000,
                )
                for event in profiler.key_averages(group_by_input_shape=True)
            ]
    table = pd.DataFrame(rows, columns=["operation", "shapes", "calls", "ms"])
    table = table.groupby(["operation", "shapes"], as_index=False).agg({"calls": "max", "ms": "min"})
    table["share"] = 100 * table["ms"] / table["ms"].sum()
    return table.sort_values("ms", ascending=False, ignore_index=True)


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes if shape)


def print_operations(device: str, method: str, batch: int, n_patches: int, table: pd.DataFrame) -> None:
    """Print the operations that take one in a hundred parts or more, and what all others take."""
    large = table[table["share"] >= 1]
    print(f"{device} {method} {batch} x {n_patches}: {table['ms'].sum():.1f} ms")
    for row in large.itertuples():
        print(f"  {row.share:5.1f} %  {row.ms:8.1f} ms  {row.calls:4} x {row.operation} ({row.shapes})")
    others = table[table["share"] < 1]
    print(
        f"  {100 - large['share'].sum():5.1f} %  {others['ms'].sum():8.1f} ms  {others['calls'].sum():4} others",
        flush=True,
    )


def measure(method: str, batch: int, n_patches: int, device_name: str, args: argparse.Namespace) -> Cost:
    """Time the steps after the first."""
    device = torch.device(device_name)
    on_gpu = device.type == "cuda"
    with prepared(method, batch, n_patches, device, args) as (step, predict_batch):
        seconds, processor = seconds_of(step, args.steps, device)
        memory = (
            torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        )
        busy = busy_share(step, args.steps) if on_gpu else float("nan")
        predicting, _ = seconds_of(predict_batch, max(args.steps // 2, 1), device)
    median = float(np.median(seconds))
    return Cost(
        median,
        min(seconds),
        max(seconds),
        min(processor),
        memory / 2**30,
        float(np.median(predicting)),
        busy,
    )


def shared_rate(
    method: str, batch: int, n_patches: int, device_name: str, args: argparse.Namespace, barrier: Barrier
) -> float:
    """Return the steps a second of one of several processes, which all begin once each has done its first step."""
    device = torch.device(device_name)
    with prepared(method, batch, n_patches, device, args) as (step, _):
        step()
        barrier.wait()
        return args.steps / sum(seconds_of(step, args.steps - 1, device, first=True)[0])


def print_sharing(device: str, method: str, batch: int, n_patches: int, args: argparse.Namespace) -> None:
    """Print what all processes together do in a second, for each number of them, and as a ratio to the first number."""
    alone = None
    for count in args.sharing:
        spawn = get_context("spawn")
        with spawn.Manager() as manager, ProcessPoolExecutor(count, mp_context=spawn) as pool:
            given = (method, batch, n_patches, device, args, manager.Barrier(count))
            rate = sum(job.result() for job in [pool.submit(shared_rate, *given) for _ in range(count)])
        alone = alone or rate
        print(
            f"{device} {method:20} {batch} x {n_patches:6}: {count} at once: {rate:.2f} steps/s together, "
            f"{rate / alone:.2f} times the first",
            flush=True,
        )


def print_cost(device: str, method: str, batch: int, n_patches: int, cost: Cost, first: float) -> None:
    """Print a line; ``first`` is the work a patch at the first size."""
    spread = f"{cost.lowest:.3f} to {cost.highest:.3f}; processor {cost.processor:.3f}"
    growth = f", {work(cost, device) / (batch * n_patches) / first:.2f} times the work a patch"
    busy = f", computing {cost.busy:.0%} of the time" if device == "cuda" else ""
    print(
        f"{device} {method:20} {batch} x {n_patches:6}: {cost.seconds:7.3f} s a step ({spread}), "
        f"{1 / cost.seconds:.1f} steps/s, {cost.memory:5.2f} GiB{busy}{growth}",
        flush=True,
    )


def work(cost: Cost, device: str) -> float:
    """Return the seconds that compare best on a machine with other users."""
    return cost.seconds if device == "cuda" else cost.processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["ksfusion", "ksfusion-released"], choices=METHODS)
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    parser.add_argument("--patches", type=int, nargs="+", default=[2500])
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], help="one of the two; else all that there are")
    parser.add_argument(
        "--features-on-host",
        action="store_true",
        help="bring each batch's features to the GPU, as of a store too large",
    )
    parser.add_argument("--grid", action="store_true", help="measure the paper's methods, estimate the paper's grid")
    parser.add_argument(
        "--sharing",
        type=int,
        nargs="+",
        help="numbers of processes that train at once on one device, such as 1 2 4; on a GPU with and without "
        "nvidia-cuda-mps-control -d",
    )
    parser.add_argument("--profile", action="store_true", help="print what a step spends its time on")
    args = parser.parse_args()
    if args.grid and args.profile:
        parser.error("--grid needs the cost of a step, which --profile does not measure; give one of them")
    if args.grid:
        args.methods, args.patches, args.batch = PAPER_METHODS, [2500], [8]
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in [args.device] if args.device else devices:
        costs: dict[str, Cost] = {}
        for method in args.methods:
            first = None
            for batch, n_patches in product(args.batch, args.patches):
                if args.sharing:
                    print_sharing(device, method, batch, n_patches, args)
                    continue
                # A process for each, so that its peak memory is that of this method.
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    if args.profile:
                        table = pool.submit(operations, method, batch, n_patches, device, args).result()
                        print_operations(device, method, batch, n_patches, table)
                        continue
                    cost = costs[method] = pool.submit(measure, method, batch, n_patches, device, args).result()
                first = first or work(cost, device) / (batch * n_patches)
                print_cost(device, method, batch, n_patches, cost, first)
                if (method, batch, n_patches, device) == ("ksfusion", RELEASED_BATCH, 2500, "cpu"):
                    times, share = RELEASED_SECONDS / cost.seconds, cost.memory / RELEASED_MEMORY
                    print(f"cpu {times:.0f} times as fast as the released code (bar: 40), {share:.2f} of its memory")
        if args.grid:
            print(f"{device} the paper's {9 * len(costs)} runs one after another: {grid_hours(costs, 8):.2f} hours")
        if {"ksfusion", "ksfusion-released"} <= set(costs):
            names = ("seconds", "processor", "memory")
            pairs = [(getattr(costs["ksfusion-released"], key), getattr(costs["ksfusion"], key)) for key in names]
            ratios = ", ".join(f"{key} {theirs / ours:.2f}" for key, (theirs, ours) in zip(names, pairs, strict=True))
            print(f"{device} ksfusion-released / ksfusion: {ratios}")


if __name__ == "__main__":
    main()
