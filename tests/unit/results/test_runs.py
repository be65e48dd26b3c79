"""Runs as training leaves them; `write_run` serves the other tests of results too."""

import numpy as np
import pandas as pd
import pytest
from run_files import GRADING, ROWS, SURVIVAL, write_run

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import write_parquet
from ksfusion.results.runs import average_by_case, mean_prediction, read_runs


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
