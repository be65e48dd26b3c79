"""CPTAC's glioblastomas from drawn downloads: what goes where, what stays empty, and that the pipeline takes it."""

import pandas as pd
import pytest
import yaml
from drawn_cptac import ALONE, BOTH, KIDNEY, SLIDES, TWO, draw_cptac
from drawn_downloads import profile_name

from ksfusion.cli import main
from ksfusion.plan import make_plan


def build(folder, *options):
    main(["cohort", "cptac-gbm", "--cptac", str(folder / "cptac"), "--output", str(folder / "out"), *map(str, options)])
    return [
        pd.read_csv(folder / "out" / f"{name}.tsv", sep="\t", dtype=str, keep_default_na=False)
        for name in ("samples", "cases", "missing")
    ]


@pytest.fixture
def built(tmp_path):
    draw_cptac(tmp_path / "cptac")
    samples, cases, missing = build(tmp_path)
    reasons = {(row.subject, row.column): row.reason for row in missing.itertuples()}
    return samples.set_index("sample_id"), cases.set_index("case_id"), reasons


def test_slides_meet_the_profile_of_their_own_specimen(built):
    samples, _, reasons = built
    assert samples["expression_id"].to_dict() == {
        f"{BOTH}-21": profile_name(2),
        f"{BOTH}-22": profile_name(1),
        # Of two samples together: of the case, and no more is said.
        f"{TWO}-23": profile_name(3),
        f"{ALONE}-21": "",
    }
    assert set(samples["cohort"]) == {"CPTAC-GBM"} and set(samples["tumour_id"]) == {""}
    slide = samples.loc[f"{BOTH}-21"]
    assert slide["slide_specimen_id"] == slide["expression_specimen_id"] == f"{BOTH}-01"
    assert samples.at[f"{TWO}-23", "expression_specimen_id"] == ""
    assert reasons[f"{ALONE}-21", "expression_id"] == "no profile of the case was found"
    assert reasons[f"{ALONE}-21", "slide_specimen_id"].startswith("not in a table of slides")


def test_what_is_of_normal_tissue_or_another_tumour_or_nobodys_is_left_out_and_named(built):
    _, _, reasons = built
    assert {subject: reason for (subject, column), reason in reasons.items() if column == "file"} == {
        f"{TWO}-26.svs": "normal tissue",
        f"{KIDNEY}-21.svs": "of another tumour (CCRCC)",
        "scan.svs": "neither its name nor a table of slides says whose it is",
        "00000004.rna_seq.augmented_star_gene_counts.tsv": "normal tissue",
        "00000005.rna_seq.augmented_star_gene_counts.tsv": "of kidney, not of the brain",
    }


def test_what_no_source_says_stays_empty(built):
    _, cases, reasons = built
    assert cases.index.tolist() == [BOTH, ALONE, TWO]
    assert cases.loc[BOTH, ["survival_days", "event", "survival_source", "grade", "age", "sex"]].tolist() == [
        "402", "1", "GDC", "G4", "63", "male",
    ]  # fmt: skip
    # The last follow-up; GX is no grade.
    assert cases.loc[TWO, ["survival_days", "event", "grade"]].tolist() == ["731", "0", ""]
    assert (cases[["idh", "codel_1p19q", "cdkn2a"]] == "").all(axis=None)
    assert reasons[BOTH, "idh"] == "not among these downloads; give it with --known"
    assert reasons[ALONE, "survival_days"] == reasons[TWO, "grade"] == "not in the GDC's clinical data"


def test_a_molecular_table_of_ones_own_fills_in_what_is_known(built, tmp_path):
    (tmp_path / "known.tsv").write_text(f"case_id\tidh\tmgmt\n{BOTH}\tWT\tmethylated\n{TWO}\tMutant\t\n")
    _, cases, missing = build(tmp_path, "--known", tmp_path / "known.tsv")
    cases = cases.set_index("case_id")
    assert cases["idh"].to_dict() == {BOTH: "WT", ALONE: "", TWO: "Mutant"}
    assert cases.at[BOTH, "mgmt"] == "methylated"
    assert missing[missing["column"] == "idh"]["subject"].tolist() == [ALONE]


def test_without_a_table_of_slides_names_say_whose_they_are_and_contradictions_are_left_out(tmp_path):
    folder = draw_cptac(tmp_path / "cptac")
    table = folder / "CPTAC-GBM_cohort.csv"
    wrong = table.read_text().replace(f"{BOTH},{BOTH}-02,{BOTH}-22", f"{TWO},{BOTH}-02,{BOTH}-22")
    table.write_text(wrong)
    samples, _, missing = build(tmp_path)
    assert f"{BOTH}-22" not in set(samples["sample_id"])
    reasons = missing.set_index("subject")["reason"]
    assert reasons[f"{BOTH}-22.svs"] == f"its name and the table of slides say {BOTH} and {TWO}"
    table.unlink()
    samples, _, missing = build(tmp_path)
    assert {f"{case}-{slide[-2:]}" for case, _, slide, *_ in SLIDES[:4]} <= set(samples["slide_id"])
    assert set(samples["slide_specimen_id"]) == {""}
    assert "no table of slides in it" in missing.set_index("subject")["reason"][str(folder)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["cptac-gbm"], "give --cptac the folder of its downloads"),
        (["cptac-gbm", "--cptac", "cptac", "--tcga", "cptac"], "neither --tcga nor --ivygap"),
        (["glioma", "--cptac", "cptac"], "give ksfusion cohort cptac-gbm"),
        (["cptac-gbm", "--cptac", "nowhere"], "nowhere: is no folder; give --cptac the folder"),
        (["cptac-gbm", "--cptac", "empty"], "no slide and no profile of a known case was found"),
    ],
)
def test_a_mistake_is_a_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    draw_cptac(tmp_path / "cptac")
    with pytest.raises(SystemExit):
        main(["cohort", *options, "--output", "out"])
    assert message in capsys.readouterr().err


def test_the_tables_are_those_of_an_external_cohort_to_the_pipeline(built, tmp_path, monkeypatch):
    """Beside a cohort that is trained on, with its patients found by the names of its slides."""
    samples, cases, _ = built
    inside = [f"TCGA-06-{number:04d}" for number in range(12)]
    of_tcga = pd.DataFrame({"sample_id": inside, "case_id": inside, "cohort": "TCGA", "expression_id": inside})
    of_tcga["slide"] = of_tcga["case_id"] + ".svs"
    together = pd.concat([of_tcga, samples.reset_index()]).fillna("")
    together.to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    alive = pd.DataFrame({"case_id": inside, "survival_days": "100", "event": "1"})
    pd.concat([alive, cases.reset_index()]).fillna("").to_csv(tmp_path / "cases.tsv", sep="\t", index=False)
    (tmp_path / "tcga.tsv").write_text("gene\t" + "\t".join(inside) + "\nEGFR" + "\t1" * 12 + "\n")
    expression = [
        {"cohort": "TCGA", "format": "matrix", "unit": "tpm", "path": "tcga.tsv"},
        {"cohort": "CPTAC-GBM", "format": "gdc-star", "unit": "tpm", "path": "cptac/expression"},
    ]
    config = {
        "cohort": {"samples": "samples.tsv", "cases": "cases.tsv", "expression": expression},
        "splits": {"external": ["CPTAC-GBM"]},
        "tasks": ["survival"],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    plan = make_plan(config, source="config.yaml", files=[tmp_path / "config.yaml"], started_in=tmp_path)
    assert plan.stage_settings("read_expression").external == ["CPTAC-GBM"]
    assert plan.stage_settings("split_cases").splits.external == ["CPTAC-GBM"]
