"""Train on cases of which some have a slide or a profile alone, and see whether they help.

    python benchmarks/missing.py [--tasks ...] [--seeds ...] [--missing SHARE] [--dropout SHARE]

The cohort is that of `benchmarks/planted_cohort.py`. Of the training and validation cases a share has lost its slides
or its profiles, each half of the share, by a fixed draw. Every test case stands there three times: with both, with its
slide alone, with its genes alone, so that the three are compared on the same cases. Two ways to train:

- paired: on the cases that have both, as `cohort.require: paired` does;
- any: each method on the cases that have what it reads, as `cohort.require: any` does. With a modality dropout above 0
  ksfusion and concat train on all of them, with stand-ins for what is missing.

A modality dropout on the paired cases alone tells apart what the dropout does and what the further cases do. The
student's teacher is the ksfusion of the same seed that was trained on the paired cases, without modality dropout.

Settled before the first look at a test score: half of the cases lack something, a modality dropout of 0.3, and of all
the rest what `benchmarks/RESULTS.md` has for the planted cohort (8 epochs, weight decay 0.01).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from planted import oracle
from planted_cohort import CLASSES, FILES, TASKS, draw_cohort

from ksfusion.terms.modalities import GENES_ONLY, MODALITIES, PAIRED, SLIDES_ONLY
from ksfusion.training.config import RunSettings, TrainedTask, TrainModelSettings

# Method, cases that it is trained on, and whether with modality dropout.
RUNS = [
    ("ksfusion", "paired", False),
    ("ksfusion", "paired", True),
    ("ksfusion", "any", True),
    ("concat", "paired", False),
    ("concat", "paired", True),
    ("concat", "any", True),
    ("snn", "paired", False),
    ("snn", "any", False),
    ("attmil", "paired", False),
    ("attmil", "any", False),
    ("ksfusion-student", "paired", False),
    ("ksfusion-student", "any", False),
]
TESTED = (PAIRED, SLIDES_ONLY, GENES_ONLY)


def remove(folder: Path, missing: float) -> dict[str, int]:
    """Write samples_any.tsv and samples_paired.tsv beside a drawn cohort; return how many training cases each has."""
    samples = pd.read_csv(folder / "samples.tsv", sep="\t", dtype=str)
    expression = pd.read_parquet(folder / "expression.parquet")
    sides = pd.read_csv(folder / "splits.tsv", sep="\t", dtype={"case_id": str}).set_index("case_id")["split"]
    drawn = pd.Series(np.random.default_rng(1).random(len(sides)), index=sides.index)
    kinds = (
        pd.Series(PAIRED, index=sides.index).mask(drawn < missing, GENES_ONLY).mask(drawn < missing / 2, SLIDES_ONLY)
    )
    of_sample, side = samples["case_id"].map(kinds), samples["case_id"].map(sides)
    trained = samples[side != "test"].assign(**{MODALITIES: of_sample})
    tested, profiles = [], [expression]
    for kind in TESTED:
        own = samples[side == "test"].assign(**{MODALITIES: kind})
        ids = own["sample_id"] + ("" if kind == PAIRED else f"-{kind[0]}")
        if kind != PAIRED:
            profiles.append(expression.loc[own["sample_id"]].set_axis(ids))
        tested.append(own.assign(sample_id=ids))
    pd.concat(profiles).to_parquet(folder / "expression.parquet")
    counts = {}
    for name in ("any", "paired"):
        used = trained if name == "any" else trained[trained[MODALITIES] == PAIRED]
        pd.concat([used, *tested]).to_csv(folder / f"samples_{name}.tsv", sep="\t", index=False)
        counts[name] = used.loc[used["case_id"].map(sides) == "train", "case_id"].nunique()
    return counts


def run(folder: Path, task: TrainedTask, method: str, cases: str, seed: int, settings: RunSettings) -> dict[str, float]:
    """Train once; return the test metric in percent by what the test samples have."""
    from ksfusion.results.metrics import classification_metrics, survival_metrics
    from ksfusion.stages.train_model import train_model
    from ksfusion.training.data import FoldFiles

    names = [f"samples_{cases}.tsv" if name == "samples.tsv" else name for name in FILES]
    place = folder / task.name / str(seed)
    output = place / f"{method}-{cases}-{settings.modality_dropout or 0:g}"
    train_model(
        FoldFiles(*(folder / name for name in names)),
        [output],
        method=method,
        fold=0,
        seed=[seed],
        settings=TrainModelSettings(task=task, training=settings),
        teacher=[place / "ksfusion-paired-0"] if method == "ksfusion-student" else [],
        device="cpu",
    )
    found = {}
    for kind, table in pd.read_parquet(output / "predictions.parquet").query("split == 'test'").groupby(MODALITIES):
        if task.kind == "survival":
            found[kind] = survival_metrics(table["days"], table["event"], table["risk"])["c_index"]
        else:
            found[kind] = classification_metrics(table["y"], table[[f"prob_{name}" for name in CLASSES]])["auc"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(dict.fromkeys(name for name, *_ in RUNS)))
    parser.add_argument("--missing", type=float, default=0.5, help="share of the cases that lack slides or genes [0.5]")
    parser.add_argument("--dropout", type=float, default=0.3, help="modality dropout, where there is one [0.3]")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--test-cases", type=int, default=400)
    args = parser.parse_args()

    common = {"batch_size": 8, "lr": 1e-3, "dropout": 0.1, "alpha": 0.5, "weight_decay": args.weight_decay}
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        drawn = draw_cohort(folder, n_test=args.test_cases, n_patches=256, width=64, seed=0)
        counts = remove(folder, args.missing)
        print(f"training cases: {counts['paired']} paired, {counts['any']} any", flush=True)
        for name in args.tasks:
            task = TrainedTask.of(TASKS[name], epochs=args.epochs)
            for seed in args.seeds:
                for method, cases, dropping in RUNS:
                    if method not in args.methods:
                        continue
                    start, dropout = time.perf_counter(), args.dropout if dropping else None
                    settings = RunSettings(**common, modality_dropout=dropout)
                    scores = run(folder, task, method, cases, seed, settings)
                    rows += [(name, method, cases, dropout or 0, seed, kind, score) for kind, score in scores.items()]
                    said = ", ".join(f"{kind} {score:.1f}" for kind, score in scores.items())
                    told = f"{name} {method} {cases} dropout {dropout or 0:g} seed {seed}"
                    print(f"  {told}: {said}, {time.perf_counter() - start:.0f} s", flush=True)
    table = pd.DataFrame(rows, columns=["task", "method", "cases", "dropout", "seed", "tested", "score"])
    shown = table.groupby(["task", "method", "cases", "dropout", "tested"], sort=False)["score"].agg(["mean", "std"])
    text = shown.apply(lambda row: f"{row['mean']:.1f} ({row['std']:.1f})", axis=1).unstack("tested")
    print(f"\nTest AUC (diagnosis) and C-index (survival) in percent, mean (sd) of {len(args.seeds)} seeds")
    print(text.reindex(columns=list(TESTED)).fillna("-").to_string())
    for known in ("genes", "patches", "all"):
        print(f"oracle, {known}: {', '.join(f'{name} {value:.1f}' for name, value in oracle(drawn, known).items())}")


if __name__ == "__main__":
    main()
