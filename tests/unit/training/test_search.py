"""The search of training settings: on validation samples alone, the same each time, used by the training after it."""

import json

import numpy as np
import pandas as pd
import pytest
from search_runs import SHORT, SPACE, search
from training_cohort import SETTINGS, SURVIVAL, read_metrics

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.preflight.parsing import parse_config


def test_the_best_trial_is_chosen(cohort):
    chosen, trials = search(cohort, "search", trials=12)
    assert trials["trial"].tolist() == list(range(13))
    assert trials.loc[0, list(SPACE)].tolist() == [getattr(SETTINGS, key) for key in SPACE]
    for key, (low, high) in SPACE.items():
        assert trials[key].between(low, high).all() and trials[key].nunique() > 5
    best = trials.loc[trials["value"].idxmax()]
    assert chosen["value"] == best["value"] and chosen["trial"] == best["trial"]
    assert chosen["settings"] == {key: best[key] for key in SPACE}


def test_the_value_of_a_trial_is_what_training_reports(cohort):
    chosen, trials = search(cohort, "search")
    folder = cohort.folder / "run"
    path = cohort.folder / "search" / "chosen.json"
    cohort.train_seeds({0: folder}, task=SHORT, method="snn", chosen=path)
    assert read_metrics(folder)["val"]["auc"] == chosen["value"]
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"] == {**SETTINGS.record(), **chosen["settings"]}
    assert config["search"] == chosen
    assert trials["value"].max() == chosen["value"]


def test_the_same_search_chooses_the_same(cohort):
    search(cohort, "first")
    # Neither labels nor genes nor features of the test samples matter.
    in_test = cohort.cases_of("test")
    cohort.relabel(in_test, label_diagnosis=0)
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str).query("status == 'ok'")
    tested = samples.loc[samples["case_id"].isin(in_test), "sample_id"]
    expression = read_parquet(cohort.folder / "expression.parquet")
    expression.loc[tested] = 1e6
    expression.to_parquet(cohort.folder / "expression.parquet")
    search(cohort, "second")
    for name in ("chosen.json", "trials.tsv"):
        first, second = ((cohort.folder / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second


def test_features_of_test_samples_are_not_used(cohort):
    search(cohort, "first", method="attmil", trials=1)
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str).query("status == 'ok'")
    blocks = read_tsv(cohort.folder / "store" / "slides.tsv").set_index("slide_id")
    features = np.load(cohort.folder / "store" / "features.npy")
    for slide in samples.loc[samples["case_id"].isin(cohort.cases_of("test")), "slide_id"]:
        start, count = blocks.loc[slide, ["offset", "n_unique"]]
        features[start : start + count] = np.nan
    np.save(cohort.folder / "store" / "features.npy", features)
    search(cohort, "second", method="attmil", trials=1)
    first, second = ((cohort.folder / folder / "trials.tsv").read_bytes() for folder in ("first", "second"))
    assert first == second


def test_alpha_is_searched_where_the_method_reads_it(cohort):
    chosen, trials = search(cohort, "search", method="ksfusion", space={"alpha": [0.2, 0.3]}, trials=2)
    assert trials["alpha"][0] == 0.5 and trials["alpha"][1:].between(0.2, 0.3).all()
    assert set(chosen["settings"]) == {"alpha"}


def test_a_trial_that_fails_is_a_row_with_its_reason(cohort):
    chosen, trials = search(cohort, "search", space={"lr": [1e30, 1e31]}, trials=1)
    assert chosen["trial"] == 0 and "not finite" in trials["reason"][1] and np.isnan(trials["value"][1])


def test_where_every_trial_fails_the_configured_settings_stay_and_the_run_says_why(cohort):
    """A method that diverges is a row with its reason: neither its search nor its training ends the pipeline."""
    chosen, trials = search(cohort, "search", space={"lr": [1e30, 1e31]}, trials=1, lr=1e30)
    assert chosen["settings"] == {"lr": 1e30} and chosen["trial"] is None and trials["value"].isna().all()
    assert chosen["reason"].startswith("all trials failed, the first: ") and "trial 0" in chosen["reason"]
    metrics = read_metrics(cohort.train("run", task=SHORT, method="snn", lr=chosen["settings"]["lr"]))
    assert metrics["status"] == "failed" and "is not finite; lower training.lr (1e+30)" in metrics["reason"]


def test_where_there_is_nothing_to_choose_by_the_configured_settings_stay(cohort):
    cohort.relabel(cohort.cases_of("val"), event_survival=pd.NA)
    chosen, trials = search(cohort, "search", task=SURVIVAL)
    assert chosen["settings"] == {key: getattr(SETTINGS, key) for key in SPACE} and trials.empty
    assert chosen["reason"] == "no labelled validation sample" and chosen["trial"] is None


def test_without_a_class_in_validation_the_loss_decides(cohort):
    cohort.relabel(cohort.cases_of("val")[2::3], label_diagnosis=1)
    chosen, trials = search(cohort, "search")
    assert chosen["selected_by"] == "loss" and chosen["trial"] == trials["val_loss"].idxmin()


@pytest.mark.parametrize(
    ("values", "words"),
    [({"lr": [0, 1]}, "greater than 0"), ({"alpha": [0.5, 0.1]}, "lowest"), ({"dropout": [0, 1]}, "below 1")],
)
def test_a_range_that_cannot_be_searched(values, words):
    cohort = {
        "samples": "a",
        "cases": "b",
        "expression": [{"cohort": "A", "format": "matrix", "unit": "log", "path": "c"}],
    }
    with pytest.raises(UserError, match=words):
        parse_config({"cohort": cohort, "training": {"search": values}})
