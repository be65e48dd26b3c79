"""A study in which some cases have a slide or a profile alone, from its tables to its report."""

import pandas as pd
import pytest
from fold_project import CASES, make_project

pytestmark = pytest.mark.slow

METHODS = ["snn", "attmil", "concat", "bilinear", "ksfusion-student"]
WITHOUT_SLIDE, WITHOUT_PROFILE = CASES[0:12:3], CASES[1:12:3]
# Named in the table of samples, and not there.
LOST_SLIDE, LOST_PROFILE, LOST_BOTH = CASES[12], CASES[13], CASES[14]
SLIDES, GENES = {*WITHOUT_PROFILE, LOST_PROFILE}, {*WITHOUT_SLIDE, LOST_SLIDE}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("missing") / "project")
    path = project.folder / "samples.tsv"
    samples = pd.read_csv(path, sep="\t", dtype=str).set_index("case_id")
    samples.loc[[*WITHOUT_SLIDE, LOST_BOTH], ["slide", "mpp"]] = ""
    samples.loc[WITHOUT_PROFILE, "expression_id"] = ""
    samples.loc[[LOST_PROFILE, LOST_BOTH], "expression_id"] = ["nobody", "nothing"]
    samples.loc[LOST_SLIDE, "slide"] = "slides/lost.png"
    samples.reset_index()[["sample_id", "case_id", "cohort", "slide", "expression_id", "mpp"]].to_csv(
        path, sep="\t", index=False
    )
    project.configure(
        cohort={"require": "any"},
        genes={"rank": "within_cohort"},
        splits={"scheme": "holdout", "fractions": [0.4, 0.2, 0.4]},
        methods=METHODS,
        training={"seeds": [0], "modality_dropout": 0.3, "epochs": {}},
        heatmaps={"methods": ["attmil"]},
        results={"reference": "attmil", "resamples": 100},
        tasks={
            "mgmt": {"kind": "classification", "column": "mgmt", "classes": ["unmethylated", "methylated"], "epochs": 1}
        },
    )
    project.snakemake()
    return project


def predicted(study, method):
    table = pd.read_parquet(study.folder / f"results/models/mgmt/{method}/fold0/seed0/predictions.parquet")
    return table.set_index("case_id")["modalities"]


def test_the_ledger_says_what_a_sample_serves_and_what_it_lacks(study):
    ledger = study.tsv("results/samples.tsv").set_index("case_id").fillna("")
    assert set(ledger.index[ledger["modalities"] == "slides only"]) == SLIDES
    assert set(ledger.index[ledger["modalities"] == "genes only"]) == GENES
    assert (ledger["modalities"] == "paired").sum() == len(CASES) - len(SLIDES) - len(GENES) - 1
    assert ledger.index[ledger["status"] != "ok"].tolist() == [LOST_BOTH]
    reasons = {case: ledger.loc[case, "reason"] for case in (WITHOUT_SLIDE[0], LOST_SLIDE, LOST_PROFILE, CASES[-1])}
    assert list(reasons.values()) == ["missing_file", "missing_file", "missing_profile", ""]
    assert ledger.loc[LOST_BOTH, "reason"] == "missing_profile"


def test_each_method_has_the_samples_that_it_can_use(study):
    everyone = set(CASES) - {LOST_BOTH}
    for method, served in {
        "snn": everyone - SLIDES,
        "attmil": everyone - GENES,
        "bilinear": everyone - SLIDES - GENES,
        "concat": everyone,
        "ksfusion-student": everyone - GENES,
        # The student's teacher, which the configuration does not name.
        "ksfusion": everyone,
    }.items():
        assert set(predicted(study, method).index) == served, method


def test_the_tables_have_paired_samples_first_and_the_others_beside_them(study):
    table = study.tsv("results/tables/table1.tsv")
    sides = study.tsv("results/cohort/splits.tsv").set_index("case_id")["split"]
    assert set(table["method"]) == set(METHODS)
    whole = table[(table["metric"] == "auc") & (table["level"] == "sample") & (table["cohort"] == "all")]
    whole = whole[whole["fold"] == "all"].set_index(["modalities", "method"])["n"]
    for kind, cases, methods in (
        ("paired", set(CASES) - SLIDES - GENES - {LOST_BOTH}, METHODS),
        ("slides only", SLIDES, ["attmil", "concat", "ksfusion-student"]),
        ("genes only", GENES, ["snn", "concat"]),
    ):
        tested = [case for case in cases if sides[case] == "test"]
        assert tested, kind
        assert whole[kind].to_dict() == dict.fromkeys(methods, len(tested))
    assert "Test samples with a slide or genes alone" in (study.folder / "results/report.html").read_text()
    assert "Samples with slide and genes" in (study.folder / "results/report.html").read_text()


def test_what_reads_both_is_asked_of_paired_samples_alone(study):
    audit = pd.read_parquet(study.folder / "results/audits/mgmt/concat/fold0.parquet")
    assert not set(audit["case_id"]) & (SLIDES | GENES)
    drawn = study.tsv("results/heatmaps/mgmt/attmil/fold0/seed0/heatmaps.tsv")
    assert len(drawn) and not set(drawn["sample_id"]) & (SLIDES | GENES)


def test_dropout_redoes_the_methods_with_stand_ins_and_the_student_of_one(study):
    assert study.planned() == {}
    study.configure(training={"modality_dropout": 0})
    planned = study.planned()
    study.configure(training={"modality_dropout": 0.3})
    # concat, ksfusion for the student, and the student.
    assert planned["train_model"] == 3 and "select_genes" not in planned


def test_a_student_that_is_lost_is_trained_again_by_the_teacher_that_is_there(study):
    path = study.folder / "results/models/mgmt/ksfusion-student/fold0/seed0/model.safetensors"
    kept = path.rename(path.with_name("kept"))
    planned = study.planned(str(path.relative_to(study.folder)))
    kept.rename(path)
    assert planned == {"train_model": 1}
