"""Samples with a slide or genes alone: who is trained on what, and what stands for the rest."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from training_cohort import DIAGNOSIS, SETTINGS, Cohort, epochs, read_metrics

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.stages.fit_baseline import fit_baseline
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.checkpoint import load_model
from ksfusion.training.config import FitBaselineSettings, RunSettings, TrainedTask, Training, TrainModelSettings
from ksfusion.training.data import read_fold
from ksfusion.training.fit import drop_modalities

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = epochs(DIAGNOSIS, 2)
SLIDES_ONLY, GENES_ONLY = [f"s{number}" for number in range(5, 70, 7)], [f"s{number}" for number in range(3, 70, 7)]


def say(cohort: Cohort, **of_samples: list[str]) -> Cohort:
    """Write what the samples have into the ledger, as `write-ledger` does, and take away the rest."""
    ledger = read_tsv(cohort.folder / "samples.tsv", dtype=str).fillna("")
    ledger["modalities"] = np.where(ledger["status"] == "ok", "paired", "")
    for kind, ids in of_samples.items():
        chosen = ledger["sample_id"].isin(ids) & (ledger["status"] == "ok")
        ledger.loc[chosen, "modalities"] = kind.replace("_", " ")
        if kind == "slides_only":
            expression = read_parquet(cohort.folder / "expression.parquet")
            expression.drop(ledger.loc[chosen, "sample_id"]).to_parquet(cohort.folder / "expression.parquet")
        else:
            ledger.loc[chosen, "slide_id"] = ""
    ledger.to_csv(cohort.folder / "samples.tsv", sep="\t", index=False)
    return cohort


@pytest.fixture
def mixed(cohort) -> Cohort:
    return say(cohort, slides_only=SLIDES_ONLY, genes_only=GENES_ONLY)


def kinds_predicted(folder) -> dict[str, int]:
    return read_parquet(folder / "predictions.parquet")["modalities"].value_counts().to_dict()


def kinds_in_use(cohort: Cohort) -> dict[str, int]:
    ledger = read_tsv(cohort.folder / "samples.tsv", dtype=str)
    return ledger.loc[ledger["status"] == "ok", "modalities"].value_counts().to_dict()


@pytest.mark.parametrize(
    ("method", "dropout", "served"),
    [
        ("snn", None, ["paired", "genes only"]),
        ("attmil", None, ["paired", "slides only"]),
        ("concat", None, ["paired"]),
        ("mcat", None, ["paired"]),
        ("concat", 0.3, ["paired", "slides only", "genes only"]),
    ],
)
def test_a_method_is_trained_on_and_predicts_the_samples_that_have_what_it_reads(mixed, method, dropout, served):
    counts = kinds_in_use(mixed)
    assert min(counts.values()) >= 5 and len(counts) == 3
    folder = mixed.train("run", method=method, task=SHORT, modality_dropout=dropout)
    assert kinds_predicted(folder) == {kind: counts[kind] for kind in served}
    predictions = read_parquet(folder / "predictions.parquet")
    assert predictions.filter(like="prob_").notna().all(axis=None)
    # Class weights are those of the training samples of these kinds: the sum of all counts over 3 times each.
    train = predictions[predictions["split"] == "train"].dropna()["y"].value_counts().sort_index()
    config = json.loads((folder / "config.json").read_text())
    np.testing.assert_allclose(config["class_weights"], train.sum() / (3 * train), rtol=1e-6)


def test_missing_values_are_marked_and_never_zeros(mixed):
    data = read_fold(mixed.files, task=DIAGNOSIS, fold=0, modalities="pg", partial=True)
    slides = data.samples["sample_id"].isin(SLIDES_ONLY).to_numpy()
    genes = data.samples["sample_id"].isin(GENES_ONLY).to_numpy()
    assert (data.present["p"] == ~genes).all() and (data.present["g"] == ~slides).all()
    for values in data.genes.values():
        assert values[slides].isnan().all() and values[~slides].isfinite().all()
    assert (data.slides[genes] == -1).all() and (data.slides[~genes] >= 0).all()
    positions = np.array([np.flatnonzero(slides)[0], np.flatnonzero(genes)[0], np.flatnonzero(~slides & ~genes)[0]])
    patches, of_genes, present = data.inputs(positions, torch.device("cpu"))
    assert (len(patches), len(of_genes["tumour"]), len(of_genes["tme"])) == (2, 2, 2)
    assert [part.tolist() for part in (present.patches, present.genes, present.both)] == [[0, 2], [1, 2], [2]]
    assert all(part.isfinite().all() for part in (patches, *of_genes.values()))


def test_a_sample_said_to_have_what_is_not_there_is_an_error(mixed):
    ledger = read_tsv(mixed.folder / "samples.tsv", dtype=str)
    ledger.loc[ledger["sample_id"] == SLIDES_ONLY[0], "modalities"] = "paired"
    ledger.to_csv(mixed.folder / "samples.tsv", sep="\t", index=False)
    with pytest.raises(UserError, match=f"{SLIDES_ONLY[0]}.*select the genes"):
        mixed.train("run", method="concat", task=SHORT, modality_dropout=0.3)


def test_a_sample_that_is_dropped_loses_that_and_one_that_has_one_keeps_it(mixed):
    data = read_fold(mixed.files, task=DIAGNOSIS, fold=0, modalities="pg", partial=True)
    kinds = data.samples["modalities"].to_numpy()
    chosen = np.array([np.flatnonzero(kinds == kind)[0] for kind in ("paired", "slides only", "genes only")])
    for dropped, patches, genes in (("p", [1], [0, 2]), ("g", [0, 1], [2]), ("", [0, 1], [0, 2])):
        *_, present = data.inputs(chosen, torch.device("cpu"), dropped=np.array([dropped] * 3))
        assert (present.patches.tolist(), present.genes.tolist()) == (patches, genes)


def test_modalities_are_dropped_as_often_as_is_said():
    """Binomial: of 40,000 samples 15 % lose each, to within four standard deviations."""
    drawn = drop_modalities(np.random.default_rng(0), 40_000, 0.3)
    for letter, share in (("p", 0.15), ("g", 0.15), ("", 0.7)):
        assert (drawn == letter).mean() == pytest.approx(share, abs=4 * (share * (1 - share) / 40_000) ** 0.5)
    assert set(drop_modalities(np.random.default_rng(0), 100, 0.0)) == {""}


def test_dropout_is_drawn_by_the_seed(mixed):
    folders = [
        mixed.train(name, method="concat", task=SHORT, seed=seed, modality_dropout=0.3)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    first, again, other = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert first == again != other


def test_stand_ins_are_learned_and_read_back(mixed):
    folder = mixed.train("run", task=SHORT, modality_dropout=0.3)
    vectors = {key: value for key, value in load_file(folder / "model.safetensors").items() if "vector" in key}
    assert len(vectors) == 4 and all(value.abs().max() > 0 for value in vectors.values())
    model, predictions = load_model(folder), read_parquet(folder / "predictions.parquet")
    data = read_fold(mixed.files, task=DIAGNOSIS, fold=0, modalities="pg", partial=True)
    with torch.no_grad():
        logits = model(*data.inputs(np.arange(len(data.samples)), torch.device("cpu"))).logits
    expected = predictions.filter(like="prob_").to_numpy()
    np.testing.assert_allclose(logits.double().softmax(dim=1).numpy(), expected, atol=1e-6)


def test_of_a_paired_study_any_is_paired_to_the_byte(cohort, runs):
    """The ledger of such a study says of all samples that they are paired."""
    again = say(cohort).train("run")
    for name in ("model.safetensors", "predictions.parquet", "metrics.json", "config.json"):
        assert (again / name).read_bytes() == (runs["diagnosis", "ksfusion"] / name).read_bytes()


def test_without_dropout_the_settings_of_a_run_say_nothing_of_it():
    """So that no run is redone by the key, and none has a parameter more."""
    task = TrainedTask.model_validate(DIAGNOSIS.model_dump())
    of_method = {
        (name, share): TrainModelSettings.of_task(task, Training(modality_dropout=share), METHODS[name]).record()
        for name in ("ksfusion", "bilinear", "attmil")
        for share in (0, 0.2)
    }
    assert "modality_dropout" not in str(of_method["ksfusion", 0])
    assert of_method["ksfusion", 0.2]["training"]["modality_dropout"] == 0.2
    assert all(of_method[name, 0.2] == of_method[name, 0] for name in ("bilinear", "attmil"))


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(mixed):
    from ksfusion.training import fit

    whole = mixed.train("whole", method="concat", task=epochs(DIAGNOSIS, 3), modality_dropout=0.3)
    steps, step = iter(range(10**6)), fit.training_step

    def breaking(*args, **settings):
        if next(steps) == 8:  # in the second epoch
            raise KeyboardInterrupt
        return step(*args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "training_step", breaking)
        with pytest.raises(KeyboardInterrupt):
            mixed.train("killed", method="concat", task=epochs(DIAGNOSIS, 3), modality_dropout=0.3)
    killed = mixed.train("killed", method="concat", task=epochs(DIAGNOSIS, 3), modality_dropout=0.3)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_method_without_stand_ins_trains_on_samples_without_genes_as_if_there_were_none(mixed, tmp_path):
    """Patches alone: which genes the others have changes nothing."""
    first = mixed.train("first", method="attmil", task=SHORT)
    expression = read_parquet(mixed.folder / "expression.parquet")
    (expression + 1).to_parquet(mixed.folder / "expression.parquet")
    assert read_metrics(first)["status"] == "ok"
    second = mixed.train("second", method="attmil", task=SHORT)
    one, other = (read_parquet(folder / "predictions.parquet") for folder in (first, second))
    pd.testing.assert_frame_equal(one, other)


def test_dropout_needs_a_share_below_one():
    assert RunSettings(**SETTINGS.record()).modality_dropout is None
    with pytest.raises(ValueError, match="less than 1"):
        Training(modality_dropout=1)


@pytest.mark.parametrize(
    ("method", "served"),
    [
        ("cohort", ["paired", "slides only", "genes only"]),
        ("logistic-genes", ["paired", "genes only"]),
        ("mean-patch", ["paired", "slides only"]),
    ],
)
def test_a_baseline_has_the_samples_with_what_it_reads(mixed, method, served):
    settings = FitBaselineSettings(task=TaskOutcome.model_validate(DIAGNOSIS.model_dump(exclude={"epochs"})))
    folder = mixed.folder / "run"
    fit_baseline(mixed.files, [folder], method=method, fold=0, seed=[0], settings=[settings])
    counts = kinds_in_use(mixed)
    assert kinds_predicted(folder) == {kind: counts[kind] for kind in served}
    assert read_parquet(folder / "predictions.parquet").filter(like="prob_").notna().all(axis=None)
