"""Training where samples give little or too much: one class, no event, an absent class, a batch of one, no number."""

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from training_cohort import DIAGNOSIS, SURVIVAL, epochs, read_metrics

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import NETWORKS
from ksfusion.training.checkpoint import load_model

pytestmark = pytest.mark.slow


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
    with pytest.raises(UserError, match="no model"):
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
            folder = cohort.train(f"{task.name}{batch_size}", task=epochs(task, 1), batch_size=batch_size)
            assert read_metrics(folder)["status"] == "ok"
            assert read_parquet(folder / "predictions.parquet").filter(regex="prob|hazard").notna().all(axis=None)


def labelled_training_samples(cohort) -> list[str]:
    """Return the ids in the order in which training numbers them."""
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str).query("status == 'ok'")
    cases = read_parquet(cohort.folder / "cases.parquet").dropna(subset=["label_diagnosis"])["case_id"]
    in_training = samples["case_id"].isin(cohort.cases_of("train")) & samples["case_id"].isin(cases)
    return sorted(samples.loc[in_training, "sample_id"])


def test_a_last_batch_of_one_sample(cohort):
    """Without a spread within the batch, the epoch's spread is that of the batch before."""
    batch_size = len(labelled_training_samples(cohort)) - 1
    folder = cohort.train("run", batch_size=batch_size, task=epochs(DIAGNOSIS, 2))
    history = read_tsv(folder / "history.tsv")
    assert np.isfinite(history.to_numpy(float)).all()
    assert (history["spread_similarity_genes_tumour"] > 0).all()


def test_a_run_whose_loss_is_not_finite_says_so_and_the_next_seed_goes_on(cohort, caplog):
    from ksfusion.training import fit

    outputs = {seed: cohort.folder / f"seed{seed}" for seed in (3, 4)}
    cosine = fit.cosine
    # A learning rate that no training survives, for the first seed alone.
    rates = iter([1e30] * 6 + [1e-3] * 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "cosine", lambda highest, shares: [next(rates) * value for value in cosine(1.0, shares)])
        cohort.train_seeds(outputs, method="snn", task=epochs(DIAGNOSIS, 1))
    lost, good = map(read_metrics, outputs.values())
    assert lost["status"] == "failed" and good["status"] == "ok"
    assert "seed 3: the loss of batch 2 of 6 in epoch 1 is not finite; lower training.lr" in lost["reason"]
    assert lost["reason"] in caplog.text
    assert read_parquet(outputs[3] / "predictions.parquet").empty
    with pytest.raises(UserError, match="no model"):
        load_model(outputs[3])


@pytest.mark.parametrize("task", [DIAGNOSIS, SURVIVAL], ids=["diagnosis", "survival"])
@pytest.mark.parametrize("method", [name for name, info in NETWORKS.items() if not info.teacher])
def test_every_method_that_diverges_is_a_run_that_failed(cohort, method, task):
    folder = cohort.train("run", method=method, task=epochs(task, 1), lr=1e30)
    metrics = read_metrics(folder)
    assert metrics["status"] == "failed" and "is not finite; lower training.lr (1e+30)" in metrics["reason"]
    assert read_parquet(folder / "predictions.parquet").empty


@pytest.mark.parametrize("method", ["attmil", "transmil", "concat", "bilinear", "mcat", "cmta", "ksfusion"])
def test_every_method_that_reads_a_broken_slide_is_a_run_that_failed(cohort, method):
    features = np.load(cohort.folder / "store" / "features.npy")
    features[::50] = np.nan
    np.save(cohort.folder / "store" / "features.npy", features)
    reason = read_metrics(cohort.train("run", method=method, task=epochs(SURVIVAL, 1)))["reason"]
    assert "is not finite" in reason and "extreme values in the features" in reason


def test_a_last_step_that_loses_the_weights_is_seen_without_validation_samples(cohort):
    from ksfusion.training import fit

    cohort.relabel(cohort.cases_of("val"), label_diagnosis=pd.NA)
    cosine, rates = fit.cosine, [1e-3] * 5 + [np.inf]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "cosine", lambda _, shares: [a * b for a, b in zip(rates, cosine(1.0, shares), strict=True)])
        reason = read_metrics(cohort.train("run", method="snn", task=epochs(DIAGNOSIS, 1)))["reason"]
    assert "the loss after the last batch in epoch 1 is not finite" in reason


def test_the_batch_of_a_broken_sample_is_named(cohort):
    samples = labelled_training_samples(cohort)
    broken = len(samples) // 2
    path = cohort.folder / "store" / "features.npy"
    blocks = read_tsv(cohort.folder / "store" / "slides.tsv").set_index("slide_id")
    features = np.load(path)
    features[blocks.loc[samples[broken].replace("s", "slide"), "offset"]] = np.inf
    np.save(path, features)
    order = np.random.default_rng(0).permutation(len(samples))
    batch = np.flatnonzero(order == broken)[0] // 8 + 1
    reason = read_metrics(cohort.train("run", method="attmil"))["reason"]
    assert f"batch {batch} of 6 in epoch 1 is not finite" in reason and "extreme values in the features" in reason
