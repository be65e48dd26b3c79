"""Run the demo in a fresh copy of the project and print what it costs.

Usage: python benchmarks/demo.py [--cores 2]

Prints the wall time of the demo after set-up in three parts (slides and genes; the grid of all methods, tasks and
seeds; tables and report), the peak memory of all its processes together, and how long ``ksfusion --help`` and a dry run
take, each beside the figure it should stay under, where there is one.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import run

ROOT = Path(__file__).resolve().parents[1]
# The demo in parts, and what Snakemake is asked for in each.
PARTS = {
    "slides and genes": ["results/features/store", "results/genes/fold0/selected.tsv", "results/cohort/leakage.tsv"],
    "training": ["--until", "train_model", "train_together", "fit_baseline"],
    "tables and report": [],
}


def fastest(command: list[str], folder: Path, times: int = 3) -> float:
    """Return the least seconds of several runs: the least disturbed by other programs."""
    return min(run(command, folder)[0] for _ in range(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=2)
    cores = parser.parse_args().cores
    snakemake = [sys.executable, "-m", "snakemake", "--cores", str(cores)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "ksfusion")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        rows = [("ksfusion --help, s", fastest([sys.executable, "-m", "ksfusion", "--help"], folder), 0.5)]
        rows.append(("snakemake -n, s", fastest([*snakemake, "--dry-run", "--quiet", "all"], folder), 4))
        parts = [run([*snakemake, *arguments], folder) for arguments in PARTS.values()]
        limits = [None, 480, None]
        rows += [(f"{name}, s", part[0], limit) for name, part, limit in zip(PARTS, parts, limits, strict=True)]
        rows.append(("the whole demo, s", sum(seconds for seconds, _ in parts), None))
        rows.append(("its peak memory, GiB", max(memory for _, memory in parts), 4))
        benchmarks = folder / "demo/results/benchmarks"
        timings = sorted(benchmarks.rglob("*.tsv"))
        by_rule: dict[str, list[float]] = {}
        for path in timings:
            rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
            by_rule.setdefault(rule, []).append(float(path.read_text().splitlines()[1].split("\t")[0]))
    print(f"{'what':30}{'measured':>10}{'limit':>8}   on {cores} cores")
    for name, value, limit in rows:
        verdict = "" if limit is None else f"{limit:8.1f}{'' if value < limit else '   over'}"
        print(f"{name:30}{value:10.2f}{verdict}")
    print(f"\n{'rule':30}{'jobs':>6}{'seconds, all jobs':>20}")
    for rule, seconds_of_jobs in sorted(by_rule.items(), key=lambda item: -sum(item[1])):
        print(f"{rule:30}{len(seconds_of_jobs):6}{sum(seconds_of_jobs):20.1f}")


if __name__ == "__main__":
    main()
