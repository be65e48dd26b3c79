"""Training as a whole, on a small cohort with a planted signal."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from sksurv.metrics import concordance_index_censored
from training_cohort import CLASSES, DIAGNOSIS, NICHES, SETTINGS, SURVIVAL, epochs, read_metrics

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_provenance, read_tsv
from ksfusion.methods.registry import NETWORKS
from ksfusion.stages.train_model import train_model
from ksfusion.training.checkpoint import load_model
from ksfusion.training.config import TrainModelSettings


def test_files_and_columns(runs, drawn):
    identity = ["sample_id", "case_id", "cohort", "fold", "split"]
    for (task, method), folder in runs.items():
        predictions = read_parquet(folder / "predictions.parquet")
        own = (
            ["y", *(f"prob_{name}" for name in CLASSES)]
            if task == "diagnosis"
            else [*(f"hazard_{number}" for number in range(4)), "risk", "days", "event"]
        )
        assert list(predictions) == identity + own
        metrics = read_metrics(folder)
        assert (metrics["status"], metrics["task"], metrics["method"]) == ("ok", task, method)
        assert (metrics["fold"], metrics["seed"], metrics["test"]) == (0, 0, {})
        history = read_tsv(folder / "history.tsv")
        assert history["epoch"].tolist() == list(range(1, 7 if task == "diagnosis" else 13))
        assert {"train_loss", "val_loss", "val_metric", "learning_rate", "seconds"} <= set(history)
        for name in ("model.safetensors", "config.json"):
            assert (folder / name).is_file()
        assert read_provenance(folder / "predictions.parquet")["settings"]["method"] == method


def test_all_samples_in_use_are_predicted(runs, drawn):
    ledger = read_tsv(drawn.folder / "samples.tsv", dtype=str)
    predictions = read_parquet(runs["diagnosis", "ksfusion"] / "predictions.parquet")
    assert sorted(predictions["sample_id"]) == sorted(ledger.loc[ledger["status"] == "ok", "sample_id"])
    truth = read_parquet(drawn.folder / "cases.parquet").set_index("case_id")["label_diagnosis"]
    np.testing.assert_array_equal(
        predictions["y"].astype(float), truth.loc[predictions["case_id"]].astype(float).to_numpy()
    )
    assert predictions["y"].isna().sum() == 1
    probabilities = predictions[[f"prob_{name}" for name in CLASSES]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    survival = read_parquet(runs["survival", "ksfusion"] / "predictions.parquet")
    hazards = survival[[f"hazard_{number}" for number in range(4)]].to_numpy()
    np.testing.assert_allclose(survival["risk"], -np.cumprod(1 - hazards, axis=1).sum(axis=1), rtol=1e-6)


def score(folder: Path, task: str, split: str) -> float:
    """Score the predictions of a run by scikit-learn's AUC or scikit-survival's C-index."""
    table = read_parquet(folder / "predictions.parquet").dropna()
    table = table[table["split"] == split]
    if task == "diagnosis":
        probabilities = table[[f"prob_{name}" for name in CLASSES]].to_numpy()
        return roc_auc_score(table["y"].to_numpy(int), probabilities, multi_class="ovr")
    event = table["event"].to_numpy(bool)
    return concordance_index_censored(event, table["days"].to_numpy(), table["risk"].to_numpy())[0]


def test_planted_signal_is_found(runs):
    """In the test samples; for survival, whose few events here say little of another few, in the training samples."""
    for (task, method), folder in runs.items():
        found = score(folder, task, "test") > 0.75 if task == "diagnosis" else score(folder, task, "train") > 0.6
        assert found, (task, method)


def test_the_epoch_is_the_best_on_validation(runs):
    for (task, _), folder in runs.items():
        history, metrics = read_tsv(folder / "history.tsv").set_index("epoch"), read_metrics(folder)
        best = history[history["val_metric"] == history["val_metric"].max()]
        assert metrics["best_epoch"] == best["val_loss"].idxmin()
        name = "auc" if task == "diagnosis" else "c_index"
        assert metrics["selected_by"] == name
        assert metrics["val"][name] == pytest.approx(100 * score(folder, task, "val"))


def test_history_says_how_alignment_and_coordination_went(runs):
    history = read_tsv(runs["diagnosis", "ksfusion"] / "history.tsv")
    parts = history["task_loss"] + 0.5 * history["alignment_tumour"] + 0.5 * history["alignment_tme"]
    np.testing.assert_allclose(history["train_loss"], parts, rtol=1e-5)
    assert history["coordination_conflict"].between(0, 1).all() and history["coordination_cosine"].between(-1, 1).all()
    assert (history["coordination_projected"] <= history["coordination_conflict"]).all()
    assert (history.filter(like="spread_") >= 0).all(axis=None)
    n_steps = 6 * 6  # 48 - 1 samples in batches of 8
    expected = 1e-3 * (1 + np.cos(np.pi * np.arange(6) * 6 / n_steps)) / 2
    np.testing.assert_allclose(history["learning_rate"], expected)
    assert not [name for name in read_tsv(runs["diagnosis", "snn"] / "history.tsv") if "alignment" in name]


def test_a_run_can_be_rebuilt(runs, drawn):
    folder = runs["survival", "ksfusion"]
    model, config = load_model(folder), json.loads((folder / "config.json").read_text())
    assert config["niches"]["tumour"] != NICHES["tumour"]  # in the order of selected.tsv
    assert sorted(config["niches"]["tme"]) == NICHES["tme"] and sorted(config["groups"]) == [
        "growth",
        "immune",
        "vessels",
    ]
    expression = read_parquet(drawn.folder / "expression.parquet").loc[["s0"]]
    features = np.load(drawn.folder / "store" / "features.npy")
    patches = features[np.load(drawn.folder / "store" / "index.npy")[0]]
    genes = {niche: torch.from_numpy(expression[names].to_numpy()) for niche, names in config["niches"].items()}
    logits = model(torch.from_numpy(patches).float()[None], genes).logits
    hazards = read_parquet(folder / "predictions.parquet").set_index("sample_id").loc["s0"].filter(like="hazard")
    np.testing.assert_allclose(logits.sigmoid().detach().numpy()[0], hazards.to_numpy(float), rtol=1e-4)


def test_intervals_and_class_weights_come_from_training_cases(runs, drawn):
    cases = read_parquet(drawn.folder / "cases.parquet").merge(read_tsv(drawn.folder / "splits.tsv", dtype=str))
    train_cases = cases[cases["split"] == "train"]
    days = train_cases.loc[train_cases["event_survival"] == 1, "days_survival"]
    config = json.loads((runs["survival", "snn"] / "config.json").read_text())
    np.testing.assert_allclose(config["bins"], days.quantile([0.25, 0.5, 0.75]))
    samples = read_tsv(drawn.folder / "samples.tsv", dtype=str).query("status == 'ok'").merge(train_cases)
    counts = samples["label_diagnosis"].value_counts().sort_index()
    config = json.loads((runs["diagnosis", "snn"] / "config.json").read_text())
    np.testing.assert_allclose(config["class_weights"], counts.sum() / (3 * counts))


def test_weights_by_case(cohort):
    config = json.loads((cohort.train("run", method="snn", weight_by="case") / "config.json").read_text())
    # Each class has as many training cases: 12; weights count cases, not their samples.
    np.testing.assert_allclose(config["class_weights"], [1, 1, 1])


@pytest.mark.slow
def test_same_seed_same_bytes(runs, cohort):
    for method in ("attmil", "ksfusion"):
        again = cohort.train(method, method=method)
        for name in ("model.safetensors", "predictions.parquet", "metrics.json", "config.json"):
            assert (again / name).read_bytes() == (runs["diagnosis", method] / name).read_bytes()
        other = cohort.train(f"{method}-1", method=method, seed=1)
        assert (other / "model.safetensors").read_bytes() != (again / "model.safetensors").read_bytes()


@pytest.mark.parametrize("task", [DIAGNOSIS, SURVIVAL])
def test_a_variant_that_fixes_the_configured_alpha_is_the_method_itself(runs, cohort, task):
    """The sweep of alpha takes the one for the other."""
    variant = cohort.train("run", task=task, method="ksfusion-alpha050")
    itself = runs[task.name, "ksfusion"]
    first, second = (load_file(folder / "model.safetensors") for folder in (variant, itself))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    first, second = (read_parquet(folder / "predictions.parquet") for folder in (variant, itself))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.mark.slow
def test_test_labels_are_not_read(runs, cohort):
    cohort.relabel(cohort.cases_of("test"), label_diagnosis=0, days_survival=1.0, event_survival=1)
    for task in (DIAGNOSIS, SURVIVAL):
        again, before = cohort.train(task.name, task=task), runs[task.name, "ksfusion"]
        assert (again / "model.safetensors").read_bytes() == (before / "model.safetensors").read_bytes()
        assert read_metrics(again)["val"] == read_metrics(before)["val"]


@pytest.mark.slow
def test_variants_train_what_they_say(cohort):
    history = read_tsv(cohort.train("a", method="ksfusion-no-gecon") / "history.tsv")
    assert "alignment_tumour" not in history and "coordination_cosine" in history
    history = read_tsv(cohort.train("b", method="ksfusion-no-cgcoord") / "history.tsv")
    assert "alignment_tumour" in history and "coordination_cosine" not in history
    folder = cohort.train("c", method="ksfusion-alpha100")
    history = read_tsv(folder / "history.tsv")
    np.testing.assert_allclose(history["train_loss"], history["task_loss"] + history["alignment_tumour"], rtol=1e-5)
    assert json.loads((folder / "config.json").read_text())["options"]["alpha"] == 1


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "splits.tsv").write_text("fold\tcase_id\tsplit\n0\t000\ttrain\n"), "split the cases"),
        (
            lambda folder: (folder / "store/slides.tsv").write_text("slide_id\toffset\tn_unique\nslide0\t0\t9\n"),
            "slide1.*build the store",
        ),
        (lambda folder: pd.DataFrame({"case_id": ["000"]}).to_parquet(folder / "cases.parquet"), "label_diagnosis"),
        (
            lambda folder: (
                read_parquet(folder / "expression.parquet").drop("s4").to_parquet(folder / "expression.parquet")
            ),
            "s4.*select the genes",
        ),
        (
            lambda folder: (
                read_parquet(folder / "expression.parquet").drop(columns="T2").to_parquet(folder / "expression.parquet")
            ),
            "T2",
        ),
    ],
)
def test_files_that_do_not_fit_together(cohort, break_it, message):
    break_it(cohort.folder)
    with pytest.raises(UserError, match=message):
        cohort.train("run", method="snn")


def test_unknown_method(cohort):
    with pytest.raises(UserError, match="unknown method"):
        cohort.train("run", method="nothing")


def test_a_setting_that_the_method_reads_must_be_given(cohort):
    with pytest.raises(UserError, match=r"method ksfusion reads training\.alpha.*add it"):
        cohort.train("run", alpha=None)
    assert not (cohort.folder / "run").exists()


def test_each_seed_has_a_folder(cohort):
    with pytest.raises(UserError, match="--output: 1 folders for 2 seeds"):
        train_model(
            cohort.files,
            [cohort.folder / "run"],
            method="snn",
            fold=0,
            seed=[0, 1],
            settings=TrainModelSettings(task=DIAGNOSIS, training=SETTINGS),
            device="cpu",
        )


def test_torch_is_left_as_it_was(cohort):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    cohort.train("run", method="snn")
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_every_method_trains_on_this_cohort(cohort):
    for name, info in NETWORKS.items():
        if name == info.base:
            for task in (DIAGNOSIS, SURVIVAL):
                folder = cohort.train(f"{task.name}/{name}", method=name, task=epochs(task, 1))
                assert read_metrics(folder)["status"] == "ok"
