"""Bundles of `snn` on real TCGA expression: patients of a hospital that the models have never seen.

    python benchmarks/bundles.py [--data FOLDER] [--sites 06 DU] [--seeds 0 1 2 3 4] [--cores 2] [--keep FOLDER]

The table is that of `benchmarks/omics.py`: 569 TCGA-GBM and -LGG cases, z-scores, no slides. The cases of some tissue
source sites (the second field of a TCGA barcode; 06 and DU are one hospital's codes for the two projects) are set aside
and are a cohort of their own; the z-scores were taken by whoever published the table over all cases, which only the
profiles of all know of. On the others `ksfusion run` trains `snn` for survival and for the mutation of IDH1, in five
folds by case at the paper's settings, with `genes.clip: 10` and half of the validation cases kept for conformal sets.
Test cases, or those set aside, decide nothing.

Each task is then frozen by `ksfusion bundle`, moved, made read-only, and called from another folder with another HOME:

- `ksfusion evaluate` on the study's own cases: each model has to give the numbers of its `predictions.parquet`;
- `ksfusion predict` on the patients of the other hospital, and on the same with their genes shuffled;
- `ksfusion evaluate` on these, beside the study's own test cases;
- `ksfusion predict` on one of them alone, for its time.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from omics import TABLE, read_cases

INSIDE, OUTSIDE, SHUFFLED = "tcga", "other-hospital", "shuffled"
TASKS = {
    "survival": {"kind": "survival", "time": "survival_days", "event": "event", "epochs": 10},
    "idh": {"kind": "classification", "column": "idh1", "classes": ["wildtype", "mutant"], "positive": "mutant"},
}
EPOCHS = 10
SHOWN = {"survival": ["c_index"], "idh": ["auc", "accuracy", "sensitivity", "specificity"]}


class Spent(NamedTuple):
    """Seconds by the clock and of the processor."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s by the clock, {self.processor:.1f} s of processor time"


def ksfusion(*arguments: object, cwd: Path, home: Path | None = None) -> Spent:
    """Call the command; what it prints is shown where it fails."""
    command = [sys.executable, "-m", "ksfusion", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"HOME": str(home)} if home else {})}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")
    return Spent(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def write_tables(cases: pd.DataFrame, folder: Path, cohort: str) -> None:
    """Write samples, cases and expression of a cohort, as a user has them."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = cases["case_id"]
    samples = pd.DataFrame({"sample_id": ids, "case_id": ids, "cohort": cohort, "expression_id": ids})
    samples.to_csv(folder / "samples.tsv", sep="\t", index=False)
    known = cases["days_survival"] > 0
    labels = pd.DataFrame({"case_id": ids})
    labels["survival_days"] = cases["days_survival"].where(known)
    labels["event"] = cases["event_survival"].where(known)
    labels["idh1"] = cases["IDH1_mut"].map({0: "wildtype", 1: "mutant"})
    labels.to_csv(folder / "cases.tsv", sep="\t", index=False)
    matrix = cases.set_index("case_id").filter(regex="_rnaseq$").rename_axis("expression_id")
    matrix.to_csv(folder / f"{cohort}.tsv", sep="\t")


def source(cohort: str) -> dict[str, str]:
    """Return where the expression of a cohort is."""
    return {"cohort": cohort, "format": "matrix", "unit": "zscore", "suffix": "_rnaseq", "path": f"{cohort}.tsv"}


def write_study(cases: pd.DataFrame, folder: Path, seeds: list[int]) -> None:
    """Write the study of all cases that are not set aside."""
    write_tables(cases, folder, INSIDE)
    files = {"samples": "samples.tsv", "cases": "cases.tsv", "require": "any", "expression": [source(INSIDE)]}
    config = {
        "cohort": files,
        "genes": {"clip": 10},
        "splits": {"scheme": "kfold", "k": 5, "fractions": [0.8, 0.2]},
        "tasks": {name: {**task, "epochs": EPOCHS} for name, task in TASKS.items()},
        "methods": ["snn"],
        "training": {"seeds": seeds, "calibration_fraction": 0.5},
        "results": {"reference": "snn", "subgroups": []},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "own.yaml").write_text(yaml.safe_dump({"expression": files["expression"]}))


def write_others(cases: pd.DataFrame, folder: Path) -> None:
    """Write the patients that are set aside, and each again with the values of its genes shuffled and no truth."""
    write_tables(cases, folder, OUTSIDE)
    (folder / "one.tsv").write_text("".join((folder / "samples.tsv").read_text().splitlines(keepends=True)[:2]))
    genes = pd.read_csv(folder / f"{OUTSIDE}.tsv", sep="\t", index_col=0)
    random = np.random.default_rng(0)
    values = random.permuted(genes.to_numpy(), axis=1)
    shuffled = pd.DataFrame(values, index=genes.index + "-shuffled", columns=genes.columns)
    shuffled.rename_axis("expression_id").to_csv(folder / f"{SHUFFLED}.tsv", sep="\t")
    rows = [f"{name}\t{name}\t{SHUFFLED}\t{name}\n" for name in shuffled.index]
    (folder / "all.tsv").write_text((folder / "samples.tsv").read_text() + "".join(rows))
    for name, cohorts in (("sources", [OUTSIDE, SHUFFLED]), ("one", [OUTSIDE])):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"expression": list(map(source, cohorts))}))


def largest_difference(results: Path, task: str, members: Path) -> tuple[float, int]:
    """Return how far predictions by the bundle are from those of the study at most, and how many there are."""
    found = pd.read_parquet(members)
    columns = [name for name in found if name == "risk" or name.startswith(("prob_", "hazard_"))]
    worst, count = 0.0, 0
    for (fold, seed), own in found.groupby(["fold", "seed"]):
        study = pd.read_parquet(results / f"models/{task}/snn/fold{fold}/seed{seed}/predictions.parquet")
        pairs = own.set_index("sample_id")[columns], study.set_index("sample_id")[columns]
        both = pairs[0].join(pairs[1], rsuffix="_study", how="inner")
        difference = both[columns].to_numpy() - both[[f"{name}_study" for name in columns]].to_numpy()
        worst, count = max(worst, float(np.abs(difference).max())), count + len(both)
    return worst, count


def tell(task: str, output: Path) -> None:
    """Print metrics inside and outside with their intervals, calibration, sets and flags."""
    drops = pd.read_csv(output / "evaluation/drops.tsv", sep="\t")
    table = pd.read_csv(output / "evaluation/table.tsv", sep="\t", dtype={"fold": str})
    of_cases = table[(table["level"] == "case") & (table["fold"] == "all") & (table["cohort"] == OUTSIDE)]
    for row in of_cases[of_cases["metric"].isin(SHOWN[task])].itertuples():
        drop = drops[(drops["metric"] == row.metric) & (drops["level"] == "case")].iloc[0]
        inside = f"{drop['test']:.1f} on {drop['n_test']:.0f} test cases"
        outside = f"{row.mean:.1f} ({row.ci_low:.1f} to {row.ci_high:.1f}) on {row.n} outside"
        interval = f"({drop['ci_low']:.1f} to {drop['ci_high']:.1f})"
        print(f"  {row.metric:12} {inside}; {outside}; drop {drop['drop']:.1f} {interval}")
    calibration = pd.read_csv(output / "evaluation/calibration.tsv", sep="\t")
    means = calibration.select_dtypes("number").mean()
    print(f"  mean over folds, outside: log-likelihood {means['loss_raw']:.3f}, with temperature", end=" ")
    print(f"{means['loss_calibrated']:.3f} (temperature {means['temperature']:.2f})")
    if calibration["covered"].notna().any():
        print(f"  conformal sets of {means['level']:.0%}: hold the class of {means['covered']:.1%}", end=" ")
        print(f"of the cases outside, {means['classes']:.2f} classes on average")
    rows = pd.read_csv(output / "predictions.tsv", sep="\t", keep_default_na=False)
    shuffled = rows["case_id"].str.endswith("-shuffled")
    for name, own in ((OUTSIDE, rows[~shuffled]), (SHUFFLED, rows[shuffled])):
        far = own["flags"].str.contains("expression_far").mean()
        print(
            f"  {name}: {len(own)} patients, {(own['status'] == 'ok').sum()} with an answer, {far:.1%} flagged as far"
        )


def use_bundle(task: str, study: Path, others: Path, home: Path, cores: int) -> None:
    """Freeze a task, move it, and print what it says of its own cases and of those that were set aside."""
    bundle = others / f"{task}.bundle"
    spent = ksfusion("bundle", "--task", task, "--method", "snn", "--output", "B", cwd=study)
    shutil.move(study / "B", bundle)
    for path in [bundle, *bundle.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    print(f"{task}: bundle of {size / 2**20:.1f} MiB: {spent}")

    def call(verb: str, samples: object, expression: object, output: str, *more: object) -> Spent:
        asked = ["--bundle", bundle, "--samples", samples, "--expression", expression, "--output", output]
        return ksfusion(verb, *asked, *more, "--cores", cores, cwd=others, home=home)

    call("evaluate", study / "samples.tsv", study / "own.yaml", f"{task}-own", "--cases", study / "cases.tsv")
    worst, count = largest_difference(
        study / "results", task, others / f"{task}-own/results/predictions/members.parquet"
    )
    print(f"  {count} predictions of the study's own cases: at most {worst:.1e} from those of the study")
    print(f"  all outside: {call('predict', 'all.tsv', 'sources.yaml', f'{task}-new')}")
    call("evaluate", "all.tsv", "sources.yaml", f"{task}-new", "--cases", "cases.tsv")
    tell(task, others / f"{task}-new")
    print(f"  one patient: {call('predict', 'one.tsv', 'one.yaml', f'{task}-one')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("KSFUSION_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default), help=f"folder that holds {TABLE}")
    parser.add_argument("--sites", nargs="+", default=["06", "DU"], help="tissue source sites that are set aside")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--cores", type=int, default=min(os.cpu_count() or 1, 2))
    parser.add_argument("--keep", type=Path, help="folder that keeps all files; none does without it")
    args = parser.parse_args()
    if not (args.data / TABLE).is_file():
        sys.exit(f"{args.data / TABLE}: not found; give its folder by --data or KSFUSION_REAL_DATA")
    cases = read_cases(args.data)
    is_outside = cases["case_id"].str.split("-").str[1].isin(args.sites)
    with tempfile.TemporaryDirectory() as temporary:
        place = args.keep or Path(temporary)
        study, others, home = place / "study", place / "another hospital", place / "home"
        home.mkdir(parents=True, exist_ok=True)
        write_study(cases[~is_outside], study, args.seeds)
        write_others(cases[is_outside], others)
        print(f"{(~is_outside).sum()} cases in the study, {is_outside.sum()} of the sites {', '.join(args.sites)}")
        spent = ksfusion("run", "study.yaml", "tables", "--cores", args.cores, cwd=study)
        print(f"study, its trainings and tables: {spent}")
        for task in TASKS:
            use_bundle(task, study, others, home, args.cores)


if __name__ == "__main__":
    main()
