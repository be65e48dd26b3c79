"""Where KS-Fusion looks and why: one change at a time, on cohorts whose truth is known patch by patch.

    python benchmarks/attention.py planted [--draw 0] [--placed] [--rows ...] [--tasks ...] [--seeds 0 1 2]
    python benchmarks/attention.py demo [--folder demo] ...
    python benchmarks/attention.py ceilings [--folder demo]

`planted` draws the cohort of `benchmarks/planted_cohort.py` (`--draw` is its seed: 0 is what was developed on, any
other is new to it); the target of both streams is a patch that shows either pattern, and, beside, one that shows
the pattern that matters by the case's genes. With `--placed` the patterns look alike, and which one matters is told by
the half of the map that it lies in. `demo` takes the finished demo's results; targets are those of
`ksfusion.demo.targets`, tumour for the tumour's stream and immune clusters and vessels (`tme`) for the
microenvironment's. Models train as the pipeline trains them, for 8 epochs with weight decay 0.01, and are measured on
test samples: the AUC or C-index of the task, and for each stream the mean over slides of the area under the ROC curve
of a patch's attention against the target; the share of steps in which the halves of the classifier's gradient conflict,
and the mean of their cosine. All in percent; mean and sd over seeds. `--output` keeps every run, and `--against ROW`
tells the difference of each row's score to that of another, a mean over seeds with its 95 % interval by bootstrap over
test cases.

`ceilings` asks how much a slide's label can say at all of its patches: ridge regressions from the mean feature of the
demo's training slides to something that is known of a slide, whose coefficients then score each patch of test slides.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from attention_rows import ROWS, Row

from ksfusion.core.ids import stable_hash
from ksfusion.methods import METHODS, build
from ksfusion.methods.registry import Inputs
from ksfusion.results.attention.localisation import locate, patch_means
from ksfusion.results.attention.maps import attention_maps
from ksfusion.slides.tiles.sampling import map_order
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.config import RunSettings, TrainedTask
from ksfusion.training.data import FoldData, FoldFiles, read_fold
from ksfusion.training.fit import fit
from ksfusion.training.fit_method import STRATEGIES, method_options
from ksfusion.training.losses import risk
from ksfusion.training.objective import objective_class, sample_weights
from ksfusion.training.predict import predict
from ksfusion.training.reproducible import reproducible

CPU = torch.device("cpu")
EPOCHS, AT_ONCE = 8, 16
RESAMPLES = 1000


@dataclass(frozen=True)
class Cohort:
    """A cohort whose patches are known.

    Attributes
    ----------
    files, tasks
        Files of its fold, and its tasks.
    targets
        Streams, each with a target that it should find.
    truth
        Sample to target to which of its slide's patches show that.
    cells
        Sample and order to which of its slide's patches stands in each cell of the map.
    """

    files: FoldFiles
    tasks: Mapping[str, TaskOutcome]
    targets: Sequence[tuple[str, str]]
    truth: Callable[[str], Mapping[str, np.ndarray]]
    cells: Callable[[str, str], np.ndarray]

    def ordered(self, data: FoldData, order: str) -> FoldData:
        """Return data whose maps are laid in an order."""
        rows = data.rows.copy()
        for slide, sample_id in zip(data.slides, data.samples["sample_id"], strict=True):
            rows[slide] = data.rows[slide].min() + self.cells(sample_id, order)
        return dataclasses.replace(data, rows=rows)


def planted_cohort(folder: Path, **drawn: Any) -> Cohort:
    """Draw the cohort of `benchmarks/planted_cohort.py`."""
    import planted_cohort as planted

    planted.draw_cohort(folder, n_patches=256, width=64, **drawn)
    shown = pd.read_parquet(folder / planted.SHOWN)
    # A slide has its sample's name, and its patches stand in the order of the map.
    of_slide = {
        name: {target: rows[target].to_numpy() for target in planted.TARGETS}
        for name, rows in shown.groupby("slide_id")
    }

    def cells(sample_id: str, order: str) -> np.ndarray:
        count = of_slide[sample_id]["pattern"].size
        if order == "shuffled":
            return np.random.default_rng(stable_hash(sample_id)).permutation(count)
        return np.arange(count)

    files = FoldFiles(*(folder / name for name in planted.FILES))
    targets = [(stream, target) for target in ("pattern", "matters") for stream in ("tumour", "tme")]
    return Cohort(files, planted.TASKS, targets, of_slide.__getitem__, cells)


def demo_cohort(folder: Path) -> Cohort:
    """Read the finished demo."""
    from ksfusion.demo.targets import TARGETS, planted_targets
    from ksfusion.results.attention.slide_picture import read_patches

    results = folder / "results"
    samples = pd.read_csv(results / "samples.tsv", sep="\t", dtype=str).query("status == 'ok'").set_index("sample_id")
    patches = read_patches(sorted((results / "features").glob("*.h5")), set(samples["slide_id"]))
    tiles = planted_targets(pd.read_parquet(folder / "truth/tiles.parquet")).set_index(["slide_id", "x", "y"])

    def truth(sample_id: str) -> dict[str, np.ndarray]:
        slide_id = samples.loc[sample_id, "slide_id"]
        shown = tiles.loc[[(slide_id, int(x), int(y)) for x, y in patches[slide_id].coords]]
        return {name: shown[name].to_numpy(bool) for name in TARGETS}

    def cells(sample_id: str, order: str) -> np.ndarray:
        here = patches[samples.loc[sample_id, "slide_id"]]
        if order == "hilbert":
            return map_order(pd.DataFrame(here.coords, columns=["x", "y"]), len(here.index), "hilbert")
        if order == "shuffled":
            return np.random.default_rng(stable_hash(sample_id)).permutation(here.index)
        return here.index

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
    return Cohort(files, tasks, [("tumour", "tumour"), ("tme", "tme")], truth, cells)


class Tested(NamedTuple):
    """Figures of a run in percent, and what it says of the test samples."""

    figures: dict[str, float]
    outputs: np.ndarray
    truth: pd.DataFrame


def score_of(outputs: np.ndarray, truth: pd.DataFrame) -> float:
    """Return the AUC of probabilities (samples, classes), or the C-index of risks (samples,)."""
    from ksfusion.results.metrics import classification_metrics, survival_metrics

    if outputs.ndim == 1:
        return survival_metrics(truth["days"].astype(float), truth["event"].astype(int), outputs)["c_index"]
    return classification_metrics(truth["y"].astype(int), outputs)["auc"]


def run(cohort: Cohort, data: FoldData, outcome: TaskOutcome, row: Row, seed: int) -> Tested:
    """Train once, and test: score, localisation by stream, and what CG-Coord saw."""
    data = cohort.ordered(data, row.order)
    task, info = TrainedTask.of(outcome, epochs=EPOCHS), METHODS[row.method]
    settings = RunSettings(batch_size=8, lr=1e-3, dropout=0.1, alpha=0.5, weight_by="sample", weight_decay=row.decay)
    strategy = STRATEGIES[info.training]
    with reproducible(seed, device=CPU, threads=1):
        samples = data.samples.iloc[data.labelled("train")]
        weights = sample_weights(samples, weight_by="sample")
        objective = objective_class(task).fit(samples, weights, task, strategy)
        sizes = {"n_features": data.n_features, "n_patches": data.n_patches, "n_outputs": objective.n_outputs}
        options = {**method_options(info, settings), **row.options}
        if row.trial is None:
            model = build(row.method, niches=data.niches, groups=data.groups, **sizes, **options)
        else:
            model = row.trial(Inputs(niches=data.niches, groups=data.groups, **sizes), **options)
        row.start(model)
        fitted = fit(
            model, data, objective, epochs=EPOCHS, seed=seed, settings=settings, strategy=strategy, name="benchmark"
        )
        model.load_state_dict(fitted.weights)
        model.eval()
        tested = data.labelled("test")
        logits, truth = predict(model, data, tested, batch_size=8), data.samples.iloc[tested]
    outputs = (risk(logits) if task.kind == "survival" else logits.softmax(1)).numpy()
    found = {"score": score_of(outputs, truth), **localisation(cohort, model, data, row.order)}
    for name in ("conflict", "cosine"):
        values = fitted.history.get(f"coordination_{name}")
        found[name] = np.nan if values is None else 100 * values.mean()
    return Tested(found, outputs, truth)


def difference(tested: Sequence[Tested], others: Sequence[Tested]) -> tuple[float, float, float]:
    """Return the difference of two rows' mean scores, and its interval over the cases of the test samples."""
    from ksfusion.results.statistics import interval, resampled_classification, resampled_survival, sample_weights

    weights = sample_weights(tested[0].truth["case_id"], resamples=RESAMPLES)

    def drawn(one: Tested) -> np.ndarray:
        if one.outputs.ndim == 1:
            days, event = one.truth["days"].astype(float), one.truth["event"].astype(int)
            return resampled_survival(days, event, one.outputs, weights)["c_index"]
        return resampled_classification(one.truth["y"].astype(int), one.outputs, weights)["auc"]

    mean = np.mean([one.figures["score"] for one in tested]) - np.mean([one.figures["score"] for one in others])
    draws = np.mean([drawn(one) for one in tested], axis=0) - np.mean([drawn(one) for one in others], axis=0)
    return float(mean), *interval(draws)


def localisation(cohort: Cohort, model: Any, data: FoldData, order: str) -> dict[str, float]:
    """Return the mean over test slides of how well each stream's attention finds its target."""
    positions, tables = np.flatnonzero(data.samples["split"] == "test"), []
    for start in range(0, len(positions), AT_ONCE):
        part = positions[start : start + AT_ONCE]
        with torch.no_grad():
            maps = attention_maps(model, model(*data.gather(part, CPU)))
        for number, row in enumerate(data.samples.iloc[part].itertuples()):
            shown, index = cohort.truth(row.sample_id), cohort.cells(row.sample_id, order)
            scores = {stream: patch_means(cells[number], index) for stream, cells in maps.items()}
            table = pd.DataFrame({**scores, **{f"target_{name}": values for name, values in shown.items()}})
            tables.append(table.assign(sample_id=row.sample_id, case_id=row.case_id))
    table = pd.concat(tables, ignore_index=True)
    return {
        f"{stream}: {target}": next(iter(locate(table, stream, f"target_{target}", resamples=2))).auc
        for stream, target in cohort.targets
    }


def ceilings(cohort: Cohort, folder: Path) -> None:
    """Print what ridge regressions on what is known of a slide find of its patches."""
    from sklearn.linear_model import Ridge

    data = read_fold(cohort.files, task=cohort.tasks["diagnosis"], fold=0, modalities="pg")
    cases = pd.read_csv(folder / "truth/cases.tsv", sep="\t").set_index("case_id").loc[data.samples["case_id"]]
    shown = [(cohort.truth(name), cohort.cells(name, "raster")) for name in data.samples["sample_id"]]
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
    parser.add_argument("--placed", action="store_true", help="planted patterns are told by their place alone")
    parser.add_argument("--train-cases", type=int, default=534, help="of the planted cohort [534]")
    parser.add_argument("--steepness", type=float, default=3.0, help="how sure its labels are [3]")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--against", choices=ROWS, metavar="ROW", help="row that the others are compared with")
    parser.add_argument("--tasks", nargs="+", help="[all]")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--test-cases", type=int, default=200, help="of the planted cohort [200]")
    parser.add_argument("--output", type=Path, help="table of all runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if args.what == "planted":
            drawn = {"n_test": args.test_cases, "n_train": args.train_cases, "steepness": args.steepness}
            cohort = planted_cohort(Path(temporary), seed=args.draw, placed=args.placed, **drawn)
        else:
            cohort = demo_cohort(args.folder)
        if args.what == "ceilings":
            ceilings(cohort, args.folder)
            return
        places = [f"{stream} stream: {target}" for stream, target in cohort.targets]
        print(" | ".join(["row", "task", "score", *places, "steps in conflict", "cosine"]), flush=True)
        kept = []
        for name in args.tasks or list(cohort.tasks):
            data = read_fold(cohort.files, task=cohort.tasks[name], fold=0, modalities="pg")
            tested = {}
            for row in args.rows:
                tested[row] = [run(cohort, data, cohort.tasks[name], ROWS[row], seed) for seed in args.seeds]
                found = pd.DataFrame([one.figures for one in tested[row]])
                cells = [f"{found[column].mean():.1f} ({found[column].std():.1f})" for column in found]
                print(" | ".join([row, name, *cells]), flush=True)
                kept.append(found.assign(row=row, task=name, seed=args.seeds))
                if args.output:
                    pd.concat(kept).to_csv(args.output, sep="\t", index=False, float_format="%.4f")
            for row in [row for row in args.rows if args.against in args.rows and row != args.against]:
                mean, low, high = difference(tested[row], tested[args.against])
                print(f"{row} less {args.against} | {name} | {mean:+.1f} ({low:+.1f} to {high:+.1f})", flush=True)


if __name__ == "__main__":
    main()
