"""What a bundle holds, and that its members predict what the study's runs wrote."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from bundled_study import files_of, make_bundle, write_study
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from training_cohort import DIAGNOSIS, NICHES, SURVIVAL, epochs

from ksfusion.bundles import read_bundle
from ksfusion.bundles.encoder import bundle_encoder
from ksfusion.bundles.manifest import write_manifest
from ksfusion.bundles.predict import member_predictions
from ksfusion.bundles.seen import splits_of_case
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_provenance, read_tsv, write_tsv
from ksfusion.slides.encoders.build import build_encoder
from ksfusion.stages.fit_baseline import fit_baseline
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.config import FitBaselineSettings
from ksfusion.training.data import read_fold

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_bundle_says_what_it_is(bundled):
    found = read_bundle(bundled)
    assert (found.method, found.task.name, found.modalities) == ("ksfusion", "diagnosis", "pg")
    assert found.task.classes == DIAGNOSIS.classes
    assert [(member.fold, member.seed) for member in found.members] == [(0, 0), (0, 1)]
    assert found.settings.patches.count == found.contents.n_patches == 36
    assert found.settings.slides.exclude == ["pen"]
    assert found.settings.features.encoder == "seeded-conv"
    assert found.contents.encoder.n_features == 12
    assert {source.cohort: source.unit for source in found.contents.expression} == {"A": "log"}
    # The order of the table of genes, in which the models read them.
    assert {niche: sorted(symbols) for niche, symbols in found.folds[0].genes.niches.items()} == NICHES
    assert found.members[0].config["niches"] == found.folds[0].genes.niches


def test_every_file_is_in_the_manifest_with_its_digest(bundled):
    listed = json.loads((bundled / "manifest.json").read_text())["files"]
    there = {path.relative_to(bundled).as_posix(): path for path in bundled.rglob("*") if path.is_file()}
    assert set(listed) == set(there) - {"manifest.json"}
    for name, known in listed.items():
        assert hashlib.sha256(there[name].read_bytes()).hexdigest() == known["sha256"]
    assert {path.suffix for path in there.values()} == {".json", ".yaml", ".md", ".tsv", ".safetensors"}


def test_no_case_and_no_path_stands_in_a_bundle(bundled, study):
    cases = read_parquet(study / "cohort/cases.parquet")["case_id"]
    texts = {path: path.read_text() for path in bundled.rglob("*") if path.is_file() and path.suffix != ".safetensors"}
    for path, text in texts.items():
        assert "secret/" not in text and str(study) not in text, path
    assert not set(cases) & set("\t".join(texts[bundled / "cases.tsv"].split("\n")).split("\t"))


@pytest.mark.parametrize(("task", "method"), [(DIAGNOSIS, "ksfusion"), (SURVIVAL, "snn")])
def test_members_predict_what_the_runs_wrote(study, tmp_path, task, method):
    found = read_bundle(make_bundle(study, tmp_path / "B", task=task.name, method=method))
    data = read_fold(files_of(study), task=task, fold=0, modalities=found.modalities)
    for member in found.members:
        run = study / f"models/{task.name}/{method}/fold0/seed{member.seed}"
        written = read_parquet(run / "predictions.parquet")
        predicted = member_predictions(member, data, batch_size=found.contents.batch_size)
        pd.testing.assert_frame_equal(predicted, written, check_exact=True)
        # Other batches: its own test cases alone, three at a time.
        test = member_predictions(member, data.only("test"), batch_size=3)
        own = written[written["split"] == "test"].reset_index(drop=True)
        names = [name for name in own if name.startswith(("prob_", "hazard_", "risk"))]
        assert np.abs(test[names].to_numpy() - own[names].to_numpy()).max() < 1e-6


@pytest.mark.slow
def test_a_moved_bundle_predicts_the_same_in_another_process(bundled, tmp_path):
    """Nothing but the folder is read: neither the study, nor the place where it was made."""
    moved = shutil.copytree(bundled, tmp_path / "elsewhere/my bundle")
    code = (
        "import sys, torch\n"
        "from ksfusion.bundles import read_bundle\n"
        "found = read_bundle(sys.argv[1])\n"
        "genes = {niche: torch.zeros(1, len(own)) for niche, own in found.folds[0].genes.niches.items()}\n"
        "print(found.members[0].load()(torch.ones(1, 36, 12), genes).logits.tolist())\n"
    )
    command = [sys.executable, "-c", code, str(moved)]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    genes = {niche: torch.zeros(1, len(own)) for niche, own in NICHES.items()}
    here = read_bundle(bundled).members[0].load()(torch.ones(1, 36, 12), genes).logits
    assert np.array(json.loads(told)) == pytest.approx(here.detach().numpy(), abs=1e-6)


def test_the_same_results_make_the_same_bundle(bundled, study, tmp_path):
    again = make_bundle(study, tmp_path / "again")
    for path in bundled.rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(bundled)).read_bytes() == path.read_bytes(), path.name


def test_a_case_that_trained_is_known_by_its_id_and_by_its_slides(bundled, study):
    found = read_bundle(bundled)
    splits = read_tsv(study / "cohort/splits.tsv", dtype={"case_id": str}).set_index("case_id")["split"]
    case = splits.index[splits == "train"][0]
    assert splits_of_case(found.cases, found.slides, case) == {0: "train"}
    assert splits_of_case(found.cases, found.slides, splits.index[splits == "test"][0]) == {0: "test"}
    assert splits_of_case(found.cases, found.slides, "new") == {}
    samples = read_tsv(study / "samples.tsv", dtype=str)
    slide = samples.loc[samples["case_id"] == case, "slide_id"].iloc[0]
    assert splits_of_case(found.cases, found.slides, "new", [f"digest of {slide}"]) == {0: "train"}


def test_the_reference_risks_are_those_of_the_training_cases(study, tmp_path):
    found = read_bundle(make_bundle(study, tmp_path / "B", task="survival", method="snn"))
    written = read_parquet(study / "models/survival/snn/fold0/seed0/predictions.parquet")
    train = written[(written["split"] == "train") & written["days"].notna()]
    by_hand = sorted(train["risk"][train["case_id"] == case].mean() for case in train["case_id"].unique())
    assert found.members[0].reference == pytest.approx(by_hand, rel=1e-12)
    assert len(found.members[0].cuts) == 3


def test_the_card_says_what_it_is_for(bundled):
    card = (bundled / "model_card.md").read_text()
    for heading in ("Intended use", "Data", "Metrics", "Subgroups", "Limits"):
        assert f"\n## {heading}\n" in card
    assert "For research only." in card
    assert "no coverage is claimed" in card
    # Of 60 cases every third has two slides, and the only slide of the last one has failed.
    assert "Cohort A: 59 cases, 79 samples in use." in card


def test_metrics_and_subgroups_are_those_of_the_tables(study, tmp_path):
    results = shutil.copytree(study, tmp_path / "results")
    columns = ["method", "task", "metric", "level", "cohort", "fold", "mean", "sd", "ci_low", "ci_high", "paper", "n"]
    rows = [["ksfusion", "diagnosis", "auc", "case", "all", "all", "81.2345", "1.5", "70.1", "90.9", "", "12"]]
    rows += [["snn", "diagnosis", *rows[0][2:]], ["ksfusion", "survival", "c_index", *rows[0][3:]]]
    table = pd.DataFrame(rows, columns=columns).assign(reason="")
    task = {"name": "diagnosis", "kind": "classification", "classes": DIAGNOSIS.classes, "title": "How bad it is"}
    made_by = {"settings": {"tasks": [task], "caveats": ["Drawn cases."], "title": "A drawn study"}}
    for name in ("table1", "table2"):
        write_tsv(table, results / f"tables/{name}.tsv", made_by)
    made = make_bundle(results, tmp_path / "B")
    kept = read_tsv(made / "metrics.tsv", dtype=str)
    assert kept["mean"].tolist() == ["81.2345"]
    card = (made / "model_card.md").read_text()
    assert "| AUC | cases | all | 81.2 | 70.1 to 90.9 | 12 |  |" in card
    # Where the study's samples differ in what they have, the rows say of which they are.
    kinds = [["paired", 80], ["slides only", 70], ["genes only", 60]]
    rows = [table.iloc[0].to_dict() | {"modalities": kind, "mean": f"{mean}"} for kind, mean in kinds]
    write_tsv(pd.DataFrame(rows), results / "tables/table1.tsv", made_by)
    again = (make_bundle(results, tmp_path / "again") / "model_card.md").read_text()
    for kind, mean in kinds:
        assert f"| AUC | cases | all, {kind} | {mean}.0 |" in again
    assert "for How bad it is" in card and "Study: A drawn study." in card and "- Drawn cases." in card


def test_the_encoder_is_the_one_of_training(bundled):
    found = read_bundle(bundled)
    wanted = found.contents.encoder.model_copy(update={"n_features": 192})
    assert bundle_encoder(wanted, found.settings).n_features == 192
    other = wanted.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(UserError, match="has other weights here than in training"):
        bundle_encoder(other, found.settings)
    with pytest.raises(UserError, match="gives 192 features here, and the bundle needs 12"):
        bundle_encoder(found.contents.encoder, found.settings)
    for name in ("timm:no_such_model", "no_such"):
        with pytest.raises(UserError, match=f"encoder {name}, which the bundle needs, is not there: "):
            bundle_encoder(wanted.model_copy(update={"name": name}), found.settings)
    features = found.settings.features.model_copy(update={"weights": "my.safetensors"})
    with pytest.raises(UserError, match=r"needs the weight file my\.safetensors"):
        bundle_encoder(wanted, found.settings.model_copy(update={"features": features}))


def test_the_digest_of_an_encoder_changes_with_one_weight():
    from ksfusion.slides.encoders.digest import encoder_digest

    encoder = build_encoder("seeded-conv")
    before = encoder_digest(encoder)
    assert encoder_digest(build_encoder("seeded-conv")) == before
    encoder.network.conv1.bias[0] += 1e-3
    assert encoder_digest(encoder) != before


@pytest.mark.parametrize(
    ("task", "method", "said"),
    [
        ("diagnosis", "clinical", "--method clinical: reads clinical columns, which a bundle does not hold"),
        ("diagnosis", "cohort", "--method cohort: reads nothing but the cohort"),
        ("diagnosis", "nosuch", "unknown method 'nosuch'"),
        ("diagnosis", "snn", "no run of task diagnosis and method snn; there are diagnosis/ksfusion, survival/snn"),
    ],
)
def test_what_cannot_be_bundled_is_told(study, tmp_path, task, method, said):
    with pytest.raises(UserError, match=said):
        make_bundle(study, tmp_path / "B", task=task, method=method)
    assert not (tmp_path / "B").exists()


def test_a_folder_with_something_else_is_left_alone(study, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already, and is no bundle"):
        make_bundle(study, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_genes_that_were_adjusted_by_combat_cannot_be_frozen(study, tmp_path):
    results = shutil.copytree(study, tmp_path / "results")
    path = results / "genes/fold0/selected.tsv"
    made_by = read_provenance(path)
    made_by["settings"] |= {"harmonise": "combat", "fit_on": "all"}
    write_tsv(read_tsv(path), path, made_by)
    with pytest.raises(UserError, match="ComBat, which cannot be frozen"):
        make_bundle(results, tmp_path / "B")


def test_conformal_scores_are_of_cases_on_which_nothing_was_chosen(drawn, bundled, tmp_path):
    """Of those alone, one score a case; without such cases the bundle says why it has none."""
    calibration = read_bundle(bundled).folds[0].calibration
    assert calibration.scores == [] and "training.calibration_fraction" in calibration.no_scores
    results = write_study(drawn, tmp_path / "results", task=epochs(DIAGNOSIS, 2), calibration_fraction=0.5)
    found = read_bundle(make_bundle(results, tmp_path / "B")).folds[0].calibration
    written = read_parquet(results / "models/diagnosis/ksfusion/fold0/seed0/predictions.parquet").dropna(subset="y")
    by_split = {split: written[written["split"] == split] for split in ("val", "calibration")}
    held_out = by_split["calibration"].groupby("case_id").mean(numeric_only=True)
    assert found.temperature.cases == by_split["val"]["case_id"].nunique()
    assert not set(by_split["val"]["case_id"]) & set(held_out.index)
    probabilities = held_out[[f"prob_{name}" for name in DIAGNOSIS.classes]].to_numpy()
    shown = softmax(np.log(probabilities) / found.temperature.value, axis=1)
    by_hand = 1 - shown[np.arange(len(held_out)), held_out["y"].to_numpy(int)]
    assert found.scores == pytest.approx(sorted(by_hand), abs=1e-9)
    assert found.no_scores == ""


def test_a_bundle_of_two_folds(cohort, tmp_path):
    """Each fold has its own members, cuts, calibration, and splits of the cases."""
    splits = read_tsv(cohort.folder / "splits.tsv", dtype=str)
    other = splits.assign(fold="1", split=splits["split"].map({"train": "train", "val": "test", "test": "val"}))
    pd.concat([splits, other]).to_csv(cohort.folder / "splits.tsv", sep="\t", index=False)
    task = epochs(SURVIVAL, 2)
    for fold in (0, 1):
        results = write_study(cohort, tmp_path / "results", task=task, method="snn", fold=fold)
    found = read_bundle(make_bundle(results, tmp_path / "B", task="survival", method="snn"))
    assert [(member.fold, member.seed) for member in found.members] == [(0, 0), (1, 0)]
    tested = splits.loc[splits["split"] == "test", "case_id"].iloc[0]
    assert splits_of_case(found.cases, found.slides, tested) == {0: "test", 1: "val"}
    for fold in found.folds:
        side = "val" if fold.number == 0 else "test"
        labelled = read_parquet(cohort.folder / "cases.parquet").set_index("case_id")["days_survival"].notna()
        of_fold = splits.loc[splits["split"] == side, "case_id"]
        used = set(read_tsv(cohort.folder / "samples.tsv", dtype=str).query("status == 'ok'")["case_id"])
        assert fold.calibration.temperature.cases == sum(labelled[case] and case in used for case in of_fold)
        data = read_fold(files_of(results), task=task, fold=fold.number, modalities="g")
        (member,) = fold.members
        run = results / f"models/survival/snn/fold{fold.number}/seed0/predictions.parquet"
        predicted = member_predictions(member, data, batch_size=found.contents.batch_size)
        pd.testing.assert_frame_equal(predicted, read_parquet(run), check_exact=True)
    assert "The members of several folds are averaged" in (tmp_path / "B/model_card.md").read_text()


def test_a_bundle_of_models_with_stand_ins(cohort, tmp_path):
    """Samples with slide or genes alone: the bundle says that it takes them, and predicts them as the run did."""
    ledger = read_tsv(cohort.folder / "samples.tsv", dtype=str).fillna("")
    numbers = ledger["sample_id"].str[1:].astype(int)
    kinds = np.where(numbers % 7 == 3, "genes only", np.where(numbers % 7 == 5, "slides only", "paired"))
    ledger["modalities"] = np.where(ledger["status"] == "ok", kinds, "")
    ledger.loc[ledger["modalities"] == "genes only", "slide_id"] = ""
    ledger.to_csv(cohort.folder / "samples.tsv", sep="\t", index=False)
    expression = read_parquet(cohort.folder / "expression.parquet")
    without = ledger.loc[ledger["modalities"] == "slides only", "sample_id"]
    expression.drop(without).to_parquet(cohort.folder / "expression.parquet")
    short = epochs(DIAGNOSIS, 2)
    results = write_study(cohort, tmp_path / "results", task=short, method="concat", modality_dropout=0.3)
    found = read_bundle(make_bundle(results, tmp_path / "B", method="concat"))
    assert found.contents.partial
    data = read_fold(files_of(results), task=short, fold=0, modalities="pg", partial=True)
    written = read_parquet(results / "models/diagnosis/concat/fold0/seed0/predictions.parquet")
    predicted = member_predictions(found.members[0], data, batch_size=found.contents.batch_size)
    pd.testing.assert_frame_equal(predicted, written, check_exact=True)
    assert set(written["modalities"]) == {"paired", "genes only", "slides only"}
    limits = found.folds[0].training.known.limits
    used = ledger[ledger["status"] == "ok"].merge(read_tsv(cohort.folder / "splits.tsv", dtype=str), on="case_id")
    train = used[used["split"] == "train"]
    assert limits["features"].samples == (train["modalities"] != "genes only").sum()
    assert limits["expression"].samples == (train["modalities"] != "slides only").sum()


@pytest.mark.parametrize("method", ["mean-patch", "logistic-genes"])
def test_a_baseline_is_a_bundle_too(study, tmp_path, method):
    results = shutil.copytree(study, tmp_path / "results")
    task, files = TaskOutcome.of(DIAGNOSIS), files_of(results)
    run = results / f"models/diagnosis/{method}/fold0/seed0"
    fit_baseline(files, [run], method=method, fold=0, seed=[0], settings=[FitBaselineSettings(task=task)])
    found = read_bundle(make_bundle(results, tmp_path / "B", method=method))
    data = read_fold(files, task=task, fold=0, modalities=found.modalities)
    predicted = member_predictions(found.members[0], data, batch_size=1)
    pd.testing.assert_frame_equal(predicted, read_parquet(run / "predictions.parquet"), check_exact=True)
    other = {"mean-patch": "genes", "logistic-genes": "slides.tsv"}[method]
    assert not (tmp_path / "B" / other).exists()
    coefficients = tmp_path / "B/members/fold0/seed0/model.safetensors"
    tensors = load_file(coefficients)
    save_file({**tensors, "scale": tensors["scale"][:-1].clone()}, coefficients)
    write_manifest(tmp_path / "B", {})
    with pytest.raises(UserError, match="weight scale has 11, and the method wants 12"):
        read_bundle(tmp_path / "B")
