"""Where KS-Fusion looks and why: one change at a time, on cohorts whose truth is known patch by patch.

    python benchmarks/attention.py planted [--draw 0] [--rows ...] [--tasks ...] [--seeds 0 1 2]
    python benchmarks/attention.py demo [--folder demo] ...
    python benchmarks/attention.py ceilings [--folder demo]

`planted` draws the cohort of `benchmarks/planted.py` (`--draw` is its seed: 0 is what the changes were developed on,
any other is new to them); a patch that shows either pattern is the target of both streams. `demo` takes the finished
demo's results; targets are those of `ksfusion.demo.targets`, tumour for the tumour's stream and immune clusters and
vessels (`tme`) for the microenvironment's. Models train as the pipeline trains them, for 8 epochs with weight decay
0.01, and are measured on test samples: the AUC or C-index of the task, and for each stream the mean over slides of the
area under the ROC curve of a patch's attention against the target. All in percent; mean and sd over seeds.

`ceilings` asks how much a slide's label can say at all of its patches: ridge regressions from the mean feature of the
demo's training slides to something that is known of a slide, whose coefficients then score each patch of test slides.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ksfusion.methods import METHODS, build
from ksfusion.results.attention.localisation import locate, patch_means
from ksfusion.results.attention.maps import attention_maps
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.config import RunSettings, TrainedTask
from ksfusion.training.data import FoldData, FoldFiles, read_fold
from ksfusion.training.fit import STRATEGIES, fit, method_options
from ksfusion.training.losses import risk
from ksfusion.training.objective import objective_class, sample_weights
from ksfusion.training.predict import predict
from ksfusion.training.reproducible import reproducible

CPU = torch.device("cpu")
EPOCHS, DECAY, AT_ONCE = 8, 0.01, 16
Scale = Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """A method, what it is built with, what some of its first weights are multiplied by, and the weight decay."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    scale: Scale = field(default_factory=dict)
    decay: float = DECAY


QUERIES_AND_KEYS = {"attend.w_q": 4.0, "attend.w_k": 4.0}
ROWS: dict[str, Row] = {
    "ksfusion": Row("ksfusion"),
    "equations alone": Row("ksfusion-equations"),
    "equations, W_q and W_k x 4": Row("ksfusion-equations", scale=QUERIES_AND_KEYS),
    "W_q and W_k x 4": Row("ksfusion", scale=QUERIES_AND_KEYS),
    "offsets x 16": Row("ksfusion", scale={"attend.to_offset": 16.0}),
    "reach 1 cell": Row("ksfusion", {"offset_cells": 1.0}),
    "reach 0": Row("ksfusion", {"offset_cells": 0.0}),
    "a point each patch": Row("ksfusion", {"grid": 64}),
    "without Ge-Con": Row("ksfusion-no-gecon"),
    "without CG-Coord": Row("ksfusion-no-cgcoord"),
    "decay 0.1": Row("ksfusion", decay=0.1),
    "decay 0.03": Row("ksfusion", decay=0.03),
    "decay 0.001": Row("ksfusion", decay=0.001),
    "focus": Row("ksfusion-focus"),
    "focus, not dense": Row("ksfusion-focus", {"dense": False}),
    "focus, not mixed": Row("ksfusion-focus", {"mixed": False}),
    "focus, patches ask": Row("ksfusion-focus", {"gene_queries": False}),
    "focus, map residual": Row("ksfusion-focus", {"genes_residual": False}),
    "focus, gate": Row("ksfusion-focus", {"gate": True}),
    "focus, gate, map residual": Row("ksfusion-focus", {"gate": True, "genes_residual": False}),
    "focus without Ge-Con": Row("ksfusion-focus-no-gecon"),
    "focus without CG-Coord": Row("ksfusion-focus-no-cgcoord"),
}


@dataclass(frozen=True)
class Cohort:
    """Files of a fold, tasks, the target of each stream, and what shows each target: sample_id to target to cells."""

    files: FoldFiles
    tasks: Mapping[str, TaskOutcome]
    targets: Mapping[str, str]
    truth: Callable[[str], tuple[Mapping[str, np.ndarray], np.ndarray]]


def planted_cohort(folder: Path, *, draw: int, n_test: int) -> Cohort:
    """Draw the cohort of `benchmarks/planted.py`."""
    import planted

    planted.draw_cohort(folder, n_test=n_test, n_patches=256, width=64, seed=draw)
    shown = np.load(folder / planted.TRUTH)
    cells = np.arange(shown[next(iter(shown))].size)
    truth = {name: {"pattern": shown[name]} for name in shown.files}
    files = FoldFiles(*(folder / name for name in planted.FILES))
    return Cohort(files, planted.TASKS, dict.fromkeys(("tumour", "tme"), "pattern"), lambda name: (truth[name], cells))


def demo_cohort(folder: Path) -> Cohort:
    """Read the finished demo."""
    from ksfusion.demo.targets import TARGETS, planted_targets
    from ksfusion.results.attention.slide_picture import read_patches

    results = folder / "results"
    samples = pd.read_csv(results / "samples.tsv", sep="\t", dtype=str).query("status == 'ok'").set_index("sample_id")
    patches = read_patches(sorted((results / "features").glob("*.h5")), set(samples["slide_id"]))
    tiles = planted_targets(pd.read_parquet(folder / "truth/tiles.parquet")).set_index(["slide_id", "x", "y"])

    def truth(sample_id: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
        slide_id = samples.loc[sample_id, "slide_id"]
        here = patches[slide_id]
        shown = tiles.loc[[(slide_id, int(x), int(y)) for x, y in here.coords]]
        return {name: shown[name].to_numpy(bool) for name in TARGETS}, here.index

    tasks = {}
    for name in ("diagnosis", "grading", "survival"):
        written = json.loads((results / f"models/{name}/snn/fold0/seed0/config.json").read_text(encoding="utf-8"))[
            "task"
        ]
        tasks[name] = TaskOutcome(**{key: written[key] for key in ("name", "kind", "classes") if key in written})
    genes = results / "genes/fold0"
    files = FoldFiles(
        results / "features/store",
        genes / "expression.parquet",
        genes / "selected.tsv",
        results / "samples.tsv",
        results / "cohort/cases.parquet",
        results / "cohort/splits.tsv",
    )
    return Cohort(files, tasks, {"tumour": "tumour", "tme": "tme"}, truth)


def run(cohort: Cohort, data: FoldData, outcome: TaskOutcome, row: Row, seed: int) -> dict[str, float]:
    """Train once; return score, localisation by stream, and shares of steps with conflicting gradients."""
    from ksfusion.results.metrics import classification_metrics, survival_metrics

    task, info = TrainedTask.of(outcome, epochs=EPOCHS), METHODS[row.method]
    settings = RunSettings(batch_size=8, lr=1e-3, dropout=0.1, alpha=0.5, weight_by="sample", weight_decay=row.decay)
    strategy = STRATEGIES[info.training]
    with reproducible(seed, device=CPU, threads=1):
        samples = data.samples.iloc[data.labelled("train")]
        weights = sample_weights(samples, weight_by="sample")
        objective = objective_class(task).fit(samples, weights, task, strategy)
        sizes = {"n_features": data.n_features, "n_patches": data.n_patches, "n_outputs": objective.n_outputs}
        options = {**method_options(info, settings), **row.options}
        model = build(row.method, niches=data.niches, groups=data.groups, **sizes, **options)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                for part, factor in row.scale.items():
                    if part in name:
                        parameter.mul_(factor)
        fitted = fit(
            model, data, objective, epochs=EPOCHS, seed=seed, settings=settings, strategy=strategy, name="benchmark"
        )
        model.load_state_dict(fitted.weights)
        model.eval()
        tested = data.labelled("test")
        logits, truth = predict(model, data, tested, batch_size=8), data.samples.iloc[tested]
    if task.kind == "survival":
        score = survival_metrics(truth["days"].astype(float), truth["event"].astype(int), risk(logits).numpy())[
            "c_index"
        ]
    else:
        score = classification_metrics(truth["y"].astype(int), logits.softmax(1).numpy())["auc"]
    history = fitted.history
    conflict = history["coordination_conflict"].mean() if "coordination_conflict" in history else np.nan
    return {"score": score, **localisation(cohort, model, data), "conflict": 100 * conflict}


def localisation(cohort: Cohort, model: Any, data: FoldData) -> dict[str, float]:
    """Return the mean over test slides of how well each stream's attention finds its target."""
    positions, tables = np.flatnonzero(data.samples["split"] == "test"), []
    for start in range(0, len(positions), AT_ONCE):
        part = positions[start : start + AT_ONCE]
        with torch.no_grad():
            maps = attention_maps(model, model(*data.gather(part, CPU)))
        for number, row in enumerate(data.samples.iloc[part].itertuples()):
            shown, index = cohort.truth(row.sample_id)
            scores = {stream: patch_means(cells[number], index) for stream, cells in maps.items()}
            table = pd.DataFrame({**scores, **{f"target_{name}": values for name, values in shown.items()}})
            tables.append(table.assign(sample_id=row.sample_id, case_id=row.case_id))
    table = pd.concat(tables, ignore_index=True)
    return {
        stream: next(iter(locate(table, stream, f"target_{target}", resamples=2))).auc
        for stream, target in cohort.targets.items()
    }


def ceilings(cohort: Cohort, folder: Path) -> None:
    """Print what ridge regressions on what is known of a slide find of its patches."""
    from sklearn.linear_model import Ridge

    data = read_fold(cohort.files, task=cohort.tasks["diagnosis"], fold=0, modalities="pg")
    cases = pd.read_csv(folder / "truth/cases.tsv", sep="\t").set_index("case_id").loc[data.samples["case_id"]]
    shown = [cohort.truth(name) for name in data.samples["sample_id"]]
    train, test = (np.flatnonzero(data.samples["split"] == split) for split in ("train", "test"))
    maps = [np.asarray(data.features[data.rows[slide]], dtype=np.float32) for slide in data.slides]
    learnt = np.concatenate([maps[position] for position in train])
    mean, sd = learnt.mean(axis=0), learnt.std(axis=0) + 1e-6
    maps = [(cells - mean) / sd for cells in maps]
    means = np.stack([cells.mean(axis=0) for cells in maps])
    malignant = ("glioblastoma", "astrocytoma_g4")
    known = {
        "share of patches with tumour": np.array([targets["tumour"].mean() for targets, _ in shown]),
        "share of patches with immune clusters or vessels": np.array([targets["tme"].mean() for targets, _ in shown]),
        "amount of tumour, as drawn": cases["slide_tumour"].to_numpy(float),
        "amount of TME, as drawn": cases["slide_tme"].to_numpy(float),
        "look: malignant or not": cases["look"].isin(malignant).to_numpy(float),
        "diagnosis: malignant or not": cases["diagnosis"].isin(malignant).to_numpy(float),
        "amount of tumour in the genes": cases["gene_tumour"].to_numpy(float),
        "amount of TME in the genes": cases["gene_tme"].to_numpy(float),
    }
    print("known of a slide | penalty | correlation on test slides | tumour | tme")
    for name, values in known.items():
        for penalty in (10.0, 100.0, 1000.0):
            ridge = Ridge(alpha=penalty).fit(means[train], values[train])
            correlation = np.corrcoef(ridge.predict(means[test]), values[test])[0, 1]
            table = pd.concat(
                [
                    pd.DataFrame(
                        {"score": patch_means(maps[position] @ ridge.coef_, shown[position][1]), **shown[position][0]}
                    ).assign(sample_id=str(position), case_id=str(position))
                    for position in test
                ]
            )
            found = [next(iter(locate(table, "score", target, resamples=2))).auc for target in ("tumour", "tme")]
            print(f"{name} | {penalty:g} | {correlation:.2f} | {found[0]:.1f} | {found[1]:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["planted", "demo", "ceilings"])
    parser.add_argument("--draw", type=int, default=0, help="seed by which the planted cohort is drawn [0]")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="of the finished demo [demo]")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--tasks", nargs="+", help="[all]")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--test-cases", type=int, default=200, help="of the planted cohort [200]")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if args.what == "planted":
            cohort = planted_cohort(Path(temporary), draw=args.draw, n_test=args.test_cases)
        else:
            cohort = demo_cohort(args.folder)
        if args.what == "ceilings":
            ceilings(cohort, args.folder)
            return
        print("row | task | score | tumour stream | TME stream | steps in conflict")
        for name in args.tasks or list(cohort.tasks):
            data = read_fold(cohort.files, task=cohort.tasks[name], fold=0, modalities="pg")
            for row in args.rows:
                found = pd.DataFrame([run(cohort, data, cohort.tasks[name], ROWS[row], seed) for seed in args.seeds])
                cells = [f"{found[column].mean():.1f} ({found[column].std():.1f})" for column in found]
                print(" | ".join([row, name, *cells]), flush=True)


if __name__ == "__main__":
    main()
