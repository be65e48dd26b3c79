"""The glioma cohort from drawn downloads: what goes where, what stays empty and why, and that the pipeline takes it."""

import logging

import pandas as pd
import pytest
import yaml
from drawn_downloads import GBM, LGG, NO_SLIDE, OLD, UNDATED, draw_ivygap, draw_tcga, profile_name

from ksfusion.cli import main
from ksfusion.core.parquet import read_parquet
from ksfusion.core.resources import resource
from ksfusion.genes.config import ReadExpressionSettings
from ksfusion.plan import make_plan
from ksfusion.stages.read_expression import read_expression


def build(folder, caplog, *options):
    caplog.clear()
    with caplog.at_level(logging.INFO):
        main(["cohort", "glioma", "--output", str(folder / "out"), *map(str, options)])
    tables = {
        name: pd.read_csv(folder / "out" / f"{name}.tsv", sep="\t", dtype=str, keep_default_na=False)
        for name in ("samples", "cases", "missing")
    }
    return *tables.values(), caplog.text


@pytest.fixture
def tcga(tmp_path, caplog):
    samples, cases, missing, printed = build(tmp_path, caplog, "--tcga", draw_tcga(tmp_path / "tcga"))
    reasons = {(row.subject, row.column): row.reason for row in missing.itertuples()}
    return samples.set_index("sample_id"), cases.set_index("case_id"), reasons, printed


def test_slides_meet_the_profile_taken_closest(tcga):
    samples, _, reasons, _ = tcga
    paired = samples["expression_id"].to_dict()
    assert paired == {
        # Both are of the primary tumour; the profile of the recurrence comes first by its id.
        f"{GBM}-01Z-00-DX1.AAAA": profile_name(2),
        f"{LGG}-01Z-00-DX1.BBBB": profile_name(3),
        f"{LGG}-02A-01-TS1.CCCC": profile_name(6),
        f"{OLD}-01Z-00-DX1.DDDD": "",
        f"{UNDATED}-01Z-00-DX1.FFFF": "",
        profile_name(4): profile_name(4),
    }
    slide = samples.loc[f"{LGG}-02A-01-TS1.CCCC"]
    assert slide["case_id"] == LGG and slide["site"] == "HT" and slide["tumour_id"] == f"{LGG}-02"
    assert slide["slide_specimen_id"] == slide["expression_specimen_id"] == f"{LGG}-02A"
    assert samples.at[profile_name(4), "case_id"] == NO_SLIDE
    assert reasons[f"{OLD}-01Z-00-DX1.DDDD", "expression_id"] == "no profile of the case was found"
    assert reasons[profile_name(4), "slide"] == "no slide of the case was found"


def test_files_that_are_not_of_a_tumour_or_a_case_are_named(tcga):
    _, _, reasons, printed = tcga
    left_out = {subject: reason for (subject, column), reason in reasons.items() if column == "file"}
    assert left_out == {
        "scan.svs": "not in a sample sheet",
        f"{GBM}-11A-01-TS1.EEEE.svs": "normal tissue",
        "e.rna_seq.augmented_star_gene_counts.tsv": "normal tissue",
    }
    assert "file: 2 x normal tissue\n" in printed


def test_survival_in_both_schemas_of_the_gdc_else_from_the_marker_table(tcga):
    _, cases, reasons, printed = tcga
    survival = cases[["survival_days", "event", "survival_source"]].apply(tuple, axis=1).to_dict()
    assert survival == {
        GBM: ("1448", "1", "GDC"),
        LGG: ("2000", "0", "GDC"),
        OLD: ("812", "0", "GDC"),
        # Ten months of 30.4375 days.
        UNDATED: ("304.4", "1", "Ceccarelli 2016"),
        NO_SLIDE: ("", "", ""),
    }
    assert reasons[NO_SLIDE, "event"] == "not in the GDC's clinical data or the marker table (S1A)"
    assert (UNDATED, "survival_days") not in reasons
    assert "survival_days: days; months of the marker table count 30.4375 days each" in printed
    assert cases["age"].to_dict() == {GBM: "63", LGG: "37", OLD: "", UNDATED: "", NO_SLIDE: ""}
    assert cases["sex"].to_dict() == {GBM: "female", LGG: "", OLD: "", UNDATED: "male", NO_SLIDE: ""}


def test_markers_stay_empty_where_no_source_has_them(tcga):
    _, cases, reasons, _ = tcga
    markers = cases[["idh", "codel_1p19q", "cdkn2a", "grade"]].apply(tuple, axis=1).to_dict()
    assert markers == {
        # -2 in the primary tumour counts, whatever the recurrence has; -1 is no homozygous deletion.
        GBM: ("WT", "non-codel", "homdel", "G4"),
        LGG: ("Mutant", "codel", "intact", "G3"),
        OLD: ("", "", "", "G2"),
        UNDATED: ("", "", "", "G4"),
        NO_SLIDE: ("", "", "", ""),
    }
    assert reasons[OLD, "idh"] == "not in the marker table (S1A)"
    assert reasons[OLD, "cdkn2a"] == "not in the copy number table"
    assert reasons[UNDATED, "cdkn2a"] == "no copy number call"
    assert reasons[LGG, "grade"] == "the marker table says G3 (used), the GDC G2"
    assert not any(subject == "TCGA-99-9999" for subject, _ in reasons)


def test_ivygap_has_no_vital_status_and_no_markers(tmp_path, caplog):
    samples, cases, missing, printed = build(tmp_path, caplog, "--ivygap", draw_ivygap(tmp_path / "ivygap"))
    cases = cases.set_index("case_id")
    # Two tumours of one patient are one case.
    assert cases.index.tolist() == ["W1", "W22"]
    assert cases.loc["W1", ["survival_days", "event", "survival_source", "age"]].tolist() == ["105", "", "IvyGAP", "66"]
    assert (cases[["idh", "codel_1p19q", "cdkn2a", "grade", "event"]] == "").all(axis=None)
    rows = samples.set_index("sample_id")
    assert rows["tumour_id"].to_dict() == {
        "W1-1-2-D.2.01_1001": "W1-1-2",
        "W1-1-2-D.2.05_297710602_1002": "W1-1-2",
        "W22-1-1-H.03_1003": "W22-1-1",
        "W22-2-1-B.03_9": "W22-2-1",
    }
    # The same specimen, the same block, then only the same tumour.
    assert rows["expression_id"].to_dict() == {
        "W1-1-2-D.2.01_1001": "300173636",
        "W1-1-2-D.2.05_297710602_1002": "300173636",
        "W22-1-1-H.03_1003": "304950300",
        "W22-2-1-B.03_9": "305461082",
    }
    of_block = rows.loc["W1-1-2-D.2.05_297710602_1002"]
    assert of_block["slide_block_id"] == of_block["expression_block_id"] == "W1-1-2-D.2"
    assert of_block["slide_specimen_id"] == "W1-1-2-D.2.05" and of_block["expression_specimen_id"] == "W1-1-2-D.2.01"
    assert "event: 2 x IvyGAP does not publish it; give it with --known" in printed
    assert "mpp: 4 x IvyGAP's images do not say their scale; give --ivygap-mpp" in printed
    assert missing.loc[missing["column"] == "file", "subject"].tolist() == ["x.jpg"]


def test_sources_that_are_not_there_are_named(tmp_path, caplog):
    tcga = draw_tcga(tmp_path / "tcga")
    # As the journal names it, and a workbook: not what is read.
    (tcga / "ceccarelli_S1A.csv").rename(tcga / "mmc2.xlsx")
    (tcga / "data_cna.txt").unlink()
    ivygap = draw_ivygap(tmp_path / "ivygap")
    (ivygap / "tumor_details.csv").unlink()
    *_, printed = build(tmp_path, caplog, "--tcga", tcga, "--ivygap", ivygap)
    assert "file: 1 x no marker table in it (*ceccarelli* or *S1A*)\n" in printed
    assert "file: 1 x no copy number table in it (*cna* or *CNA*)\n" in printed
    assert "file: 1 x no table of tumours in it (tumor_details.csv)\n" in printed
    assert "survival_days: 2 x not in tumor_details.csv\n" in printed
    assert "idh: 5 x not in the marker table (S1A)\n" in printed


def test_what_the_user_knows_wins(tmp_path, caplog):
    (tmp_path / "known.tsv").write_text(
        "case_id\tevent\tidh\tgrade\nW1\t1\tWT\tG4\nW22\t\t\t\nW99\t1\tWT\tG4\n", encoding="utf-8"
    )
    folder = draw_ivygap(tmp_path / "ivygap")
    options = ("--ivygap", folder, "--known", tmp_path / "known.tsv", "--ivygap-mpp", "0.5")
    samples, cases, missing, _ = build(tmp_path, caplog, *options)
    assert cases.set_index("case_id").loc["W1", ["idh", "grade", "event", "survival_days"]].tolist() == [
        "WT", "G4", "1", "105",
    ]  # fmt: skip
    assert set(samples["mpp"]) == {"0.5"}
    assert ("W99", "case_id") in set(zip(missing["subject"], missing["column"], strict=True))
    assert not ((missing["subject"] == "W1") & (missing["column"] == "idh")).any()


def test_a_slide_that_is_no_slide_is_named(tmp_path, caplog):
    tcga = draw_tcga(tmp_path / "tcga")
    slide = tcga / "slides/s1" / f"{GBM}-01Z-00-DX1.AAAA.svs"
    for content, reason in {
        "<!DOCTYPE html>": "is a web page, not data; the download failed, fetch it again",
        "version https://git-lfs": "is a git-LFS pointer, not the data; fetch it with git lfs pull",
        "": "is empty; download it again",
    }.items():
        slide.write_text(content)
        samples, _, missing, printed = build(tmp_path, caplog, "--tcga", tcga)
        assert slide.as_posix() in set(samples["slide"])
        assert missing.loc[missing["subject"] == slide.stem, ["column", "reason"]].to_numpy().tolist() == [
            ["slide", reason]
        ]
        assert f"slide: 1 x {reason}" in printed


def test_all_pairs_of_a_case(tmp_path, caplog):
    samples, *_ = build(tmp_path, caplog, "--tcga", draw_tcga(tmp_path / "tcga"), "--pairs", "all")
    of_case = samples[samples["case_id"] == LGG]
    slides = [f"{LGG}-01Z-00-DX1.BBBB", f"{LGG}-02A-01-TS1.CCCC"]
    pairs = {(slide, profile_name(number)) for slide in slides for number in (3, 6)}
    assert set(zip(of_case["slide_id"], of_case["expression_id"], strict=True)) == pairs
    tumours = of_case.set_index("sample_id")["tumour_id"]
    assert tumours[f"{slides[0]}_{profile_name(3)}"] == f"{LGG}-01"
    # A slide of the primary and a profile of the recurrence share the case alone.
    assert tumours[f"{slides[0]}_{profile_name(6)}"] == ""


def test_the_pipeline_takes_what_the_verb_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_tcga(tmp_path / "data/tcga")
    draw_ivygap(tmp_path / "data/ivygap")
    options = ["--tcga", "data/tcga", "--ivygap", "data/ivygap", "--ivygap-mpp", "0.5", "--output", "data"]
    main(["cohort", "glioma", *options])
    # The configuration that is shipped for this cohort, as it stands.
    plan = make_plan(yaml.safe_load(resource("cohorts/glioma.yaml").read_text()), source="glioma.yaml")
    assert len(plan.tables.slides()) == 9
    raw = [path for batch in plan.batches for path in plan.raw_slides(batch)]
    assert len(raw) == 9

    files = [tmp_path / name for name in ("samples.parquet", "cases.parquet", "audit.tsv")]
    names = ("samples-output", "cases-output", "audit")
    options = [f"--{name}={file}" for name, file in zip(names, files, strict=True)]
    main(["check-cohort", "--settings", plan.settings("check_cohort"), *options])
    # -2 of CDKN2A and WT: glioblastoma (0); mutant with codeletion: oligodendroglioma (3).
    diagnosis = read_parquet(files[1]).set_index("case_id")["label_diagnosis"]
    assert diagnosis[[GBM, LGG]].tolist() == [0, 3]
    assert diagnosis.drop([GBM, LGG]).isna().all()

    settings = ReadExpressionSettings(sources=plan.config.cohort.expression)
    read_expression(tmp_path / "profiles.parquet", settings=settings)
    profiles = read_parquet(tmp_path / "profiles.parquet")
    found = set(zip(profiles["cohort"], profiles["expression_id"], strict=True))
    named = {(row["cohort"], row["expression_id"]) for row in plan.tables.samples if row["expression_id"]}
    assert named <= found


def test_broken_downloads_give_one_line(tmp_path, capsys, caplog):
    def refused(*options):
        with pytest.raises(SystemExit):
            main(["cohort", "glioma", "--output", str(tmp_path / "out"), *map(str, options)])
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        return printed

    assert "no slide and no profile of a known case" in refused()
    assert "none: is no folder; give --tcga" in refused("--tcga", tmp_path / "none")
    tcga = draw_tcga(tmp_path / "tcga")
    files = {
        "clinical.cart.2025-09-30.json": ('[{"submitter_id": "TCGA', "is not complete JSON; download it again"),
        "ceccarelli_S1A.csv": ("Case;Grade\nTCGA-06-0125;G4\n", "its columns are separated by ';'"),
        "data_cna.txt": (f"Hugo_Symbol\t{GBM}-01\nCDKN2A\t-1.37\n", "is -1.37; the table of discrete copy numbers"),
        "gdc_sample_sheet.2025-09-30.tsv": ("<html>log in</html>", "is a web page, not data"),
        "gdc_sample_sheet.2023-01-01.tsv": ("File ID\tFile Name\tCase ID\nu\tx\ty\n", "no column Sample ID; is it"),
        "clinical.tsv": ("version https://git-lfs.github.com/spec/v1\n", "is a git-LFS pointer"),
    }
    pairs = [(name, *broken) for name, broken in files.items()]
    pairs += [("clinical.cart.2025-09-30.json", '["TCGA-06-0125"]', "is not the GDC's clinical JSON")]
    pairs += [("clinical.cart.2025-09-30.json", '[{"case_id": "0f2b"}]', "a case has no submitter_id")]
    pairs += [("clinical.tsv", "case_id\tvital_status\n0f2b\tDead\n", "no column case_submitter_id or cases.submitter")]
    pairs += [("ceccarelli_S1A.csv", "x" * 200_000 + ",y\n", "row 1: is not a regular table (field larger than")]
    for name, content, message in pairs:
        kept = (tcga / name).read_text()
        (tcga / name).write_text(content)
        printed = refused("--tcga", tcga)
        assert f"error: {tcga / name}" in printed and message in printed
        (tcga / name).write_text(kept)
    (tcga / "data_cna.txt").write_text(f"Hugo_Symbol\t{GBM}-01\nCDKN2B\t-2\n")
    assert "no row CDKN2A; download the whole study" in refused("--tcga", tcga)
    (tcga / "data_cna.txt").unlink()
    # As cBioPortal saves a query: samples x genes.
    (tcga / "cna.txt").write_text(f"STUDY_ID\tSAMPLE_ID\tCDKN2A\ngbm_tcga\t{GBM}-01\t-2\n")
    cases = build(tmp_path, caplog, "--tcga", tcga)[1].set_index("case_id")
    assert cases["cdkn2a"].to_dict() == {GBM: "homdel", LGG: "", OLD: "", UNDATED: "", NO_SLIDE: ""}


@pytest.mark.parametrize("new_columns", [True, False])
def test_clinical_tsv_of_old_and_new_downloads(tmp_path, caplog, new_columns):
    tcga = draw_tcga(tmp_path / "tcga")
    (tcga / "clinical.cart.2025-09-30.json").unlink()
    if new_columns:
        header = ["project.project_id", "cases.case_id", "cases.submitter_id", "demographic.vital_status"]
        header += ["demographic.days_to_death", "diagnoses.days_to_last_follow_up", "diagnoses.submitter_id"]
        rows = [header, ["TCGA-LGG", "0f2b", LGG, "Alive", "'--", "'--", f"{LGG}_diagnosis"]]
        (tcga / "clinical.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")
        follow_up = [["cases.submitter_id", "follow_ups.days_to_follow_up"], [LGG, "700"], [LGG, "903"], [LGG, "'--"]]
        (tcga / "follow_up.tsv").write_text("\n".join("\t".join(row) for row in follow_up) + "\n")
        expected = ("903", "0")
    else:
        header = ["case_id", "case_submitter_id", "vital_status", "days_to_death", "days_to_last_follow_up"]
        rows = [header, ["0f2b", LGG, "Dead", "512", "480"]]
        (tcga / "clinical.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")
        expected = ("512", "1")
    cases = build(tmp_path, caplog, "--tcga", tcga)[1].set_index("case_id")
    assert tuple(cases.loc[LGG, ["survival_days", "event"]]) == expected
