"""The oracles of the demo: plain models that read what was planted, scored as the methods are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.demo.cohort import SEED, draw_cases
from ksfusion.demo.oracles import known_latents, predict_classes, predict_risk
from ksfusion.results.config import ShownTask
from ksfusion.results.runs import Run, outcome_columns
from ksfusion.results.stage_settings import ScoreOraclesSettings
from ksfusion.results.tables.scores import as_text, result_table
from ksfusion.terms.oracles import ORACLES
from ksfusion.terms.split_table import read_splits, splits_of_fold


def score_oracles(samples: Path, cases: Path, splits: Path, output: Path, *, settings: ScoreOraclesSettings) -> None:
    """Score oracles that read what the demo planted, on the test samples of the methods.

    Each is fitted on the training cases of a fold; what is known of a case is drawn again from the demo's model.

    Parameters
    ----------
    samples
        Ledger of the samples, of `write-ledger`.
    cases
        Table of cases with the labels of each task, of `check-cohort`.
    splits
        Table of folds, cases and their split, of `split-cases`.
    output
        A long table, as those of `make-tables`: one method for each of `ksfusion.terms.oracles.ORACLES`.
    settings
        The tasks.
    """
    used = read_tsv(samples, dtype=str)
    used = used.loc[used["status"] == "ok", ["sample_id", "case_id", "cohort"]].sort_values("sample_id")
    truth = read_parquet(cases).astype({"case_id": str}).set_index("case_id")
    planted = draw_cases(SEED).set_index("case_id")
    runs = []
    for fold in sorted(read_splits(splits)[0]["fold"].unique()):
        split_of = splits_of_fold(splits, int(fold), used["case_id"])
        in_fold = used.assign(split=used["case_id"].map(split_of))
        runs += [
            run_oracle(oracle, task, int(fold), in_fold, truth, planted)
            for task in settings.tasks
            for oracle in ORACLES
        ]
    table = result_table(runs, tasks=settings.tasks, methods=list(ORACLES), resamples=settings.resamples)
    write_tsv(as_text(table), output, provenance(__name__, settings.record()))


def run_oracle(
    oracle: str, task: ShownTask, fold: int, samples: pd.DataFrame, truth: pd.DataFrame, planted: pd.DataFrame
) -> Run:
    """Fit an oracle on the training cases of a fold and let it predict the test samples.

    Parameters
    ----------
    oracle
        Its name.
    task
        Task that it predicts.
    fold
        The number of the fold.
    samples
        sample_id, case_id, cohort and split of the samples in use.
    truth, planted
        The labels and the latents of the cases, by case_id.
    """
    columns, predicted = outcome_columns(task)
    if task.kind == "regression":
        nothing = pd.DataFrame(columns=["sample_id", "case_id", "cohort", *columns, *predicted])
        return Run(task.name, oracle, fold, 0, Path(), "no oracle predicts a number", None, nothing)
    survival = task.kind == "survival"
    stored = [f"{name}_{task.name}" for name in columns] if survival else [f"label_{task.name}"]
    labels = truth[stored].set_axis(columns, axis=1)
    known = samples.join(labels, on="case_id").dropna(subset=columns).astype(dict.fromkeys(columns, float))
    train = known[known["split"] == "train"].drop_duplicates("case_id")
    test = known[known["split"] == "test"].reset_index(drop=True)
    latents, asked = (known_latents(planted.loc[rows["case_id"]], oracle) for rows in (train, test))
    learned = (train["event"] if survival else train["y"]).nunique()
    reason = "" if len(test) and learned > 1 else "too few labelled cases"
    if not reason and survival:
        test["risk"] = predict_risk(latents, train["days"].to_numpy(), train["event"].to_numpy(), asked)
    elif not reason:
        test[predicted] = predict_classes(latents, train["y"].to_numpy().astype(int), asked, len(task.classes))
    table = test.reindex(columns=["sample_id", "case_id", "cohort", *columns, *predicted])
    return Run(task.name, oracle, fold, 0, Path(), reason, None, table)
