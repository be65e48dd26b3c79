"""Runs as training leaves them; `write_run` serves the other tests of results too."""

import json

import numpy as np
import pandas as pd
import pytest

from ksfusion.errors import UserError
from ksfusion.results.runs import average_by_case, mean_prediction, read_runs
from ksfusion.storage import write_parquet, write_tsv

GRADING = {"name": "grading", "kind": "classification", "classes": ["G2", "G3"]}
SURVIVAL = {"name": "survival", "kind": "survival", "classes": []}


def write_run(folder, task, rows, *, method="snn", fold=0, seed=0, reason="", best_epoch=2):
    """Write a run. Rows: sample_id, case_id, cohort, then y and the probabilities, or days, event and risk."""
    run = folder / task["name"] / method / f"fold{fold}" / f"seed{seed}"
    run.mkdir(parents=True)
    outcome = (
        ["days", "event", "risk"] if task["kind"] == "survival" else ["y", *(f"prob_{c}" for c in task["classes"])]
    )
    columns = ["sample_id", "case_id", "cohort", *outcome]
    predictions = pd.DataFrame([] if reason else rows, columns=columns).assign(fold=fold, split="test")
    write_parquet(predictions, run / "predictions.parquet", {})
    metrics = {"status": "skipped" if reason else "ok", "reason": reason, "best_epoch": best_epoch}
    metrics.update(task=task["name"], method=method, fold=fold, seed=seed)
    (run / "metrics.json").write_text(json.dumps(metrics))
    history = {"epoch": [1, 2, 3], "train_loss": [1.0, 0.8, 0.7], "val_metric": [0.5, 0.7, 0.6]}
    write_tsv(pd.DataFrame(history), run / "history.tsv")
    return run


ROWS = [
    ("S1", "C1", "a", 0, 0.8, 0.2),
    ("S2", "C1", "a", 0, 0.4, 0.6),
    ("S3", "C2", "b", 1, 0.1, 0.9),
]


def test_only_labelled_test_samples_are_read(tmp_path):
    run = write_run(tmp_path, GRADING, [*ROWS, ("S4", "C3", "b", None, 0.5, 0.5)])
    table = pd.read_parquet(run / "predictions.parquet")
    table.loc[table["sample_id"] == "S3", "split"] = "val"
    write_parquet(table, run / "predictions.parquet", {})
    (read,) = read_runs([run], [GRADING])
    assert list(read.test["sample_id"]) == ["S1", "S2"]
    assert (read.task, read.method, read.fold, read.seed, read.reason) == ("grading", "snn", 0, 0, "")


def test_cases_average_their_samples(tmp_path):
    (run,) = read_runs([write_run(tmp_path, GRADING, ROWS)], [GRADING])
    cases = average_by_case(run.test, GRADING).set_index("case_id")
    assert cases.loc["C1", ["prob_G2", "prob_G3"]].tolist() == pytest.approx([0.6, 0.4])
    assert cases.loc["C2", ["y", "prob_G3"]].tolist() == [1, 0.9]


def test_risks_are_averaged_over_seeds(tmp_path):
    folders = [
        write_run(tmp_path, SURVIVAL, [("S1", "C1", "a", 100, 1, risk), ("S2", "C2", "a", 50, 0, 1.0)], seed=seed)
        for seed, risk in enumerate([1.0, 3.0])
    ]
    mean = mean_prediction(read_runs(folders, [SURVIVAL]), SURVIVAL).set_index("sample_id")
    assert mean["risk"].to_dict() == {"S1": 2.0, "S2": 1.0}
    assert mean["days"].to_dict() == {"S1": 100.0, "S2": 50.0}


def test_a_run_without_predictions_says_why(tmp_path):
    folders = [
        write_run(tmp_path, GRADING, [], reason="one class in training"),
        write_run(tmp_path, GRADING, [("S1", "C1", "a", 0, np.nan, 0.5)], seed=1),
        write_run(tmp_path, GRADING, [("S1", "C1", "a", None, 0.5, 0.5)], seed=2),
    ]
    reasons = [run.reason for run in read_runs(folders, [GRADING])]
    assert reasons == ["one class in training", "predictions are not finite", "no labelled test sample"]


def test_a_broken_run_is_named(tmp_path):
    run = write_run(tmp_path, GRADING, ROWS)
    (run / "metrics.json").write_text('{"task": "grading"}')
    with pytest.raises(UserError, match=r"metrics\.json: .*lacks method"):
        read_runs([run], [GRADING])
    with pytest.raises(UserError, match="nowhere"):
        read_runs([tmp_path / "nowhere"], [GRADING])


def test_the_same_run_twice_is_an_error(tmp_path):
    first, second = (write_run(tmp_path / name, GRADING, ROWS) for name in "ab")
    with pytest.raises(UserError, match="same run"):
        read_runs([first, second], [GRADING])


def test_a_method_without_runs_of_its_own_has_those_that_it_shares(tmp_path):
    folders = [write_run(tmp_path, GRADING, ROWS, method=method, fold=1) for method in ("ksfusion", "snn")]
    runs = read_runs(folders, [GRADING], shared={"ksfusion-alpha050": "ksfusion"})
    assert [run.method for run in runs] == ["ksfusion", "ksfusion-alpha050", "snn"]
    first, second, _ = runs
    assert (second.fold, second.folder) == (1, first.folder) and second.test.equals(first.test)
