"""Drawn tiny slides through all stages of slides to the store: what jobs and Snakemake take beside the slides' work.

    python benchmarks/tiny_slides.py run --slides 3000 [--batches 94] [--cores 1] [--folder FOLDER]
    python benchmarks/tiny_slides.py starts --slides 96 [--cores 1]
    python benchmarks/tiny_slides.py schedule --slides 30000 [--cores 32]

Slides are tiled TIFF of 300 x 300 px (JPEG) at 0.5 um/px, one tile of tissue each, all different; one of a hundred is
not there. Stain is fitted and brought to the target as by default; the encoder takes next to no time.

run       processor time of the jobs and of Snakemake, seconds of each rule, memory, and what became of the slides;
          FOLDER keeps what was made
starts    the same slides in batches of 32 and of 2: what a batch takes beside its slides
schedule  the workflow of so many slides with jobs that wait for a second and make empty files: what Snakemake itself
          takes, on so many cores as jobs are to run at once
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
import tifffile
from large import write_study

from ksfusion.core.study import SLIDES_PER_BATCH, batches_for
from ksfusion.estimates.running import verb

PX, MPP, BLOCK, CELL_PX = 300, 0.5, 256, 10
PATCHES, MISSING_EVERY, FEW_SLIDES = 16, 100, 2
TARGETS = ("slides", "results/features/store")


# Stand-ins for apptainer and for the Python of its image: the files that a verb is to write are empty.
# Each job waits, as what Snakemake does meanwhile counts too.
APPTAINER = """#!/bin/bash
[ "$1" = --version ] && { echo "apptainer version 1.3.6"; exit; }
PATH="${0%/*}:$PATH" exec "${@: -3}"
"""
PYTHON = """#!/bin/bash
sleep 1
for word in "$@"; do
    case $option in --output|--*-output|--audit|--library-sizes|--findings)
        case $word in */store) mkdir -p "$word" ;; *) mkdir -p "${word%/*}"; : > "$word" ;; esac
    esac
    option=$word
done
"""


class Used(NamedTuple):
    """What a run took: processor seconds of its jobs and of Snakemake, seconds on the clock, memory of Snakemake."""

    jobs: float
    snakemake: float
    clock: float
    mb: float

    def __str__(self) -> str:
        return (f"{self.jobs:.0f} s of processor in jobs, {self.snakemake:.0f} s in Snakemake ({self.mb:.0f} MB), "
                f"{self.clock:.0f} s on the clock")  # fmt: skip


def write_slide(path: Path, number: int) -> None:
    """Draw cells of two stains and write them as a slide; one of `MISSING_EVERY` is not written."""
    if number % MISSING_EVERY == 0:
        return
    random, n = np.random.default_rng(number), PX // CELL_PX
    is_nucleus = random.random((n, n, 1)) < 0.3
    amounts = random.gamma(6, 0.12, (n, n, 2)) * np.where(is_nucleus, [1.0, 0.2], [0.1, 1.0])
    density = amounts @ np.array([[0.60, 0.70, 0.39], [0.15, 0.93, 0.33]])
    cells = 255 * np.exp(-density).repeat(CELL_PX, 0).repeat(CELL_PX, 1)
    rgb = (cells + random.normal(0, 4, cells.shape)).clip(0, 255).astype(np.uint8)
    tifffile.imwrite(path, rgb, tile=(BLOCK, BLOCK), photometric="rgb", compression="jpeg",
                     resolution=(1e4 / MPP, 1e4 / MPP), resolutionunit="CENTIMETER")  # fmt: skip


def run(folder: Path, cores: int, *passed_on: str, **variables: str) -> Used:
    """Run the stages of slides of a study."""
    started, mb = time.monotonic(), 0.0
    command = [*verb("run"), str(folder / "my.yaml"), *TARGETS, "--cores", str(cores), "--", *passed_on]
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | variables)
    while process.poll() is None:
        # What has ended, and was waited for, counts among the children.
        with contextlib.suppress(psutil.Error):
            used, mb = process.cpu_times(), max(mb, process.memory_info().rss / 1e6)
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}; see {folder}/.snakemake/log")
    jobs, own = used.children_user + used.children_system, used.user + used.system
    return Used(jobs, own, time.monotonic() - started, mb)


def run_tiny(folder: Path, n_slides: int, batches: int, cores: int) -> Used:
    """Draw slides, run their stages and tell what that took."""
    write_study(folder, n_slides, write_slide, slides={"batches": batches}, patches={"count": PATCHES}, methods=["snn"])
    used = run(folder, cores)
    slides = pd.read_csv(folder / "results/slides.tsv", sep="\t", keep_default_na=False)
    ledger = (slides["status"] + " " + slides["reason"]).str.strip().value_counts().to_dict()
    print(f"{n_slides:,} slides in {batches} batches: {used}; {ledger}", flush=True)
    seconds: dict[str, list[float]] = defaultdict(list)
    for path in sorted((folder / "results/benchmarks").rglob("*.tsv")):
        rule = path.relative_to(folder / "results/benchmarks").parts[0].removesuffix(".tsv")
        seconds[rule].append(float(pd.read_csv(path, sep="\t")["s"].iloc[0]))
    for rule, of_jobs in seconds.items():
        print(f"  {rule}: {len(of_jobs)} jobs, {np.mean(of_jobs):.2f} s on the clock each", flush=True)
    return used


def measure_starts(folder: Path, n_slides: int, cores: int) -> None:
    few, many = (n_slides // size for size in (SLIDES_PER_BATCH, FEW_SLIDES))
    used = {batches: run_tiny(folder / str(batches), n_slides, batches, cores) for batches in (few, many)}
    # Batches to which no slide fell have no job.
    ran = {batches: len(list((folder / str(batches)).rglob("results/tiles/*.parquet"))) for batches in used}
    jobs, own = ((used[many][part] - used[few][part]) / (ran[many] - ran[few]) for part in (0, 1))
    print(f"each batch: {jobs:.2f} s of processor in its jobs and {own:.2f} s in Snakemake; "
          f"each slide: {(used[few].jobs - ran[few] * jobs) / n_slides:.2f} s, tables and store included")  # fmt: skip


def measure_schedule(folder: Path, n_slides: int, cores: int) -> None:
    write_study(folder, n_slides)
    (folder / "bin").mkdir()
    for name, script in (("apptainer", APPTAINER), ("python", PYTHON)):
        (folder / "bin" / name).write_text(script)
        (folder / "bin" / name).chmod(0o755)
    (folder / "image.sif").touch()
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    used = run(folder, cores, "--sdm", "apptainer", PATH=path, KSFUSION_IMAGE=str(folder / "image.sif"))
    jobs = sum(1 for _ in (folder / "results/logs").rglob("*.log"))
    print(f"{n_slides:,} slides, {jobs:,} jobs that wait for a second: {used}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "starts", "schedule"))
    parser.add_argument("--slides", type=int, default=3000)
    parser.add_argument("--batches", type=int)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = (args.folder or Path(name)).resolve() / "study"
        if args.what == "run":
            run_tiny(folder, args.slides, args.batches or batches_for(args.slides), args.cores)
        elif args.what == "starts":
            measure_starts(folder, args.slides, args.cores)
        else:
            measure_schedule(folder, args.slides, args.cores)


if __name__ == "__main__":
    main()
