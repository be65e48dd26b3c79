"""External validation of a bundle: against scikit-learn, and what is left out of it."""

import numpy as np
import pandas as pd
import pytest
from bundled_study import files_of, make_bundle, write_study
from sklearn.metrics import log_loss, roc_auc_score
from sksurv.metrics import concordance_index_censored
from training_cohort import DIAGNOSIS, SURVIVAL, epochs

from ksfusion.bundles import read_bundle
from ksfusion.bundles.evaluation import calibration_table, evaluated, read_labels
from ksfusion.bundles.evaluation_files import write_evaluation
from ksfusion.bundles.predict import member_predictions
from ksfusion.cohort.config import UserColumn
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.results.config import ShownTask
from ksfusion.results.runs import read_runs
from ksfusion.results.tables.scores import as_text, result_table
from ksfusion.training.data import read_fold

pytestmark = pytest.mark.usefixtures("one_thread")
PROBABILITIES = [f"prob_{name}" for name in DIAGNOSIS.classes]


def predicted(bundle, study, task):
    """Return what a prediction writes of the study's own samples: no truth, and no split."""
    data = read_fold(files_of(study), task=task, fold=0, modalities=bundle.modalities)
    tables = [
        member_predictions(member, data, batch_size=8).assign(seed=member.seed, split="new")
        for member in bundle.members
    ]
    return pd.concat(tables, ignore_index=True).drop(columns=["y", "days", "event"], errors="ignore")


def write_cases(path, study, rename=lambda case: case):
    cases = read_parquet(study / "cohort/cases.parquet")
    names = pd.Series(DIAGNOSIS.classes)
    table = pd.DataFrame({"case_id": cases["case_id"].map(rename)})
    table["how_bad"] = cases["label_diagnosis"].map(names)
    table["days"], table["died"] = cases["days_survival"], cases["event_survival"]
    table.to_csv(path, sep="\t", index=False)
    return path


@pytest.fixture
def own(bundled, study, tmp_path):
    """Return the bundle, the predictions of its own study, and the truth."""
    found = read_bundle(bundled)
    labels = read_labels(write_cases(tmp_path / "cases.tsv", study), found.task, found.contents.labelling)
    return found, predicted(found, study, DIAGNOSIS), labels


def asked(rows):
    return {case: [] for case in rows["case_id"].unique()}


def test_labels_are_those_of_the_study(own, study):
    _, _, labels = own
    written = read_parquet(study / "cohort/cases.parquet").set_index("case_id")["label_diagnosis"]
    assert labels["y"].dropna().astype(int).to_dict() == written.dropna().astype(int).to_dict()
    assert labels.loc["058", "reason"] != "" and labels.loc["000", "reason"] == ""


def test_a_case_that_took_part_in_training_is_left_out(own, study):
    bundle, rows, labels = own
    found = evaluated(bundle, rows, labels, asked(rows))
    splits = read_tsv(study / "cohort/splits.tsv", dtype=str).set_index("case_id")["split"]
    for table in found.tables.values():
        assert set(splits[table["case_id"].unique()]) == {"test"}
    reasons = found.left_out.set_index("case_id")["reason"]
    assert reasons[splits.index[splits == "train"][0]] == "took part in training, in split train"
    assert reasons[splits.index[splits == "val"][0]] == "took part in training, in split val"
    assert reasons["058"] != "" and "training" not in reasons["058"]
    more = evaluated(bundle, rows, labels, {**asked(rows), "new": []})
    assert more.left_out.set_index("case_id").loc["new", "reason"] == "no sample of it could be predicted"


def test_a_case_under_another_name_is_left_out_by_its_slides(own, study):
    bundle, rows, labels = own
    samples = read_tsv(study / "samples.tsv", dtype=str)
    slides = samples.groupby("case_id")["slide_id"].agg(lambda ids: [f"digest of {name}" for name in ids]).to_dict()
    renamed = rows.assign(case_id="other-" + rows["case_id"])
    named = labels.rename(index=lambda case: f"other-{case}")
    found = evaluated(bundle, renamed, named, {f"other-{case}": digests for case, digests in slides.items()})
    before = evaluated(bundle, rows, labels, asked(rows))
    taught = before.left_out[before.left_out["reason"].str.contains("training")]
    assert len(taught) == 48  # three of five blocks of 60 cases train, one validates
    of_other = found.left_out[found.left_out["reason"].str.contains("training")]
    assert of_other["case_id"].tolist() == [f"other-{case}" for case in taught["case_id"]]
    # With files of other digests all would be new.
    unknown = evaluated(bundle, renamed, named, asked(renamed))
    assert len(next(iter(unknown.tables.values()))) > len(next(iter(found.tables.values())))


def test_metrics_are_those_of_scikit_learn(own, tmp_path):
    bundle, rows, labels = own
    rows = rows.assign(cohort=np.where(rows["case_id"].astype(int) % 2 == 0, "near", "far"))
    found = evaluated(bundle, rows, labels, asked(rows))
    lines = write_evaluation(bundle, found, tmp_path / "D", {}, resamples=100)
    table = read_tsv(tmp_path / "D/table.tsv", dtype={"fold": str})
    assert set(table["cohort"]) == {"near", "far"} and set(table["split"]) == {"external"}
    for cohort in ("near", "far"):
        aucs = []
        for scored in found.tables.values():
            cases = scored[scored["cohort"] == cohort].groupby("case_id")[["y", *PROBABILITIES]].mean()
            aucs.append(100 * roc_auc_score(cases["y"], cases[PROBABILITIES], multi_class="ovr"))
        row = table[(table["cohort"] == cohort) & (table["level"] == "case") & (table["metric"] == "auc")]
        assert row.loc[row["fold"] == "all", "mean"].item() == pytest.approx(np.mean(aucs), abs=1e-4)
    page = (tmp_path / "D/evaluation.md").read_text()
    assert "Nothing was fitted, chosen or trained on this cohort." in page and "no outside cohort" not in page
    assert {path.suffix for path in (tmp_path / "D/figures").iterdir()} == {".svg", ".png"}
    assert len(lines) == 2 and lines[0].startswith("cohort ")
    drops = read_tsv(tmp_path / "D/drops.tsv")
    # Of the study's own cases in two parts, and the study has no tables.
    assert drops["test"].isna().all() and drops["drop"].isna().all()


def write_table1(results, task, method):
    """Write the table of a study of one method, as its tables stage does."""
    found = read_runs(sorted((results / f"models/{task.name}/{method}").glob("fold*/seed*")), [task])
    table = result_table(found, tasks=[shown(task)], methods=[method], resamples=300)
    settings = {"tasks": [shown(task).record()], "resamples": 300}
    write_tsv(as_text(table), results / "tables/table1.tsv", provenance("ksfusion.stages.make_tables", settings))


def shown(task):
    return ShownTask(name=task.name, kind=task.kind, classes=task.classes)


def drawn_accuracies(cases, seed):
    """Return the accuracy of each draw of the cases in percent, by numpy alone."""
    right = (cases[PROBABILITIES].to_numpy().argmax(axis=1) == cases["y"]).to_numpy(float)
    n = len(right)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=300)
    return 100 * weights @ right / n


def test_a_drop_has_the_interval_of_independent_draws_of_both_sides(drawn, study, tmp_path):
    results = write_study(drawn, tmp_path / "results", task=epochs(DIAGNOSIS, 2), seeds=(0, 1))
    write_table1(results, DIAGNOSIS, "ksfusion")
    bundle = read_bundle(make_bundle(results, tmp_path / "B"))
    labels = read_labels(write_cases(tmp_path / "cases.tsv", study), bundle.task, bundle.contents.labelling)
    rows = predicted(bundle, results, DIAGNOSIS)
    # The same people of another hospital, of whom nothing says that they are: of 25 cases.
    rows = rows[rows["case_id"].astype(int) < 25].assign(case_id=lambda own: "other-" + own["case_id"], cohort="B")
    named = labels.rename(index=lambda case: f"other-{case}")
    found = evaluated(bundle, rows, named, asked(rows))
    assert found.of_study == frozenset()
    write_evaluation(bundle, found, tmp_path / "D", {}, resamples=300)
    drops = read_tsv(tmp_path / "D/drops.tsv").fillna({"reason": ""})
    row = drops[(drops["level"] == "case") & (drops["metric"] == "accuracy")].iloc[0]
    inside, outside = [], []
    for seed, table in enumerate(found.tables.values()):
        study_rows = read_parquet(results / f"models/diagnosis/ksfusion/fold0/seed{seed}/predictions.parquet")
        of_test = study_rows[study_rows["split"] == "test"].dropna(subset="y")
        inside.append(drawn_accuracies(of_test.groupby("case_id")[["y", *PROBABILITIES]].mean(), 0))
        outside.append(drawn_accuracies(table.groupby("case_id")[["y", *PROBABILITIES]].mean(), 1_000_000))
    difference = np.mean(inside, axis=0) - np.mean(outside, axis=0)
    low, high = np.percentile(difference, [2.5, 97.5])
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    assert row["drop"] == pytest.approx(row["test"] - row["external"], abs=2e-4) and row["reason"] == ""
    page = (tmp_path / "D/evaluation.md").read_text()
    assert f"{abs(row['ci_low']):.1f} to {row['ci_high']:.1f})" in page and "drawn independently" in page
    # Of the study's own cases there is a drop, and no interval: both sides are the same cases.
    again = predicted(bundle, results, DIAGNOSIS)
    own = evaluated(bundle, again, labels, asked(again))
    assert own.of_study == {"A"}
    write_evaluation(bundle, own, tmp_path / "own", {}, resamples=300)
    same = read_tsv(tmp_path / "own/drops.tsv")
    assert same["ci_low"].isna().all() and same["reason"].eq("cases of the study are among them: no interval").all()
    assert same.loc[same["metric"] == "accuracy", "drop"].tolist() == [0, 0]


def test_samples_with_a_slide_alone_stand_beside_the_paired_ones(own, tmp_path):
    """The paired ones are scored alone; a cohort that has slides alone is scored by these."""
    bundle, rows, labels = own
    rows = rows.assign(case_id="other-" + rows["case_id"], number=rows["case_id"].astype(int))
    rows["cohort"] = np.where(rows["number"] < 20, "no RNA", "both")
    rows["modalities"] = np.where((rows["number"] < 20) | (rows["number"] % 3 == 0), "slides only", "paired")
    named = labels.rename(index=lambda case: f"other-{case}")
    found = evaluated(bundle, rows.drop(columns="number"), named, asked(rows))
    write_evaluation(bundle, found, tmp_path / "D", {}, resamples=100)
    table = read_tsv(tmp_path / "D/table.tsv", dtype=str).query("metric == 'accuracy' and fold == 'all'")
    got = table.query("level == 'sample'").set_index(["cohort", "modalities"])
    assert list(got.index) == [("both", "all"), ("no RNA", "all"), ("both", "slides only")]
    for (cohort, kind), kinds in zip(got.index, (["paired"], ["slides only"], ["slides only"]), strict=True):
        scored = [own[(own["cohort"] == cohort) & own["modalities"].isin(kinds)] for own in found.tables.values()]
        right = [own[PROBABILITIES].to_numpy().argmax(axis=1) == own["y"] for own in scored]
        assert got.loc[(cohort, kind), "n"] == str(len(scored[0]))
        assert float(got.loc[(cohort, kind), "mean"]) == pytest.approx(100 * np.mean(right), abs=1e-3)
    page = (tmp_path / "D/evaluation.md").read_text()
    assert "Samples with slides only, cohort both" in page and "Samples with slides only, cohort no RNA" not in page


def test_cases_of_the_studys_own_cohort_are_not_called_outside(own, tmp_path):
    bundle, rows, labels = own
    write_evaluation(bundle, evaluated(bundle, rows, labels, asked(rows)), tmp_path / "D", {}, resamples=100)
    page = (tmp_path / "D/evaluation.md").read_text()
    assert "this is no outside cohort" in page and "Nothing was fitted" not in page


def test_calibration_and_coverage(drawn, study, tmp_path):
    """Log-likelihood by scikit-learn; coverage by hand."""
    results = write_study(drawn, tmp_path / "results", task=epochs(DIAGNOSIS, 2), calibration_fraction=0.5)
    bundle = read_bundle(make_bundle(results, tmp_path / "B"))
    labels = read_labels(write_cases(tmp_path / "cases.tsv", study), bundle.task, bundle.contents.labelling)
    rows = predicted(bundle, results, DIAGNOSIS)
    found = evaluated(bundle, rows, labels, asked(rows))
    (scored,) = found.tables.values()
    cases = scored.groupby("case_id")[["y", *PROBABILITIES]].mean()
    (row,) = calibration_table(bundle, found.tables, level=0.5).to_dict("records")
    assert row["cases"] == len(cases)
    assert row["loss_raw"] == pytest.approx(log_loss(cases["y"], cases[PROBABILITIES], labels=[0, 1, 2]), rel=1e-6)
    calibration = bundle.folds[0].calibration
    sharpened = cases[PROBABILITIES].to_numpy() ** (1 / calibration.temperature.value)
    shown = sharpened / sharpened.sum(axis=1, keepdims=True)
    assert row["loss_calibrated"] == pytest.approx(log_loss(cases["y"], shown, labels=[0, 1, 2]), rel=1e-6)
    rank = int(np.ceil(0.5 * (len(calibration.scores) + 1)))
    limit = sorted(calibration.scores)[rank - 1]
    covered = [1 - shown[number, int(y)] <= limit for number, y in enumerate(cases["y"])]
    assert row["covered"] == pytest.approx(np.mean(covered))
    assert row["classes"] == pytest.approx(((1 - shown) <= limit).sum(axis=1).mean())


def test_survival_is_that_of_scikit_survival(study, tmp_path):
    bundle = read_bundle(make_bundle(study, tmp_path / "B", task="survival", method="snn"))
    labels = read_labels(write_cases(tmp_path / "cases.tsv", study), bundle.task, bundle.contents.labelling)
    rows = predicted(bundle, study, SURVIVAL).assign(cohort="outside")
    found = evaluated(bundle, rows, labels, asked(rows))
    write_evaluation(bundle, found, tmp_path / "D", {}, resamples=100)
    (scored,) = found.tables.values()
    cases = scored.groupby("case_id")[["days", "event", "risk"]].mean()
    expected = concordance_index_censored(cases["event"] == 1, cases["days"], cases["risk"])[0]
    table = read_tsv(tmp_path / "D/table.tsv", dtype={"fold": str})
    row = table[(table["level"] == "case") & (table["fold"] == "all")]
    assert row["mean"].item() == pytest.approx(100 * expected, abs=1e-4)
    assert any("kaplan_meier" in path.name for path in (tmp_path / "D/figures").iterdir())


def test_the_truth_in_the_users_own_columns_and_words(bundled, tmp_path):
    """By names and words as a study's ``cohort.columns``; those of other tasks are not looked for."""
    found = read_bundle(bundled)
    (tmp_path / "cases.tsv").write_text("Patient\tGrad\nA\tschlimm\nB\tmild\nC\t?\n")
    (tmp_path / "samples.tsv").write_text("Probe\tPatient\nA1\tA\n")
    words = {"column": "Grad", "schlimm": "high", "mild": "low", "?": None}
    columns = {name: UserColumn.model_validate(own) for name, own in {
        "sample_id": "Probe", "case_id": "Patient", "how_bad": words, "event": {"column": "Status", "died": ["tot"]},
    }.items()}  # fmt: skip
    asked = tmp_path / "cases.tsv", found.task, found.contents.labelling
    labels = read_labels(*asked, columns, samples=tmp_path / "samples.tsv")
    classes = DIAGNOSIS.classes
    assert labels["y"].dropna().to_dict() == {"A": classes.index("high"), "B": classes.index("low")}
    columns["how_bad"] = UserColumn(column="Stufe")
    with pytest.raises(UserError, match=r"how_bad: no table has a column Stufe; correct it: .*cases\.tsv has Patient"):
        read_labels(*asked, columns, samples=tmp_path / "samples.tsv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("case_id\tother\n000\tlow\n", "column how_bad is missing, task diagnosis needs it"),
        ("id\thow_bad\n000\tlow\n", "case_id"),
        ("case_id\thow_bad\n000\tworst\n", "how_bad is 'worst'"),
        ("case_id\thow_bad\n000\t\n", "no case has a label of task diagnosis; it comes from how_bad"),
    ],
)
def test_a_table_of_cases_that_says_nothing_is_told(bundled, tmp_path, text, said):
    found = read_bundle(bundled)
    (tmp_path / "cases.tsv").write_text(text)
    with pytest.raises(UserError, match=said):
        read_labels(tmp_path / "cases.tsv", found.task, found.contents.labelling)
