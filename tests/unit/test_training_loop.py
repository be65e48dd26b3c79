"""Training as a whole, on a small cohort with a planted signal."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from sksurv.metrics import concordance_index_censored

from ksfusion.errors import UserError
from ksfusion.methods.registry import METHODS
from ksfusion.storage import read_parquet, read_provenance, read_tsv
from ksfusion.training.checkpoint import load_model
from ksfusion.training.loop import train

SETTINGS = {
    "batch_size": 8,
    "lr": 1e-3,
    "weight_decay": 1e-2,
    "dropout": 0.1,
    "alpha": 0.5,
    "weight_by": "sample",
}
CLASSES = ["low", "middle", "high"]
DIAGNOSIS = {"name": "diagnosis", "kind": "classification", "classes": CLASSES, "epochs": 6}
SURVIVAL = {"name": "survival", "kind": "survival", "classes": [], "epochs": 12}
N_PATCHES, N_FEATURES = 36, 12
NICHES = {"tumour": [f"T{number}" for number in range(5)], "tme": [f"E{number}" for number in range(7)]}


@dataclass(frozen=True)
class Cohort:
    """Files as the earlier stages leave them."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        names = ["store", "expression.parquet", "selected.tsv", "samples.tsv", "cases.parquet", "splits.tsv"]
        return [self.folder / name for name in names]

    def train(
        self, output: str, *, task: dict = DIAGNOSIS, method: str = "ksfusion", seed: int = 0, **settings
    ) -> Path:
        folder = self.folder / output
        train(*self.files, folder, task=task, method=method, fold=0, seed=seed, settings={**SETTINGS, **settings})
        return folder

    def cases_of(self, split: str) -> list[str]:
        splits = read_tsv(self.folder / "splits.tsv", dtype=str)
        return splits.loc[splits["split"] == split, "case_id"].tolist()

    def relabel(self, case_ids, **values) -> None:
        cases = read_parquet(self.folder / "cases.parquet")
        for column, value in values.items():
            cases.loc[cases["case_id"].isin(case_ids), column] = value
        cases.to_parquet(self.folder / "cases.parquet")


def draw_cohort(folder: Path, n_cases: int = 60) -> Cohort:
    """Draw cases whose class shifts one feature of the patches, one tumour gene and one gene of the microenvironment.

    Every third case has two slides. A slide has fewer unique patches than its map. The last case has a slide that
    failed, the one before no label.
    """
    random = np.random.default_rng(5)
    folder.mkdir()
    label = np.arange(n_cases) % 3
    cases = pd.DataFrame({"case_id": [f"{number:03d}" for number in range(n_cases)]})
    cases["label_diagnosis"] = pd.array(label, dtype="Int64")
    cases["days_survival"] = np.round(1000 * np.exp(-1.5 * label) * random.exponential(size=n_cases)) + 1
    cases["event_survival"] = pd.array((random.random(n_cases) < 0.7).astype(int), dtype="Int64")
    cases.loc[n_cases - 2, ["label_diagnosis", "days_survival", "event_survival"]] = [pd.NA, np.nan, pd.NA]
    cases.to_parquet(folder / "cases.parquet")
    sides = np.array(["train", "train", "train", "val", "test"])[np.arange(n_cases) // 3 % 5]
    pd.DataFrame({"fold": 0, "case_id": cases["case_id"], "split": sides}).to_csv(
        folder / "splits.tsv", sep="\t", index=False
    )

    of_case = np.sort(np.concatenate([np.arange(n_cases), np.arange(0, n_cases, 3)]))
    samples = pd.DataFrame({"sample_id": [f"s{number}" for number in range(len(of_case))]})
    samples["case_id"] = cases["case_id"].to_numpy()[of_case]
    samples["cohort"] = "A"
    samples["slide_id"] = [f"slide{number}" for number in range(len(of_case))]
    samples["status"], samples["reason"] = "ok", ""
    samples.loc[len(of_case) - 1, ["status", "reason"]] = ["excluded", "no_tissue"]
    samples.to_csv(folder / "samples.tsv", sep="\t", index=False)

    symbols = NICHES["tumour"] + NICHES["tme"]
    expression = random.normal(size=(len(of_case), len(symbols))).astype(np.float32)
    expression[:, [0, 5]] += 1.5 * label[of_case][:, None]
    table = pd.DataFrame(expression, columns=symbols, index=pd.Index(samples["sample_id"], name="sample_id"))
    table.iloc[:-1].sample(frac=1, random_state=0).to_parquet(folder / "expression.parquet")
    selected = pd.DataFrame({"symbol": symbols, "rank": range(1, 13), "variance": 1.0})
    selected["niche"] = ["tumour"] * 5 + ["tme"] * 7
    selected["category"] = ["growth"] * 5 + ["vessels"] * 3 + ["immune"] * 4
    selected["source"] = "drawn"
    selected.sample(frac=1, random_state=1).to_csv(folder / "selected.tsv", sep="\t", index=False)

    n_unique = random.integers(9, 20, size=len(of_case) - 1)
    offsets = np.concatenate([[0], np.cumsum(n_unique)[:-1]])
    features = random.normal(size=(n_unique.sum(), N_FEATURES))
    for slide, (offset, count) in enumerate(zip(offsets, n_unique, strict=True)):
        features[offset : offset + count, 3] += 0.8 * label[of_case[slide]]
    store = folder / "store"
    store.mkdir()
    np.save(store / "features.npy", features.astype(np.float16))
    np.save(store / "index.npy", np.stack([np.arange(N_PATCHES) % count for count in n_unique]).astype(np.int32))
    blocks = pd.DataFrame({"slide_id": samples["slide_id"][:-1], "offset": offsets, "n_unique": n_unique})
    blocks.to_csv(store / "slides.tsv", sep="\t", index=False)
    (store / "store.json").write_text(json.dumps({"d": N_FEATURES, "count": N_PATCHES}))
    return Cohort(folder)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Cohort:
    return draw_cohort(tmp_path_factory.mktemp("drawn") / "cohort")


@pytest.fixture
def cohort(drawn, tmp_path) -> Cohort:
    """Return a copy that a test may change."""
    shutil.copytree(drawn.folder, tmp_path / "cohort")
    return replace(drawn, folder=tmp_path / "cohort")


@pytest.fixture(scope="session")
def runs(drawn) -> dict[tuple[str, str], Path]:
    return {
        (task["name"], method): drawn.train(f"{task['name']}/{method}", task=task, method=method)
        for task in (DIAGNOSIS, SURVIVAL)
        for method in ("attmil", "snn", "ksfusion")
    }


def read_metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


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


def test_same_seed_same_bytes(runs, cohort):
    for method in ("attmil", "ksfusion"):
        again = cohort.train(method, method=method)
        for name in ("model.safetensors", "predictions.parquet", "metrics.json", "config.json"):
            assert (again / name).read_bytes() == (runs["diagnosis", method] / name).read_bytes()
        other = cohort.train(f"{method}-1", method=method, seed=1)
        assert (other / "model.safetensors").read_bytes() != (again / "model.safetensors").read_bytes()


def test_test_labels_are_not_read(runs, cohort):
    cohort.relabel(cohort.cases_of("test"), label_diagnosis=0, days_survival=1.0, event_survival=1)
    for task in (DIAGNOSIS, SURVIVAL):
        again, before = cohort.train(task["name"], task=task), runs[task["name"], "ksfusion"]
        assert (again / "model.safetensors").read_bytes() == (before / "model.safetensors").read_bytes()
        assert read_metrics(again)["val"] == read_metrics(before)["val"]


def test_variants_train_what_they_say(cohort):
    history = read_tsv(cohort.train("a", method="ksfusion-no-gecon") / "history.tsv")
    assert "alignment_tumour" not in history and "coordination_cosine" in history
    history = read_tsv(cohort.train("b", method="ksfusion-no-cgcoord") / "history.tsv")
    assert "alignment_tumour" in history and "coordination_cosine" not in history
    folder = cohort.train("c", method="ksfusion-alpha1")
    history = read_tsv(folder / "history.tsv")
    np.testing.assert_allclose(history["train_loss"], history["task_loss"] + history["alignment_tumour"], rtol=1e-5)
    assert json.loads((folder / "config.json").read_text())["options"]["alpha"] == 1


@pytest.mark.parametrize("task", [DIAGNOSIS, SURVIVAL], ids=["diagnosis", "survival"])
def test_a_task_that_cannot_be_learned_is_skipped(cohort, task):
    cohort.relabel(cohort.cases_of("train"), label_diagnosis=0, event_survival=0)
    folder = cohort.train("run", task=task)
    metrics = read_metrics(folder)
    assert metrics["status"] == "skipped" and metrics["best_epoch"] is None
    assert ("1 of the task's classes" if task is DIAGNOSIS else "no event") in metrics["reason"]
    predictions = read_parquet(folder / "predictions.parquet")
    assert predictions.empty and {"sample_id", "split"} < set(predictions)
    assert ("prob_high" if task is DIAGNOSIS else "hazard_3") in predictions
    assert load_file(folder / "model.safetensors") == {} and read_tsv(folder / "history.tsv").empty
    with pytest.raises(UserError, match="skipped"):
        load_model(folder)


def test_without_a_class_in_validation_the_loss_chooses(cohort):
    cohort.relabel(cohort.cases_of("val")[2::3], label_diagnosis=1)
    folder = cohort.train("run", method="snn")
    metrics, history = read_metrics(folder), read_tsv(folder / "history.tsv").set_index("epoch")
    assert metrics["selected_by"] == "loss" and "class high" in metrics["selection_reason"]
    assert metrics["val"]["auc"] is None
    assert metrics["best_epoch"] == history["val_loss"].idxmin()


def test_without_validation_labels_the_last_epoch_is_kept(cohort):
    cohort.relabel(cohort.cases_of("val"), event_survival=pd.NA)
    metrics = read_metrics(cohort.train("run", method="snn", task=SURVIVAL))
    assert (metrics["selected_by"], metrics["best_epoch"]) == ("last", 12)
    assert metrics["val"] == {"c_index": None, "loss": None}


def test_batches_of_one_sample_and_of_censored_samples(cohort):
    """Batches of 1 have one class and no pair; with events in one case in five most batches of 2 have none either."""
    cohort.relabel([f"{number:03d}" for number in range(58) if number % 5], event_survival=0)
    for batch_size in (1, 2):
        for task in (DIAGNOSIS, SURVIVAL):
            folder = cohort.train(f"{task['name']}{batch_size}", task={**task, "epochs": 1}, batch_size=batch_size)
            assert read_metrics(folder)["status"] == "ok"
            assert read_parquet(folder / "predictions.parquet").filter(regex="prob|hazard").notna().all(axis=None)


def test_a_loss_that_is_not_finite_is_named(cohort):
    with pytest.raises(UserError, match=r"task diagnosis, method snn, fold 0, seed 3: .* epoch 1"):
        cohort.train("run", method="snn", seed=3, lr=1e30)


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


def test_torch_is_left_as_it_was(cohort):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    cohort.train("run", method="snn")
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.equal(torch.rand(3), expected)


def test_every_method_trains_on_this_cohort(cohort):
    for name, info in METHODS.items():
        if name == info.base:
            folder = cohort.train(name, method=name, task={**DIAGNOSIS, "epochs": 1})
            assert read_metrics(folder)["status"] == "ok"
