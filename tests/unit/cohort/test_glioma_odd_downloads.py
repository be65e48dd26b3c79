"""Downloads that differ from the usual: read where they say what is meant, else refused in one line."""

import json

import pandas as pd
import pytest
from drawn_downloads import GBM, LGG, OLD, draw_ivygap, draw_tcga, write_sheet
from layouts import ENDING, GDC_ROWS, SHEET_HEADER, write_gdc

from ksfusion.cli import main
from ksfusion.cohort.config import SplitCasesSettings
from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.stages.split_cases import split_cases

JSON, MARKERS, COPIES = "clinical.cart.2025-09-30.json", "ceccarelli_S1A.csv", "data_cna.txt"


class Download:
    """A drawn download that may be changed, and what the verb makes of it."""

    def __init__(self, folder, name):
        self.folder, self.out = (draw_tcga if name == "tcga" else draw_ivygap)(folder / name), folder / "out"
        self.options = [f"--{name}", str(self.folder), "--output", str(self.out)]

    def write(self, name, text):
        (self.folder / name).write_text(text if isinstance(text, str) else json.dumps(text))

    def add_row(self, name, row):
        self.write(name, (self.folder / name).read_text() + row + "\n")

    def case(self, case_id, *options):
        """Return the row of a case, and the reasons noted for it by column."""
        main(["cohort", "glioma", *self.options, *map(str, options)])
        cases, missing = (
            pd.read_csv(self.out / f"{name}.tsv", sep="\t", dtype=str, keep_default_na=False)
            for name in ("cases", "missing")
        )
        noted = missing[missing["subject"] == case_id]
        return cases.set_index("case_id").loc[case_id], dict(zip(noted["column"], noted["reason"], strict=True))

    def refused(self, capsys, *options):
        with pytest.raises(SystemExit):
            main(["cohort", "glioma", *self.options, *map(str, options)])
        return capsys.readouterr().err


@pytest.fixture
def tcga(tmp_path):
    return Download(tmp_path, "tcga")


@pytest.fixture
def ivygap(tmp_path):
    return Download(tmp_path, "ivygap")


def one_case(**parts):
    return [{"submitter_id": LGG, **parts}]


# 13,700.5 days are 37.5 years.
@pytest.mark.parametrize("days", [13700.5, "13700.0", 13700])
def test_ages_in_days(tcga, days):
    tcga.write(JSON, one_case(diagnoses=[{"age_at_diagnosis": days}]))
    assert tcga.case(LGG)[0]["age"] == "37.5"


@pytest.mark.parametrize(
    "document",
    [
        one_case(demographic=[{"vital_status": "Alive"}], follow_ups=[None, {"days_to_follow_up": 90}]),
        one_case(demographic={"vital_status": "Alive"}, diagnoses={"days_to_last_follow_up": 90}, follow_ups=None),
        {"data": one_case(demographic={"vital_status": "Alive"}, follow_ups={"days_to_follow_up": 90})},
        {"data": {"hits": one_case(demographic={"vital_status": "Alive", "days_to_last_follow_up": "90.0"})}},
    ],
)
def test_clinical_json_of_any_nesting(tcga, document):
    tcga.write(JSON, document)
    assert tcga.case(LGG)[0][["survival_days", "event"]].tolist() == ["90", "0"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"data": []}, "holds no case; download Clinical, JSON again"),
        (5, "is not the GDC's clinical JSON"),
        ({"data": 5}, "is not the GDC's clinical JSON"),
        (one_case(diagnoses=["G2"]), "is not the GDC's clinical JSON"),
        ({"message": "Not found"}, "holds an error of the GDC (Not found); download it again"),
    ],
)
def test_what_is_no_clinical_json(tcga, capsys, document, message):
    tcga.write(JSON, document)
    printed = tcga.refused(capsys)
    assert printed.count("\n") == 1 and f"{JSON}: {message}" in printed


def test_conflicts_of_vital_status_are_told(tcga):
    tcga.write(MARKERS, (tcga.folder / MARKERS).read_text().replace("47.6,1,", "47.6,0,"))
    row, noted = tcga.case(GBM)
    assert row["event"] == "1" and noted["event"] == "the GDC says dead (used), the marker table alive"
    tcga.write(JSON, one_case(demographic={"vital_status": "Dead"}))
    row, noted = tcga.case(LGG)
    # The GDC has no date: the marker table's time and status go together.
    assert row["survival_source"] == "Ceccarelli 2016"
    assert noted["event"] == "the marker table says alive (used), the GDC dead"
    tcga.write(JSON, one_case(demographic={"vital_status": "Dead"}, follow_ups=[{"vital_status": "Alive"}]))
    assert tcga.case(LGG)[1]["event"] == "the GDC says alive and dead; alive of the marker table is used"


def test_two_grades_in_the_gdc_are_told(tcga):
    tcga.write("clinical.tsv", f"case_submitter_id\ttumor_grade\n{OLD}\tG2\n{OLD}\tG3\n")
    row, noted = tcga.case(OLD)
    assert row["grade"] == "" and noted["grade"] == "the GDC says G2 and G3"


@pytest.mark.parametrize(
    "table",
    [
        f'"Hugo_Symbol"\t"{GBM}-01"\n"CDKN2A"\t-2\n',
        f"Hugo_Symbol,{GBM}-01\r\nCDKN2A,-2\r\n",
        f"#version 2.4\nHugo_Symbol\t{GBM}-01\nCDKN2AIP\t0\nCDKN2A\t-2\n",
        f"Entrez_Gene_Id\tHugo_Symbol\t{GBM}-02\t{GBM}-01\n1029\tCDKN2A\tNA\t-2\n",
    ],
)
def test_copy_numbers_in_other_forms(tcga, table):
    tcga.write(COPIES, table)
    row, noted = tcga.case(GBM)
    assert row["cdkn2a"] == "homdel" and "cdkn2a" not in noted


def test_copy_numbers_of_two_samples_that_differ(tcga, capsys):
    tcga.write(COPIES, f"Hugo_Symbol\t{GBM}-01A\t{GBM}-01B\nCDKN2A\t-2\t0\n")
    row, noted = tcga.case(GBM)
    assert row["cdkn2a"] == "" and noted["cdkn2a"] == "two samples of one tumour say homdel and intact"
    tcga.write(COPIES, f"Hugo_Symbol\t{GBM}-01\nCDKN2A\t-2\n")
    tcga.write("data_cna_lgg.txt", f"Hugo_Symbol\t{GBM}-01\nCDKN2A\t0\n")
    assert tcga.case(GBM)[1]["cdkn2a"] == "two samples of one tumour say homdel and intact"
    tcga.write(COPIES, f"Hugo_Symbol\t{GBM}-01\nCDKN2A\n")
    capsys.readouterr()
    assert "data_cna.txt: row CDKN2A has 1 fields, the header 2" in tcga.refused(capsys)


def test_a_case_twice_in_the_marker_table(tcga):
    row = next(line for line in (tcga.folder / MARKERS).read_text().splitlines() if line.startswith(GBM))
    tcga.add_row(MARKERS, row)
    assert tcga.case(GBM)[0]["idh"] == "WT"
    tcga.add_row(MARKERS, row.replace("WT", "Mutant"))
    case, noted = tcga.case(GBM)
    assert case["idh"] == "" and case["codel_1p19q"] == "non-codel"
    assert noted["idh"] == "two rows of the marker table say Mutant and WT"


@pytest.mark.parametrize("row", [f"{OLD}\tAlive", f'{OLD}\t"Alive\t100'])
def test_a_row_of_another_length_is_refused(tcga, capsys, row):
    tcga.write("clinical.tsv", f"case_submitter_id\tvital_status\tdays_to_last_follow_up\n{row}\n")
    assert "clinical.tsv, row 2: has 2 fields, the header has 3" in tcga.refused(capsys)


def test_empty_fields_behind_a_row_are_passed_over(tcga):
    tcga.write("clinical.tsv", f"case_submitter_id\tvital_status\tdays_to_last_follow_up\n{OLD}\tAlive\t100\t\t\n")
    assert tcga.case(OLD)[0]["survival_days"] == "100"


def test_profiles_that_are_pointers_are_named(tcga):
    for path in tcga.folder.glob("expression/*/a.*"):
        path.write_bytes(b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\n")
    tcga.case(GBM)
    missing = read_tsv(tcga.out / "missing.tsv")
    assert missing["reason"].str.contains("is a git-LFS pointer").sum() == 1


def test_known_is_checked_as_cases_are(ivygap, tmp_path, capsys):
    def known(text):
        (tmp_path / "known.tsv").write_text(text)
        return "--known", tmp_path / "known.tsv"

    printed = ivygap.refused(capsys, *known("case_id\tgrade\tsurvival_days\nW1\tIV\t0\n"))
    assert "known.tsv: row 2: grade is 'IV'; write G2 or G3 or G4" in printed
    assert "known.tsv: row 2: survival_days is '0'; a time in days is a number above 0" in printed
    printed = ivygap.refused(capsys, *known("case_id\tevent\nW1\t1\nW1\t0\n"))
    assert "known.tsv: row 3: case_id 'W1' already stands in row 2" in printed
    assert "known.tsv: is a web page" in ivygap.refused(capsys, *known("<html>"))
    row, _ = ivygap.case("W1", *known("case_id\tmgmt\tevent\nW1\tmethylated\t1\n"))
    assert row["mgmt"] == "methylated" and row["event"] == "1" and row["survival_days"] == "105"


def test_a_well_twice_is_refused(ivygap, capsys):
    name = "expression/columns-samples.csv"
    ivygap.add_row(name, (ivygap.folder / name).read_text().splitlines()[1])
    assert "columns-samples.csv: rna_well_id 300173630 stands twice" in ivygap.refused(capsys)


def test_sites_of_the_cohort_make_a_split(tcga, ivygap, tmp_path):
    main(["cohort", "glioma", *tcga.options, *ivygap.options])
    samples = read_tsv(tmp_path / "out/samples.tsv", dtype=str).fillna("")
    assert set(samples.loc[samples["cohort"] == "IvyGAP", "site"]) == {"IvyGAP"}
    cases = pd.DataFrame({"case_id": sorted(set(samples["case_id"]))}).assign(label=0)
    paths = [tmp_path / f"{name}.parquet" for name in ("samples", "cases")]
    for table, path in zip((samples, cases), paths, strict=True):
        write_parquet(table, path, {})
    settings = {"scheme": "site", "fractions": [0.4, 0.3, 0.3], "seed": 1}
    settings = SplitCasesSettings(splits=settings, stratify="label")
    split_cases(*paths, tmp_path / "splits.tsv", settings=settings)
    assert read_tsv(tmp_path / "splits.tsv").set_index("case_id").loc[["W1", "W22"], "split"].nunique() == 1


SLIDE = f"{GBM}-01Z-00-DX1.AAAA"


def add_aliquots(tcga, *aliquots):
    """Add profiles of one case: (folder, sample, preservation, reads of EGFR), and a sheet that lists them."""
    rows = []
    for folder, sample, kept, reads in aliquots:
        write_gdc(tcga.folder / "expression" / folder / f"{folder}{ENDING}", [(*GDC_ROWS[1][:2], reads, 1.0, 1.0)])
        rows.append([folder, f"{folder}{ENDING}", "T", "T", "TCGA-GBM", GBM, sample, "Tumor", "Primary", "Solid", kept])
    lines = ["\t".join(row) for row in (SHEET_HEADER, *rows)]
    tcga.write("gdc_sample_sheet.2026-01-01.tsv", "\n".join(lines) + "\n")
    # The sheet's own primary profile would be another aliquot.
    for path in (tcga.folder / "expression").glob("*/b.*"):
        path.unlink()


@pytest.mark.parametrize(
    ("aliquots", "used", "left_out"),
    [
        # The file that sorts first is fixed, by either name of freezing.
        (
            [("0-first", "01B", "FFPE", 999), ("9-last", "01A", "Snap Frozen", 5)],
            "9-last",
            {"0-first": "left out: it is FFPE, and one as close that is Snap Frozen is used"},
        ),
        (
            [("0-first", "01A", "FFPE", 999), ("9-last", "01A", "OCT", 5)],
            "9-last",
            {"0-first": "left out: it is FFPE, and one as close that is OCT is used"},
        ),
        (
            [("0-first", "01B", "FFPE", 999), ("9-last", "01A", "Not Reported", 5)],
            "9-last",
            {"0-first": "left out: it is FFPE, and one as close that is not is used"},
        ),
        # Of two frozen ones that with more reads.
        (
            [("0-first", "01A", "Frozen", 70), ("1-next", "01A", "Frozen", 90), ("9-last", "01A", "Frozen", 80)],
            "1-next",
            dict.fromkeys(["0-first", "9-last"], "left out: another aliquot as close has more reads"),
        ),
        (
            [("0-first", "01A", "Frozen", 70), ("9-last", "01A", "Frozen", 70)],
            "0-first",
            {"9-last": "left out: another profile as close stands first by its id"},
        ),
        # The primary tumour of the slide, even where it is fixed.
        (
            [("0-first", "02A", "Frozen", 70), ("9-last", "01A", "FFPE", 70)],
            "9-last",
            {"0-first": "left out: another profile of the case was taken closer to its slides"},
        ),
    ],
)
def test_of_several_aliquots_the_frozen_one_is_used_and_the_others_are_listed(tcga, aliquots, used, left_out):
    add_aliquots(tcga, *((folder, f"{GBM}-{sample}", kept, reads) for folder, sample, kept, reads in aliquots))
    main(["cohort", "glioma", *tcga.options])
    samples = read_tsv(tcga.out / "samples.tsv", dtype=str).set_index("sample_id")
    assert samples.at[SLIDE, "expression_id"] == used
    missing = read_tsv(tcga.out / "missing.tsv", dtype=str)
    noted = missing[missing["subject"].isin([folder for folder, *_ in aliquots])]
    assert set(noted["column"]) == {"expression_id"}
    assert dict(zip(noted["subject"], noted["reason"], strict=True)) == left_out
    main(["cohort", "glioma", *tcga.options, "--pairs", "all"])
    missing = read_tsv(tcga.out / "missing.tsv", dtype=str)
    assert not missing["reason"].str.startswith("left out").any()


def test_two_files_of_one_name_are_told_apart_or_left_out_with_a_line(tcga):
    name = f"{LGG}-01Z-00-DX1.BBBB.svs"
    (tcga.folder / "slides/s9").mkdir()
    (tcga.folder / "slides/s9" / name).write_bytes(b"another slide")
    main(["cohort", "glioma", *tcga.options])
    samples = read_tsv(tcga.out / "samples.tsv", dtype=str)
    assert {f"{name[:-4]}_s2", f"{name[:-4]}_s9"} <= set(samples["slide_id"])
    missing = read_tsv(tcga.out / "missing.tsv", dtype=str)
    noted = missing.set_index("subject").loc[name]
    assert noted["column"] == "file" and noted["reason"] == "2 files have this name; each is taken as one of its own"
    # Two rows of one name: the folder, which is the File ID, tells whose a file is; the order of the sheet does not.
    rows = [("s2", name, LGG, f"{LGG}-01Z", "Tumor"), ("s9", name, GBM, f"{GBM}-01Z", "Tumor")]
    for order in (rows, rows[::-1]):
        write_sheet(tcga.folder / "gdc_sample_sheet.2025-09-30.tsv", SHEET_HEADER, order, "Slide Image")
        main(["cohort", "glioma", *tcga.options])
        cases = read_tsv(tcga.out / "samples.tsv", dtype=str).set_index("slide_id")["case_id"]
        assert cases[f"{name[:-4]}_s2"] == LGG and cases[f"{name[:-4]}_s9"] == GBM
    (tcga.folder / "slides/s9").rename(tcga.folder / "slides/mine")
    main(["cohort", "glioma", *tcga.options])
    missing = read_tsv(tcga.out / "missing.tsv", dtype=str).set_index("subject")
    assert missing.at[name, "reason"] == f"the sample sheets have this name for {GBM}-01Z and {LGG}-01Z"
    assert set(read_tsv(tcga.out / "samples.tsv", dtype=str)["slide_id"].dropna()) >= {name[:-4]}


def test_alive_with_a_day_of_death(tcga):
    said = "the GDC says alive and a day of death, 500"
    alive = {"vital_status": "Alive", "days_to_death": 500}
    tcga.write(JSON, [{"submitter_id": OLD, "demographic": alive, "follow_ups": [{"days_to_follow_up": 400}]}])
    (tcga.folder / "clinical.tsv").unlink()
    row, noted = tcga.case(OLD)
    assert row["event"] == row["survival_days"] == row["survival_source"] == ""
    assert noted["event"] == noted["survival_days"] == said
    # Two files that contradict each other, as two records of one file.
    tcga.write(JSON, [{"submitter_id": OLD, "demographic": {"vital_status": "Alive"}}])
    tcga.write("clinical.tsv", f"case_submitter_id\tdays_to_death\n{OLD}\t500\n")
    assert tcga.case(OLD)[1]["event"] == said
    # The marker table's time and status go together, and are said to be used.
    tcga.write(JSON, one_case(demographic=alive))
    row, noted = tcga.case(LGG)
    assert row[["event", "survival_source"]].tolist() == ["0", "Ceccarelli 2016"]
    assert noted["event"] == f"{said}; alive of the marker table is used"


def test_two_days_of_death_and_a_follow_up_after_it(tcga):
    tcga.write(JSON, one_case(demographic={"vital_status": "Dead", "days_to_death": 500}))
    tcga.write("clinical.tsv", f"case_submitter_id\tdays_to_death\n{LGG}\t700\n")
    row, noted = tcga.case(LGG)
    assert row["survival_days"] == "700"
    assert noted["survival_days"] == "the GDC says days of death 500 and 700; the last is used"
    follow_ups = [{"days_to_follow_up": 900}]
    tcga.write(JSON, one_case(demographic={"vital_status": "Dead", "days_to_death": 500}, follow_ups=follow_ups))
    (tcga.folder / "clinical.tsv").unlink()
    row, noted = tcga.case(LGG)
    assert row["survival_days"] == "500"
    assert noted["survival_days"] == "the GDC says a follow-up at day 900, after the death at 500 (used)"


def test_days_of_death_of_two_sources(tcga):
    # 1448 days of the GDC are 47.6 months, as the marker table has them; 20 months are 608.75 days.
    assert "survival_days" not in tcga.case(GBM)[1]
    tcga.write(MARKERS, (tcga.folder / MARKERS).read_text().replace("47.6,1,", "20,1,"))
    row, noted = tcga.case(GBM)
    assert row["survival_days"] == "1448"
    assert noted["survival_days"] == "the GDC says death at day 1448 (used), the marker table at 608.8"


def test_ages_and_sexes_that_contradict_each_other(tcga):
    records = [{"age_at_diagnosis": 13700}, {"age_at_index": 37}]
    tcga.write(JSON, one_case(demographic={"age_at_index": 38, "gender": "female"}, diagnoses=records))
    row, noted = tcga.case(LGG)
    assert row["age"] == "38" and row["sex"] == "female" and not {"age", "sex"} & set(noted)
    tcga.write(
        JSON, one_case(demographic=[{"age_at_index": 38, "gender": "female"}, {"age_at_index": 52, "gender": "male"}])
    )
    row, noted = tcga.case(LGG)
    assert row["age"] == "38" and noted["age"] == "the GDC says ages 38 and 52; 38 is used"
    assert row["sex"] == "" and noted["sex"] == "the GDC says female and male"
