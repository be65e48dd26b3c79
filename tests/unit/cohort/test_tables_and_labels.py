"""Tables of samples and cases, labels, splits and the ledger."""

import h5py
import pandas as pd
import pytest

from ksfusion.cohort.config import CohortFiles, Labelling
from ksfusion.cohort.labels import contradiction, diagnose, label_cases
from ksfusion.cohort.ledger import sample_ledger, slide_ledger
from ksfusion.cohort.samples import read_cohort
from ksfusion.core.errors import UserError
from ksfusion.results.tasks import BUILTIN_TASKS

CASES = "case_id\tidh\tcodel_1p19q\tcdkn2a\tgrade\tsurvival_days\tevent\nA\tWT\tnon-codel\tintact\tG4\t400\t1\n"
COHORTS = ["TCGA"]
SAMPLES = "sample_id\tcase_id\tcohort\tslide\texpression_id\nA-1\tA\tTCGA\tslides/A-1.svs\tP1\n"


def write(folder, samples=SAMPLES, cases=CASES):
    (folder / "samples.tsv").write_text(samples)
    (folder / "cases.tsv").write_text(cases)
    return CohortFiles(samples=str(folder / "samples.tsv"), cases=str(folder / "cases.tsv"))


def problems(files, tasks=BUILTIN_TASKS):
    with pytest.raises(UserError) as caught:
        read_cohort(files, tasks, COHORTS)
    return str(caught.value).splitlines()


def test_a_slide_is_named_by_its_file(tmp_path):
    tables = read_cohort(write(tmp_path), BUILTIN_TASKS, COHORTS)
    assert [row["slide_id"] for row in tables.samples] == ["A-1"]


def test_what_spreadsheets_leave_in_a_table_is_read_through(tmp_path):
    from ksfusion.slides.reading.slide_files import slide_sources

    files = write(tmp_path)
    table = (
        SAMPLES.replace("slides/A-1.svs", ' slides/A "1".svs ').replace("P1", "P1\t0.25").replace("_id\n", "_id\tmpp\n")
    )
    table = table.replace("slide\t", "slide\tslide_id\t").replace(".svs \t", ".svs \tA-1\t")
    (tmp_path / "samples.tsv").write_bytes(b"\xef\xbb\xbf" + table.replace("\n", "\r\n").encode() + b"\r\n")
    (row,) = read_cohort(files, BUILTIN_TASKS, COHORTS).samples
    assert (row["slide"], row["slide_id"], row["mpp"]) == ('slides/A "1".svs', "A-1", "0.25")
    # The stages that read slides see the same table.
    assert slide_sources(tmp_path / "samples.tsv") == {"A-1": ('slides/A "1".svs', 0.25)}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("A-1\tA\tTCGA\tslides/other.svs\tP2", ["sample_id 'A-1' already stands in row 2", "rename"]),
        ("A-2\tB\tTCGA\tslides/A-2.svs\tP2", ["case_id 'B' is not in", "add the case"]),
        ("../x\tA\tTCGA\tslides/A-2.svs\tP2", ["sample_id is '../x'", "the first a letter"]),
        ("A-2\t\tTCGA\tslides/A-2.svs\tP2", ["case_id is empty"]),
        ("A-2\tA\tTCGA\tother/A-1.svs\tP2", ["slide_id 'A-1' has slide 'other/A-1.svs'", "row 2"]),
        ("A-2\tA\tIVY\tslides/A-2.svs\tP2", ["cohort 'IVY' has no source", "TCGA"]),
        ("A-2\tA\ttcga\tslides/A-2.svs\tP2", ["cohort 'tcga' has no source", "did you mean TCGA?"]),
        ("A-2\tA\tTCGA\tslides/A 2.svs\tP2", ["slide_id is 'A 2'"]),
        ("A-2\tA\tTCGA\tslides/{x}/A-2.svs\tP2", ["{x}", "rename"]),
        ("A-2\tA\tTCGA", ["has 3 fields, the header has 5"]),
    ],
)
def test_a_wrong_sample_is_one_line_with_its_row(tmp_path, row, words):
    (line,) = problems(write(tmp_path, samples=SAMPLES + row + "\n"))
    assert all(word in line for word in ["samples.tsv: row 3: ", *words]), line


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("B\twildtype\t\t\t\t\t", ["idh is 'wildtype'", "WT or Mutant"]),
        ("B\tWT\tnone\t\t\t\t", ["codel_1p19q is 'none'"]),
        ("B\tWT\t\tlost\t\t\t", ["cdkn2a is 'lost'"]),
        ("B\tWT\t\t\t4\t\t", ["grade is '4'", "G2 or G3 or G4"]),
        ("B\tWT\t\t\t\t-3\t1", ["survival_days is '-3'", "above 0"]),
        ("B\tWT\t\t\t\tinf\t1", ["survival_days is 'inf'"]),
        ("B\tWT\t\t\t\t30\tdead", ["event is 'dead'", "0 or 1 (1: died, 0: alive when last seen)"]),
        ("A\tWT\t\t\t\t30\t1", ["case_id 'A' already stands in row 2"]),
    ],
)
def test_a_wrong_case_is_one_line_with_its_row(tmp_path, row, words):
    (line,) = problems(write(tmp_path, cases=CASES + row + "\n"))
    assert all(word in line for word in ["cases.tsv: row 3: ", *words]), line


def test_all_problems_of_both_tables_are_listed_at_once(tmp_path):
    cases = CASES + "B\twild\t\t\t5\t\t2\n"
    samples = SAMPLES + "A-1\tC\tTCGA\tslides/A-9.svs\tP9\n" + "-x\tA\tTCGA\t\t\n"
    assert len(problems(write(tmp_path, samples, cases))) == 3 + 2 + 1


def test_a_missing_table_and_a_missing_column(tmp_path):
    files = write(tmp_path, samples=SAMPLES.replace("expression_id", "profile"))
    (tmp_path / "cases.tsv").unlink()
    lines = problems(files)
    assert any("cases.tsv: cannot be read" in line for line in lines)
    assert any("column expression_id is missing" in line for line in lines)


def test_a_misspelt_column_is_not_ignored(tmp_path):
    table = SAMPLES.replace("expression_id", "expression_id\tMPP").replace("P1", "P1\t0.25")
    (line,) = problems(write(tmp_path, samples=table))
    assert "unknown column MPP" in line and "mpp" in line


def test_a_task_names_a_column_that_is_not_there(tmp_path):
    task = Labelling(kind="classification", column="mgmt", classes=["no", "yes"])
    (line,) = problems(write(tmp_path), {"mgmt": task})
    assert "column mgmt is missing, task mgmt needs it" in line


def test_one_file_under_two_ids_is_refused(tmp_path):
    table = SAMPLES.replace("expression_id", "expression_id\tslide_id").replace("P1", "P1\tA-1")
    (line,) = problems(write(tmp_path, table + "A-2\tA\tTCGA\tslides/A-1.svs\tP1\tA-2\n"))
    assert "slide 'slides/A-1.svs' has slide_id 'A-2'" in line and "one file is one slide" in line


def test_a_known_column_in_other_letters_is_not_ignored(tmp_path):
    (line,) = problems(write(tmp_path, cases=CASES.replace("grade", "Grade")))
    assert "column Grade must be written grade" in line


def test_classes_that_no_value_can_have_are_refused(tmp_path):
    task = Labelling(kind="classification", column="grade", classes=["II", "III", "IV"])
    (line,) = problems(write(tmp_path), {"grading": task})
    assert "row 2: grade is 'G4'; write II or III or IV, or leave it empty" in line
    (line,) = problems(write(tmp_path), {**BUILTIN_TASKS, "own": task})
    assert "classes II, III, IV are not values of column grade, which the diagnosis is derived from" in line


def test_a_slide_or_profile_of_two_cases_is_refused(tmp_path):
    cases = CASES + "B\tWT\t\t\t\t\t\n"
    lines = problems(write(tmp_path, SAMPLES + "B-1\tB\tTCGA\tslides/A-1.svs\tP1\n", cases))
    assert any("slide_id 'A-1' has case_id 'B'" in line for line in lines)
    assert any("expression_id 'P1' has case_id 'B'" in line for line in lines)


# The truth table of the integrated diagnosis, row by row (paper; WHO 2021 for the markers).
@pytest.mark.parametrize(
    ("idh", "codel", "cdkn2a", "grade", "diagnosis"),
    [
        ("WT", "", "", "", "glioblastoma"),
        ("WT", "non-codel", "intact", "G2", "glioblastoma"),
        ("WT", "codel", "intact", "G3", "glioblastoma"),
        ("Mutant", "codel", "", "", "oligodendroglioma"),
        ("Mutant", "codel", "homdel", "G3", "oligodendroglioma"),
        ("Mutant", "non-codel", "", "G4", "astrocytoma_g4"),
        ("Mutant", "non-codel", "intact", "G4", "astrocytoma_g4"),
        ("Mutant", "non-codel", "homdel", "", "astrocytoma_g4"),
        ("Mutant", "non-codel", "homdel", "G2", "astrocytoma_g4"),
        ("Mutant", "non-codel", "intact", "G2", "astrocytoma"),
        ("Mutant", "non-codel", "intact", "G3", "astrocytoma"),
        ("Mutant", "non-codel", "intact", "", ""),
        ("Mutant", "non-codel", "", "G3", ""),
        ("Mutant", "", "homdel", "G4", ""),
        ("", "codel", "intact", "G3", ""),
    ],
)
def test_diagnosis_follows_from_the_markers(idh, codel, cdkn2a, grade, diagnosis):
    derived, reason = diagnose(idh, codel, cdkn2a, grade)
    assert derived == diagnosis
    assert bool(reason) == (diagnosis == "")


def test_contradictory_markers_are_named():
    assert "wildtype" in contradiction("WT", "codel", "G3")
    assert "grade 4" in contradiction("Mutant", "codel", "G4")
    assert not contradiction("Mutant", "codel", "G3")


def test_labels_are_the_papers_class_numbers():
    cases = pd.DataFrame(
        {
            "case_id": ["A", "B", "C", "D", "E"],
            "idh": ["WT", "Mutant", "Mutant", "Mutant", ""],
            "codel_1p19q": ["", "non-codel", "non-codel", "codel", ""],
            "cdkn2a": ["", "homdel", "intact", "", ""],
            "grade": ["G4", "G3", "G2", "G3", ""],
            "survival_days": ["10", "20", "", "40", "50"],
            "event": ["1", "0", "1", "", "1"],
        }
    )
    labelled, findings = label_cases(cases, BUILTIN_TASKS)
    assert labelled["label_diagnosis"].tolist()[:4] == [0, 1, 2, 3]
    assert labelled["label_grading"].tolist()[:4] == [2, 1, 0, 1]
    assert labelled["label_diagnosis"].isna().tolist() == [False] * 4 + [True]
    assert labelled["days_survival"].isna().tolist() == [False, False, True, True, False]
    assert labelled["event_survival"].dropna().tolist() == [1, 0, 1]
    without = {(finding["check"], finding["subject"]) for finding in findings}
    assert without == {
        ("no_label_diagnosis", "E"),
        ("no_label_grading", "E"),
        ("no_label_survival", "C"),
        ("no_label_survival", "D"),
    }


def test_ledger_says_what_a_sample_lacks():
    samples = pd.DataFrame(
        [
            ("s1", "A", "TCGA", "good", "P1"),
            ("s2", "A", "TCGA", "bad", "P1"),
            ("s3", "A", "TCGA", "good", "P9"),
            ("s4", "A", "TCGA", "", "P1"),
            ("s5", "B", "TCGA", "good", "P1"),
        ],
        columns=["sample_id", "case_id", "cohort", "slide_id", "expression_id"],
    )
    slides = pd.DataFrame({"slide_id": ["good", "bad"], "status": ["ok", "failed"], "reason": ["", "no_tissue"]})
    ledger = sample_ledger(samples, slides, {("TCGA", "P1")}, {"A"}, pairing="any").set_index("sample_id")
    assert ledger["reason"].to_dict() == {
        "s1": "",
        "s2": "no_tissue",
        "s3": "missing_profile",
        "s4": "missing_file",
        "s5": "missing_label",
    }
    assert ledger["status"].to_dict()["s1"] == "ok"
    assert set(ledger["status"].iloc[1:]) == {"excluded"}


def test_the_closest_pairing_of_a_slide_is_kept_among_the_usable():
    columns = ["sample_id", "case_id", "cohort", "slide_id", "expression_id", "pairing"]
    rows = [
        ("s1", "A", "X", "one", "P1", "specimen"),
        ("s2", "A", "X", "one", "P2", "block"),
        ("s3", "A", "X", "two", "lost", "specimen"),
        ("s4", "A", "X", "two", "P3", "tumour"),
        ("s5", "A", "X", "two", "P4", "tumour"),
        ("s6", "A", "X", "two", "P5", "case"),
    ]
    samples = pd.DataFrame(rows, columns=columns)
    slides = pd.DataFrame({"slide_id": ["one", "two"], "status": "ok", "reason": ""})
    profiles = {("X", f"P{number}") for number in range(1, 6)}
    reasons = [
        sample_ledger(samples, slides, profiles, {"A"}, pairing=pairing).set_index("sample_id")["reason"].to_dict()
        for pairing in ("any", "closest")
    ]
    assert reasons[0] == {"s1": "", "s2": "", "s3": "missing_profile", "s4": "", "s5": "", "s6": ""}
    assert reasons[1] == reasons[0] | {"s2": "excluded_by_pairing", "s6": "excluded_by_pairing"}


def test_the_ledger_of_slides_has_the_shares_of_flagged_tiles(tmp_path):
    about = {"mpp": 0.5, "mpp_source": "header", "width": 999, "height": 999, "tissue_mm2": 0.05}
    tiles = pd.DataFrame({"slide_id": ["A"] * 4 + ["B"], "tile": [0, 1, 2, 3, -1], "mask": ["external"] * 4 + [""]})
    tiles = tiles.assign(**about, pen=False, fold=[True, False, False, False, False], blur=[True] * 3 + [False] * 2)
    tiles.to_parquet(tmp_path / "7.parquet")
    stain = pd.DataFrame({"slide_id": ["A", "B"], "status": ["ok", "failed"], "reason": ["", "no_tissue"]})
    stain.to_parquet(tmp_path / "stain.parquet")
    pd.DataFrame({"slide_id": ["A"] * 4 + ["B"], "tile": [0, 1, 2, 0, -1]}).to_parquet(tmp_path / "patches.parquet")
    with h5py.File(tmp_path / "features.h5", "w") as file:
        for row in stain.itertuples():
            file.create_group(row.slide_id).attrs.update({"status": row.status, "reason": row.reason})
    files = [[tmp_path / name] for name in ("7.parquet", "stain.parquet", "patches.parquet", "features.h5")]
    ledger = slide_ledger(*files).set_index("slide_id")
    assert ledger.loc["A", ["tiles", "pen", "fold", "blur"]].tolist() == [4, 0.0, 0.25, 0.75]
    assert ledger.loc["A", ["mask", "unique_patches", "repeated_patches"]].tolist() == ["external", 3, 1]
    assert ledger.loc["B", ["pen", "fold", "blur"]].isna().all()


def test_the_ledger_of_slides_counts_however_their_rows_lie(tmp_path):
    about = {"mpp_source": "header", "width": 9, "height": 9, "tissue_mm2": 0.1, "masks_origin": ""}
    names, tile = list("BBAAACAAB"), [0, 1, 0, 1, 2, -1, 3, 4, 2]
    rows = pd.DataFrame({"slide_id": names, "tile": tile, "mask": "automatic", "tissue_share": 0.2, **about})
    # Of a slide, what stands in its first row counts.
    rows = rows.assign(mpp=[number / 10 for number in range(9)], pen=[True] * 5 + [False] * 4, fold=False, blur=False)
    rows.to_parquet(tmp_path / "3.parquet", row_group_size=2)
    rows.head(0).to_parquet(tmp_path / "5.parquet")
    status = pd.DataFrame({"slide_id": list("ABC"), "status": "ok", "reason": ""})
    status.to_parquet(tmp_path / "stain.parquet")
    with h5py.File(tmp_path / "features.h5", "w") as file:
        for slide_id in "ABC":
            file.create_group(slide_id).attrs.update({"status": "ok", "reason": ""})
    tables = [tmp_path / "3.parquet", tmp_path / "5.parquet"]
    ledger = slide_ledger(tables, [tmp_path / "stain.parquet"], tables, [tmp_path / "features.h5"])
    columns = ["slide_id", "batch", "mpp", "tiles", "pen", "unique_patches", "repeated_patches"]
    assert ledger[columns].fillna("none").to_numpy().tolist() == [
        ["A", "3", 0.2, 5, 0.6, 5, 0],
        ["B", "3", 0.0, 3, 0.6667, 3, 0],
        ["C", "3", 0.5, 0, "none", 0, 0],
    ]


def test_the_ledger_of_slides_has_where_masks_start_and_the_share_of_tissue(tmp_path):
    about = {"mpp": 0.5, "mpp_source": "header", "width": 999, "height": 999, "tissue_mm2": 0.05}
    tiles = pd.DataFrame({"slide_id": ["A", "B"], "tile": [0, -1], "mask": ["external", ""]})
    tiles = tiles.assign(**about, pen=False, fold=False, blur=False)
    features = tmp_path / "features.h5"
    with h5py.File(features, "w") as file:
        for slide_id in "AB":
            file.create_group(slide_id).attrs.update({"status": "ok", "reason": ""})
    found = tiles.assign(masks_origin=["bounds", ""], tissue_share=[0.123456, float("nan")])
    for table, expected in ((found, ["bounds", 0.1235]), (tiles, [None, None])):  # an earlier version has neither
        table.to_parquet(tmp_path / "0.parquet")
        ledger = slide_ledger([tmp_path / "0.parquet"], [], [tmp_path / "0.parquet"], [features])
        row = ledger.set_index("slide_id").loc["A", ["masks_origin", "tissue_share"]]
        assert row.where(row.notna(), None).tolist() == expected


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["samples", "cases"])
@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a git-LFS pointer, not the data"),
        (b"<!DOCTYPE html>\n<html>\n", "is a web page, not data"),
    ],
)
def test_what_stands_in_a_tables_place_is_named(tmp_path, name, start, message, mark):
    files = write(tmp_path)
    (tmp_path / f"{name}.tsv").write_bytes(mark + start)
    (line,) = problems(files, {})
    assert f"{name}.tsv: {message}" in line


def test_a_number_with_an_underscore_is_none(tmp_path):
    (line,) = problems(write(tmp_path, cases=CASES.replace("\t400\t", "\t1_000\t")))
    assert "cases.tsv: row 2: survival_days is '1_000'; a time in days is a number above 0" in line


def test_with_any_a_slide_or_a_profile_alone_is_in_use_and_the_ledger_says_what_it_lacks():
    rows = [
        ("both", "A", "X", "good", "P1", "specimen"),
        ("no slide named", "A", "X", "", "P2", ""),
        ("slide failed", "A", "X", "bad", "P3", "block"),
        ("no profile named", "A", "X", "other", "", ""),
        ("profile lost", "A", "X", "other", "P9", "block"),
        ("neither", "A", "X", "", "P9", ""),
        ("neither, failed", "A", "X", "bad", "P9", "block"),
        ("no label", "B", "X", "good", "", ""),
    ]
    samples = pd.DataFrame(rows, columns=["sample_id", "case_id", "cohort", "slide_id", "expression_id", "pairing"])
    slides = pd.DataFrame({"slide_id": ["good", "other", "bad"], "status": ["ok", "ok", "failed"]})
    slides["reason"] = ["", "", "no_tissue"]
    profiles = {("X", f"P{number}") for number in range(1, 4)}
    for pairing in ("any", "closest"):
        ledger = sample_ledger(samples, slides, profiles, {"A"}, pairing=pairing, require="any").set_index("sample_id")
        assert ledger[["status", "modalities", "reason"]].apply(tuple, axis=1).to_dict() == {
            "both": ("ok", "paired", ""),
            "no slide named": ("ok", "genes only", "missing_file"),
            "slide failed": ("ok", "genes only", "no_tissue"),
            "no profile named": ("ok", "slides only", "missing_profile"),
            "profile lost": ("ok", "slides only", "missing_profile"),
            "neither": ("excluded", "", "missing_profile"),
            "neither, failed": ("excluded", "", "no_tissue"),
            "no label": ("excluded", "", "missing_label"),
        }
    paired = sample_ledger(samples, slides, profiles, {"A"}, pairing="any").set_index("sample_id")
    assert paired.loc["both", "modalities"] == "paired" and (paired["status"] == "ok").sum() == 1


def test_the_ledger_of_a_paired_study_is_the_same_with_any():
    rows = [
        ("s1", "A", "X", "one", "P1", "case"),
        ("s2", "B", "X", "two", "P2", "case"),
        ("s3", "C", "X", "two", "P2", ""),
    ]
    columns = ["sample_id", "case_id", "cohort", "slide_id", "expression_id", "pairing"]
    samples, profiles = pd.DataFrame(rows, columns=columns), {("X", "P1"), ("X", "P2")}
    slides = pd.DataFrame({"slide_id": ["one", "two"], "status": "ok", "reason": ""})
    for pairing in ("any", "closest"):
        of_both = [
            sample_ledger(samples, slides, profiles, {"A", "B"}, pairing=pairing, require=require)
            for require in ("paired", "any")
        ]
        pd.testing.assert_frame_equal(*of_both)
