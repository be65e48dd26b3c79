"""Survival from expression alone, on a real table of 569 TCGA-GBM and -LGG cases: `snn` beside Cox models.

    python benchmarks/omics.py [--data FOLDER] [--divisions 0] [--seeds 0 1 2 3 4] [--jobs 2]

Each division cuts the cases into five folds, stratified by event; a fold is the test set once. Of the other cases an
eighth chooses the epoch and the rest train. One sample a case: the table repeats a case's profile for each of its
slides. Genes are chosen (top 30 % by variance, with the shipped gene sets and without any) and scaled by the
pipeline's own code on the training cases of each fold, and `snn` is trained by the pipeline's own loop for the paper's
10 epochs at its learning rate and batch size. Cox models have no epochs; they are fitted on training and validation
cases together.

Weight decay and dropout of `snn`, the penalty of Cox ridge, and of both whether scaled values are cut off at 10 sd
(`genes.clip`; some z-scores of the table are thousands) are those with the best C-index over five inner folds of the
training and validation cases, genes chosen anew in each. Test cases decide nothing. The paper's settings cut nothing
off.

Printed: C-index by case in percent, mean and sd over the five test folds; for `snn` of each seed alone (mean over
seeds), and of the mean risk of all seeds.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

TABLE = "omics/tcga_gbmlgg_all_clean.csv.zip"
DAYS_PER_MONTH = 30.4375
N_FOLDS, VAL_SHARE = 5, 1 / 8
EPOCHS = 10
GRID = [{"weight_decay": decay, "dropout": dropout} for decay, dropout in product([0.1, 0.03, 0.01], [0.1, 0.25, 0.5])]
PENALTIES = [10.0, 100.0, 1000.0]
CLIPS = [None, 10.0]
CLINICAL = ["age", "IDH1_mut"]
ARMS = ["gene sets", "no gene sets"]


def read_cases(data: Path) -> pd.DataFrame:
    """Return one row a case."""
    table = pd.read_csv(data / TABLE).drop_duplicates("case_id").sort_values("case_id", ignore_index=True)
    table["days_survival"] = table["survival_months"] * DAYS_PER_MONTH
    table["event_survival"] = (1 - table["censorship"]).astype("Int64")
    return table


def fold_number(division: int, outer: int, inner: int = 0) -> int:
    """Number a fold; inner 0 is the outer fold itself."""
    return 100 * division + 10 * outer + inner


def divide(cases: pd.DataFrame, divisions: list[int]) -> pd.DataFrame:
    """Return fold, case_id, split of all outer and inner folds."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    event, tables = cases["event_survival"].to_numpy(int), []

    def cut(rows: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(rows, event[rows])
        return [(rows[rest], rows[test]) for rest, test in folds]

    def add(fold: int, rest: np.ndarray, test: np.ndarray, seed: int) -> None:
        train, val = train_test_split(rest, test_size=VAL_SHARE, stratify=event[rest], random_state=seed)
        tables.extend(
            pd.DataFrame({"fold": fold, "case_id": cases["case_id"].iloc[rows], "split": split})
            for split, rows in (("train", train), ("val", val), ("test", test))
        )

    for division in divisions:
        for outer, (rest, test) in enumerate(cut(np.arange(len(cases)), division)):
            add(fold_number(division, outer), rest, test, division)
            for inner, (inner_rest, inner_test) in enumerate(cut(rest, division), 1):
                add(fold_number(division, outer, inner), inner_rest, inner_test, division)
    return pd.concat(tables)


def write_inputs(data: Path, divisions: list[int], folder: Path) -> None:
    """Write what the pipeline's stages before the genes would have written; slides stand as one patch of zeros."""
    from ksfusion.core.parquet import write_parquet
    from ksfusion.core.storage import write_tsv
    from ksfusion.genes import gene_sets
    from ksfusion.genes.config import ExpressionSource, ReadExpressionSettings
    from ksfusion.stages.read_expression import read_expression

    cases = read_cases(data)
    matrix = cases.set_index("case_id").filter(regex="_rnaseq$").rename_axis("expression_id")
    matrix.to_csv(folder / "matrix.tsv", sep="\t")
    path = str(folder / "matrix.tsv")
    source = ExpressionSource(cohort="tcga", format="matrix", unit="zscore", suffix="_rnaseq", path=path)
    read_expression(folder / "profiles.parquet", settings=ReadExpressionSettings(sources=[source]))
    ids = cases["case_id"]
    samples = {"sample_id": ids, "case_id": ids, "cohort": "tcga", "slide_id": ids, "expression_id": ids}
    write_tsv(pd.DataFrame({**samples, "status": "ok", "reason": ""}), folder / "samples.tsv")
    write_parquet(cases[["case_id", "days_survival", "event_survival", *CLINICAL]], folder / "cases.parquet", {})
    write_tsv(divide(cases, divisions), folder / "splits.tsv")
    store = folder / "store"
    store.mkdir()
    np.save(store / "features.npy", np.zeros((1, 1), np.float16))
    np.save(store / "index.npy", np.zeros((len(ids), 1), np.int64))
    write_tsv(pd.DataFrame({"slide_id": ids, "offset": 0, "n_unique": 1}), store / "slides.tsv")
    # Without gene sets every gene is kept; snn reads both niches as one, so that it does not matter where they stand.
    placed = gene_sets().drop_duplicates("symbol")
    symbols = [name.removesuffix("_rnaseq") for name in matrix.columns]
    others = [symbol for symbol in symbols if symbol not in set(placed["symbol"])]
    everything = pd.DataFrame({"symbol": others, "category": "none", "niche": "tme", "source": "the table"})
    write_tsv(pd.concat([placed, everything]), folder / "everything.tsv")


def choose_genes(folder: Path, arm: str, fold: int, clip: float | None) -> Path:
    """Choose and scale the genes of a fold; return their folder, with the ledger of its samples."""
    from ksfusion.core.storage import read_tsv, write_tsv
    from ksfusion.genes.config import Genes
    from ksfusion.stages.select_genes import select_genes

    output = folder / arm.replace(" ", "_") / f"fold{fold}_clip{clip}"
    sets = "builtin" if arm == "gene sets" else str(folder / "everything.tsv")
    splits, samples = read_tsv(folder / "splits.tsv"), read_tsv(folder / "samples.tsv")
    # An inner fold does not have the test cases of its outer fold.
    own = splits.loc[splits["fold"] == fold, "case_id"]
    write_tsv(samples[samples["case_id"].isin(own)], output / "samples.tsv")
    inputs = [folder / "profiles.parquet", output / "samples.tsv", folder / "splits.tsv"]
    select_genes(*inputs, output, fold=fold, settings=Genes(sets=sets, clip=clip))
    return output


def score(table: pd.DataFrame) -> float:
    """Return the C-index of the test cases in percent."""
    from ksfusion.results import survival_metrics

    test = table[table["split"] == "test"]
    return survival_metrics(test["days"].to_numpy(), test["event"].to_numpy(), test["risk"].to_numpy())["c_index"]


def train_snn(folder: Path, genes: Path, fold: int, seed: int, chosen: dict[str, float]) -> pd.DataFrame:
    """Train snn as the pipeline does, at the paper's settings but for what was chosen, and return its predictions."""
    from ksfusion.core.parquet import read_parquet
    from ksfusion.stages.train_model import train_model
    from ksfusion.training.config import RunSettings, TrainedTask, TrainModelSettings
    from ksfusion.training.data import FoldFiles

    output = genes / "_".join([f"seed{seed}", *(f"{key}{value:g}" for key, value in chosen.items())])
    own = [genes / name for name in ("expression.parquet", "selected.tsv", "samples.tsv")]
    files = FoldFiles(folder / "store", *own, folder / "cases.parquet", folder / "splits.tsv")
    task = TrainedTask(name="survival", kind="survival", epochs=EPOCHS)
    settings = TrainModelSettings(task=task, training=RunSettings(**chosen))
    train_model(files, [output], method="snn", fold=fold, seed=[seed], settings=settings, device="cpu")
    return read_parquet(output / "predictions.parquet")


def fit_cox(folder: Path, fold: int, expression: Path | None, penalty: float) -> pd.DataFrame:
    """Fit a Cox model on genes, or on age and IDH1 mutation, and return its predictions."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    from ksfusion.core.parquet import read_parquet
    from ksfusion.core.storage import read_tsv

    splits = read_tsv(folder / "splits.tsv")
    cases = read_parquet(folder / "cases.parquet").set_index("case_id")
    cases = cases.join(splits[splits["fold"] == fold].set_index("case_id")["split"], how="inner")
    cases = cases.rename(columns={"days_survival": "days", "event_survival": "event"})
    values = cases[CLINICAL] if expression is None else read_parquet(expression).loc[cases.index]
    values, fitted = values.to_numpy(np.float64), (cases["split"] != "test").to_numpy()
    outcome = Surv.from_arrays(cases["event"].astype(bool), cases["days"])
    model = CoxPHSurvivalAnalysis(alpha=penalty, n_iter=200).fit(values[fitted], outcome[fitted])
    return cases.assign(risk=model.predict(values))


def run(folder: Path, division: int, outer: int, arm: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Choose settings on the inner folds, then score the outer fold."""
    logging.disable(logging.WARNING)
    snn: dict[tuple, list[float]] = {}
    cox: dict[tuple, list[float]] = {}
    for inner, clip in product(range(1, N_FOLDS + 1), CLIPS):
        fold = fold_number(division, outer, inner)
        genes = choose_genes(folder, arm, fold, clip)
        for number, settings in enumerate(GRID):
            snn.setdefault((clip, number), []).append(score(train_snn(folder, genes, fold, 0, settings)))
        for penalty in PENALTIES:
            value = score(fit_cox(folder, fold, genes / "expression.parquet", penalty))
            cox.setdefault((clip, penalty), []).append(value)
    best_clip, best = max(snn, key=lambda key: np.mean(snn[key]))
    cox_clip, penalty = max(cox, key=lambda key: np.mean(cox[key]))

    fold = fold_number(division, outer)
    genes = {clip: choose_genes(folder, arm, fold, clip) for clip in CLIPS}
    place, rows = {"division": division, "fold": outer}, []

    def add(model: str, value: float, chosen: str = "") -> None:
        rows.append({**place, "model": model, "c_index": value, "chosen": chosen})

    for name, clip, settings in (("paper's settings", None, {}), ("chosen settings", best_clip, GRID[best])):
        runs = [train_snn(folder, genes[clip], fold, seed, settings) for seed in seeds]
        add(f"snn, {arm}, {name}, one seed", float(np.mean([score(table) for table in runs])))
        mean_risk = runs[0].assign(risk=np.mean([table["risk"] for table in runs], axis=0))
        words = ", ".join(f"{key} {value}" for key, value in {**settings, "clip": clip}.items() if settings)
        add(f"snn, {arm}, {name}, mean risk of seeds", score(mean_risk), words)
    value = score(fit_cox(folder, fold, genes[cox_clip] / "expression.parquet", penalty))
    add(f"Cox ridge, {arm}", value, f"penalty {penalty:g}, clip {cox_clip}")
    if arm == ARMS[0]:
        add("Cox, age and IDH1", score(fit_cox(folder, fold, None, 0.0)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("KSFUSION_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default), help=f"folder that holds {TABLE}")
    parser.add_argument("--divisions", nargs="+", type=int, default=[0], help="seeds of the division into folds")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 2))
    args = parser.parse_args()
    if not (args.data / TABLE).is_file():
        sys.exit(f"{args.data / TABLE}: not found; give its folder by --data or KSFUSION_REAL_DATA")

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_inputs(args.data, args.divisions, folder)
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            runs = [
                pool.submit(run, folder, division, outer, arm, args.seeds)
                for division, outer, arm in product(args.divisions, range(N_FOLDS), ARMS)
            ]
            table = pd.DataFrame([row for future in runs for row in future.result()])

    by_division = table.groupby(["model", "division"])["c_index"].agg(["mean", "std"]).unstack("division")
    by_division["mean", "all"] = table.groupby("model")["c_index"].mean()
    for model, row in by_division.sort_values(("mean", "all"), ascending=False).iterrows():
        cells = [f"{row['mean', division]:5.1f} ({row['std', division]:3.1f})" for division in args.divisions]
        print(f"{model:56} {row['mean', 'all']:5.1f}   by division {'  '.join(cells)}")
    for model, chosen in table[table["chosen"] != ""].groupby("model")["chosen"]:
        counts = "; ".join(f"{text} ({count})" for text, count in Counter(chosen).most_common())
        print(f"chosen for {model}: {counts}")


if __name__ == "__main__":
    main()
