"""Train the methods on a cohort whose truth is known, at the level of features and genes.

    python benchmarks/planted.py [--full] [--methods ...] [--seeds ...] [--against ...] [--localisation table.tsv]

The cohort is that of `benchmarks/planted_cohort.py`, where its data model is stated.

At the end two questions are answered, for each task: does a method that reads both modalities come out above the best
that reads one, and does KS-Fusion without a component come out above the whole? Differences are of the mean over seeds,
with the sd of the seeds' own differences beside them. `--against` tells how each method differs from those named: a
mean over seeds with its 95 % interval by bootstrap over test cases. `--runs` keeps the runs in a folder; those that it
has are not trained again.

`--localisation` writes the table that the demo has as `results/localisation.tsv`: how well the attention of each
method, and the attribution of its output to each patch, find the patches that show a pattern, with chance and an oracle
beside. Of each run the last weight decay counts.

What to expect: at a weight decay of 0.01 KS-Fusion comes out above both uni-modal methods. At the paper's 0.1, which in
Adam's gradient outweighs that of a task with labels as noisy as these, the weights of KS-Fusion go to zero.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from planted_cohort import CLASSES, FILES, PLACES, SHOWN, TASKS, draw_cohort

from ksfusion.config import PAPER_METHODS
from ksfusion.methods import METHODS
from ksfusion.training.config import RunSettings, TrainedTask, TrainModelSettings

EPOCHS = {"diagnosis": 20, "survival": 10}
RESAMPLES = 1000


def run_folder(runs: Path, task: str, method: str, decay: float, seed: int) -> Path:
    return runs / task / method / str(decay) / str(seed)


def predictions(folder: Path) -> pd.DataFrame:
    """Read what a run says of the test samples."""
    return pd.read_parquet(folder / "predictions.parquet").query("split == 'test'")


def run(
    folder: Path, runs: Path, task: TrainedTask, method: str, seed: int, settings: RunSettings, device: str
) -> tuple:
    """Train once, unless the run is there; return task, method, decay, seed, test metric in percent and a note."""
    from ksfusion.results.metrics import classification_metrics, survival_metrics
    from ksfusion.stages.train_model import train_model
    from ksfusion.training.data import FoldFiles

    start, output = time.perf_counter(), run_folder(runs, task.name, method, settings.weight_decay, seed)
    if not (output / "metrics.json").exists():
        train_model(
            FoldFiles(*(folder / name for name in FILES)),
            [output],
            method=method,
            fold=0,
            seed=[seed],
            settings=TrainModelSettings(task=task, training=settings),
            device=device,
        )
    table = predictions(output)
    if task.kind == "survival":
        score = survival_metrics(table["days"], table["event"], table["risk"])["c_index"]
    else:
        score = classification_metrics(table["y"], table[[f"prob_{name}" for name in CLASSES]])["auc"]
    chosen = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    note = f"epoch {chosen['best_epoch']}, validation {next(iter(chosen['val'].values())):.1f}"
    return task.name, method, settings.weight_decay, seed, score, f"{note}, {time.perf_counter() - start:.0f} s"


def write_localisation(folder: Path, runs: list[Path], output: Path) -> None:
    """Write where methods look, as the stages of the pipeline do."""
    from ksfusion.results.attention.targets import TargetFiles
    from ksfusion.results.config import LocateAttentionSettings
    from ksfusion.stages.locate_attention import locate_attention
    from ksfusion.stages.make_localisation import make_localisation
    from ksfusion.training.data import FoldFiles

    settings, located = LocateAttentionSettings(resamples=RESAMPLES), folder / "located.tsv"
    known = {"target_files": TargetFiles([folder / PLACES], regions=folder / SHOWN), "settings": settings}
    locate_attention(FoldFiles(*(folder / name for name in FILES)), runs=runs, output=located, **known)
    tables = {name: folder / f"{name}.tsv" for name in ("samples", "splits")}
    make_localisation([located], store=folder / "store", **tables, output=output, **known)


def oracle(cases: pd.DataFrame, known: str) -> dict[str, float]:
    """Return the test scores of the Bayes rule given what is known of the latents."""
    from ksfusion.results.metrics import classification_metrics, survival_metrics

    test = pd.concat([cases, cases.iloc[::4]]).query("split == 'test'")
    return {
        "diagnosis": classification_metrics(test["label_diagnosis"], test[[f"{known}_{n}" for n in CLASSES]])["auc"],
        "survival": survival_metrics(test["days_survival"], test["event_survival"], test[f"{known}_risk"])["c_index"],
    }


def print_verdicts(table: pd.DataFrame, decay: float, tasks: list[str]) -> None:
    """Print how methods of both modalities and those without a component compare."""
    table = table[table["decay"] == decay]
    for task in tasks:
        scores = table[table["task"] == task].pivot(index="seed", columns="method", values="score")
        alone = [name for name in scores if len(METHODS[name].modalities) == 1]
        both = [name for name in scores if len(METHODS[name].modalities) == 2]
        pairs = []
        if alone:
            best = scores[alone].mean().idxmax()
            pairs += [(name, best) for name in both]
        pairs += [(name, "ksfusion") for name in both if "-no-" in name and "ksfusion" in scores]
        for name, other in pairs:
            difference = scores[name] - scores[other]
            word = "above" if difference.mean() > 0 else "not above"
            spread = f"{difference.mean():+.1f} ({difference.std():.1f})"
            print(f"{task:10} decay {decay:g}: {name} is {word} {other}: {spread}")


def print_differences(runs: Path, table: pd.DataFrame, others: list[str]) -> None:
    """Print how much each method's score is above that of others, with an interval over the test cases."""
    from attention import Tested, difference

    def tested(task: str, method: str, decay: float) -> list[Tested]:
        found = []
        for row in table[
            (table["task"] == task) & (table["method"] == method) & (table["decay"] == decay)
        ].itertuples():
            truth = predictions(run_folder(runs, task, method, decay, row.seed))
            outputs = truth["risk"] if task == "survival" else truth[[f"prob_{name}" for name in CLASSES]]
            found.append(Tested({"score": row.score}, outputs.to_numpy(), truth))
        return found

    pairs = table[["task", "decay", "method"]].drop_duplicates()
    for other in others:
        for task, decay, method in pairs[pairs["method"] != other].itertuples(index=False):
            mean, low, high = difference(tested(task, method, decay), tested(task, other, decay))
            print(f"{task:10} decay {decay:g}: {method} less {other}: {mean:+.1f} ({low:+.1f} to {high:+.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="2,500 patches x 1,024 features; for a GPU")
    parser.add_argument("--methods", nargs="+", default=PAPER_METHODS, choices=METHODS, help="[those of the tables]")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, help="of each task [20 for diagnosis, 10 for survival]")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", nargs="+", type=float, default=[0.1, 0.01], help="the paper's, and a tenth")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--test-cases", type=int, default=400)
    parser.add_argument("--device", default="cpu", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--localisation", type=Path, help="table of where methods look")
    parser.add_argument(
        "--against", nargs="+", default=[], choices=METHODS, help="methods that the others are compared with"
    )
    parser.add_argument("--runs", type=Path, help="folder that keeps the runs of this cohort and these settings")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 2), help="trainings at a time")
    args = parser.parse_args()

    common = {"batch_size": 8, "lr": args.lr, "dropout": 0.1, "alpha": args.alpha, "weight_by": "sample"}
    rows = [(method, decay) for decay in args.weight_decay for method in args.methods]
    n_patches, width = (2500, 1024) if args.full else (256, 64)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kept = args.runs or folder
        cases = draw_cohort(folder, n_test=args.test_cases, n_patches=n_patches, width=width, seed=0)
        runs = []
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            for seed, name, (method, decay) in product(args.seeds, args.tasks, rows):
                task = TrainedTask.of(TASKS[name], epochs=args.epochs or EPOCHS[name])
                settings = RunSettings(**common, weight_decay=decay)
                runs.append(pool.submit(run, folder, kept, task, method, seed, settings, args.device))
            results = []
            for future in runs:
                results.append(future.result())
                name, method, decay, seed, score, note = results[-1]
                print(f"  {name:10} {method:20} decay {decay:<6g} seed {seed} {score:5.1f}  {note}", flush=True)
        if args.localisation:
            last = args.weight_decay[-1]
            looking = [name for name in args.methods if "p" in METHODS[name].modalities]
            folders = [
                run_folder(kept, t, name, last, seed) for t in args.tasks for name in looking for seed in args.seeds
            ]
            write_localisation(folder, folders, args.localisation)
        runs_table = pd.DataFrame(results, columns=["task", "method", "decay", "seed", "score", "note"])
        print_differences(kept, runs_table, args.against)
    table = runs_table.groupby(["method", "decay", "task"])["score"].agg(["mean", "std"]).unstack("task")
    print(f"\nTest AUC (diagnosis) and C-index (survival) in percent, mean and sd of {len(args.seeds)} seeds")
    for method, decay in rows:
        row = table.loc[method, decay]
        print(
            f"{f'{method}, decay {decay:g}':34}",
            "  ".join(f"{t} {row['mean', t]:5.1f} ({row['std', t]:4.1f})" for t in args.tasks),
        )
    for known in ("genes", "patches", "all"):
        best = oracle(cases, known)
        print(f"{'oracle: ' + known:34}", "  ".join(f"{t} {best[t]:5.1f}       " for t in args.tasks))
    print()
    for decay in args.weight_decay:
        print_verdicts(runs_table, decay, args.tasks)


if __name__ == "__main__":
    main()
