"""Whether intervals of paired differences hold the truth, and tests reject as often as they say, on drawn cohorts.

    python benchmarks/comparisons.py [--cases 100] [--cohorts 1000] [--nulls 2000] [--models demo/results/models]

The model. A case has a label (one of three classes, with probabilities 0.4, 0.35 and 0.25), a log hazard (standard
normal; survival is exponential, and so is censoring, at 0.4 of its rate), and one to four samples. Two methods, each
trained with two seeds, predict logits and risks: signal times what is true, something that both say of a case alike (sd
0.5), something that each says of a case (0.6) and of a sample (0.6), and what a seed adds to a sample (0.4).

- Coverage: the methods' signals are 1.3 and 0.9. The true difference of each metric is that of 400,000 cases, of the
  C-index the mean over 400 cohorts of 1,000 cases. How many of the drawn cohorts have it in their 95 % interval?
- Nulls: both signals are 1.1, so that for each case it does not matter which method is which. How many of the drawn
  cohorts have p < 0.05?
- With ``--models`` the tables of finished runs are made with 500, 2,000 and 10,000 draws, and the comparisons.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ksfusion.config import PAPER_METHODS
from ksfusion.results.comparisons import Scope, compare_pair, comparison_table, pair_runs
from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.metrics import METRICS, classification_metrics, survival_metrics
from ksfusion.results.runs import Run, average_by_case, read_runs
from ksfusion.results.statistics import RESAMPLES
from ksfusion.results.tables.folds import LEVELS
from ksfusion.results.tables.scores import result_table
from ksfusion.results.tasks import BUILTIN_TASKS

KIND = ShownTask(name="kind", kind="classification", classes=["a", "b", "c"])
SURVIVAL = ShownTask(name="survival", kind="survival")
TASKS = [KIND, SURVIVAL]
METHODS = ("snn", "ksfusion")
SEEDS = (0, 1)
SHARES = (0.4, 0.35, 0.25)
APART, ALIKE = (1.3, 0.9), (1.1, 1.1)
SHARED, OF_CASE, OF_SAMPLE, OF_SEED = 0.5, 0.6, 0.6, 0.4
TIMES = (365, 730, 1095)
LARGE, PARTS, PART = 400_000, 400, 1_000


def draw_cohort(random: np.random.Generator, n_cases: int, signals: tuple[float, float]) -> list[Run]:
    """Draw a cohort, and the test predictions of both methods and seeds for both tasks."""
    sizes = random.integers(1, 5, n_cases)
    case = np.repeat(np.arange(n_cases), sizes)
    label = random.choice(3, n_cases, p=SHARES)
    hazard = random.normal(size=n_cases)
    died, censored = random.exponential(np.exp(-hazard)), random.exponential(1 / 0.4, n_cases)
    truth = np.column_stack([np.eye(3)[label] * 1.5, hazard])
    both_say = SHARED * random.normal(size=(n_cases, 4))
    table = pd.DataFrame({"case_id": [f"C{number:06d}" for number in case], "cohort": "x"})
    table.insert(0, "sample_id", [f"S{number:06d}" for number in range(len(case))])
    runs = []
    for method, signal in zip(METHODS, signals, strict=True):
        of_case = signal * truth + both_say + OF_CASE * random.normal(size=truth.shape)
        of_sample = of_case[case] + OF_SAMPLE * random.normal(size=(len(case), 4))
        for seed in SEEDS:
            said = of_sample + OF_SEED * random.normal(size=of_sample.shape)
            odds = np.exp(said[:, :3])
            shares = pd.DataFrame(odds / odds.sum(axis=1, keepdims=True), columns=["prob_a", "prob_b", "prob_c"])
            kind = pd.concat([table.assign(y=label[case].astype(float)), shares], axis=1)
            days, event = np.minimum(died, censored)[case], (died <= censored)[case].astype(float)
            # Each run has a scale of its own.
            survival = table.assign(days=days, event=event, risk=said[:, 3] * 10.0 ** random.integers(-1, 2))
            for task, test in ((KIND, kind), (SURVIVAL, survival)):
                folder = Path(task.name, method, str(seed))
                runs.append(Run(task.name, method, 0, seed, folder, "", None, test))
    return runs


def true_differences() -> dict[tuple[str, str], float]:
    """Return the difference of each metric and level in the whole population."""
    random = np.random.default_rng(2026)
    total: dict[tuple[str, str], list[float]] = {}

    def add(runs: list[Run], task: ShownTask) -> None:
        for level in ("sample", "case"):
            means = []
            for method in METHODS:
                scores = []
                for run in runs:
                    if (run.task, run.method) == (task.name, method):
                        test = run.test if level == "sample" else average_by_case(run.test, task)
                        if task.kind == "survival":
                            scores.append(survival_metrics(test["days"], test["event"], test["risk"]))
                        else:
                            scores.append(classification_metrics(test["y"], test[["prob_a", "prob_b", "prob_c"]]))
                means.append(pd.DataFrame(scores).mean())
            for metric in METRICS[task.kind]:
                total.setdefault((metric, level), []).append(means[0][metric] - means[1][metric])

    add(draw_cohort(random, LARGE, APART), KIND)
    for _ in range(PARTS):
        add(draw_cohort(random, PART, APART), SURVIVAL)
    return {key: float(np.mean(values)) for key, values in total.items()}


def compare(seed: int, n_cases: int, signals: tuple[float, float]) -> pd.DataFrame:
    """Return the comparisons of a drawn cohort, by metric and level."""
    runs = draw_cohort(np.random.default_rng([seed, int(10 * signals[0])]), n_cases, signals)
    rows = []
    for task in TASKS:
        ours, theirs = ([run for run in runs if (run.task, run.method) == (task.name, name)] for name in METHODS)
        pair = pair_runs(METHODS[0], ours, METHODS[1], theirs)
        for level in LEVELS:
            scope = Scope(task, level, ALL, [0], RESAMPLES)
            rows += [whole for whole, *_ in compare_pair(pair, scope)]
    return pd.DataFrame(rows).set_index(["metric", "level"])


def compare_many(number: int, n_cases: int, signals: tuple[float, float], workers: int) -> list[pd.DataFrame]:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(compare, seed, n_cases, signals) for seed in range(number)]
        return [job.result() for job in jobs]


def time_tables(models: Path) -> None:
    """Print how long the tables of finished runs take."""
    tasks = [ShownTask.of(task, name=name) for name, task in BUILTIN_TASKS.items()]
    runs = read_runs([path.parent for path in models.rglob("metrics.json")], tasks, curves=True)
    methods = [name for name in PAPER_METHODS if any(run.method == name for run in runs)]
    for resamples in (500, 2_000, 10_000):
        start, used = time.perf_counter(), time.process_time()
        result_table(runs, tasks=tasks, methods=methods, resamples=resamples)
        print(f"tables, {resamples:6,} draws: {_took(start, used)}")
    of_demo = {"tasks": tasks, "methods": methods, "reference": "ksfusion", "correction": "holm", "times": TIMES}
    for resamples in (2_000, 10_000):
        start, used = time.perf_counter(), time.process_time()
        comparison_table(runs, **of_demo, resamples=resamples)
        print(f"comparisons, {resamples:6,} draws: {_took(start, used)}")


def _took(start: float, used: float) -> str:
    return f"{time.perf_counter() - start:.1f} s ({time.process_time() - used:.1f} s of processor time)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100, help="in a cohort")
    parser.add_argument("--cohorts", type=int, default=1_000, help="drawn for coverage; 0 for none")
    parser.add_argument("--nulls", type=int, default=2_000, help="cohorts drawn under the null; 0 for none")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--models", type=Path, help="folder of finished runs of the demo, to be timed")
    options = parser.parse_args()
    if options.models:
        time_tables(options.models)
    if options.cohorts:
        truth = true_differences()
        found = compare_many(options.cohorts, options.cases, APART, options.workers)
        print(f"\n{options.cohorts} cohorts of {options.cases} cases: true difference, share of intervals that hold it")
        for key in sorted(truth):
            held = [table.loc[key, "ci_low"] <= truth[key] <= table.loc[key, "ci_high"] for table in found]
            print(f"{' '.join(key):22s} {truth[key]:7.2f} {100 * np.mean(held):6.1f} %")
    if options.nulls:
        found = compare_many(options.nulls, options.cases, ALIKE, options.workers)
        print(f"\n{options.nulls} cohorts of {options.cases} cases under the null: share with p < 0.05")
        for key in sorted(found[0].index):
            tests = {table.loc[key, "test"] for table in found}
            rejected = [table.loc[key, "p"] < 0.05 for table in found]
            print(f"{' '.join(key):22s} {100 * np.mean(rejected):6.1f} %  {', '.join(sorted(tests))}")


if __name__ == "__main__":
    main()
