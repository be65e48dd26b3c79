"""The audit: pairings, labels that look wrong, cohorts that give the class away, and tasks of one's own."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ksfusion.cohort.audit import check_cohort
from ksfusion.cohort.label_checks import confounding_findings, survival_findings
from ksfusion.cohort.labels import label_cases
from ksfusion.cohort.pairing import pairing_findings, pairing_levels
from ksfusion.cohort.samples import OPTIONAL_SAMPLE_COLUMNS, read_cohort
from ksfusion.config import BUILTIN_TASKS, Cohort, Task
from ksfusion.errors import UserError
from ksfusion.storage import read_parquet, read_tsv

REAL_DATA = Path(os.environ.get("KSFUSION_REAL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
REAL = REAL_DATA / "omics/tcga_gbmlgg_all_clean.csv.zip"
IDS = {"slide_specimen_id": 0, "expression_specimen_id": 1, "slide_block_id": 2, "expression_block_id": 3}


def samples(*rows):
    """Make samples from (slide's specimen, profile's, slide's block, profile's, tumour)."""
    table = pd.DataFrame({"sample_id": [f"s{number}" for number in range(len(rows))]}, dtype=object)
    table = table.assign(**{**dict.fromkeys(OPTIONAL_SAMPLE_COLUMNS, ""), "slide_id": "slide", "expression_id": "P"})
    for column, place in (*IDS.items(), ("tumour_id", 4)):
        table[column] = [row[place] for row in rows]
    return table


class TestPairing:
    @pytest.mark.parametrize(
        ("row", "level"),
        [
            (("a", "a", "A", "A", "T"), "specimen"),
            (("a", "a", "", "", ""), "specimen"),
            (("a", "b", "A", "A", "T"), "block"),
            (("", "", "A", "A", ""), "block"),
            (("a", "", "A", "B", "T"), "tumour"),
            (("", "", "", "", "T"), "tumour"),
            (("a", "b", "A", "B", ""), "case"),
            (("", "", "", "", ""), "case"),
        ],
    )
    def test_levels(self, row, level):
        assert pairing_levels(samples(row)).tolist() == [level]

    def test_every_pair_is_a_finding_and_known_differences_are_told(self):
        table = samples(("a", "a", "A", "A", "T"), ("a", "b", "A", "B", "T"), ("", "", "", "", ""))
        table.loc[2, "expression_id"] = ""
        first, second = pairing_findings(table)
        assert first["check"] == "pairing_same_specimen" and "differ" not in first["detail"]
        assert second["check"] == "pairing_same_tumour"
        assert "slide from block A, profile from B; slide from specimen a, profile from b" in second["detail"]


def survival(times, events, grades=None):
    """Return the checks that tables of times and events bring up, with their subjects."""
    table = pd.DataFrame({"survival_days": [str(time) for time in times], "event": [str(event) for event in events]})
    table.insert(0, "case_id", [f"c{number}" for number in range(len(table))])
    if grades:
        table["grade"] = grades
    return [(row["check"], row["subject"]) for row in survival_findings(table, "survival_days", "event")]


def real_survival():
    if not REAL.exists():
        pytest.skip(f"no real inputs at {REAL}")
    with zipfile.ZipFile(REAL) as archive:
        table = pd.read_csv(io.BytesIO(archive.read(archive.namelist()[0])))
    table = table.drop_duplicates("case_id")
    grade = table["oncotree_code"].map({"GBM": "G4", "ASTR": "G2", "ODG": "G2"}).fillna("G3")
    return table["survival_months"], (1 - table["censorship"]).astype(int), grade.tolist()


class TestSurvival:
    def test_what_is_missing_is_named_by_case(self):
        assert survival(["500", "", "", "700"], ["1", "1", "0", ""]) == [
            ("dead_without_time", "c1"),
            ("time_without_event", "c3"),
        ]

    def test_deaths_after_censorings_look_flipped(self):
        times, events = [*range(500, 520), *range(900, 920)], [1] * 20 + [0] * 20
        assert survival(times, events) == []
        assert survival(times, [1 - event for event in events]) == [("event_looks_flipped", "event")]

    def test_grade_4_living_longer_looks_flipped(self):
        # Both grades have the same times; of grade 2 nearly all die, of grade 4 hardly any.
        times = [*range(500, 530)] * 2
        events = [1] * 28 + [0] * 2 + [1] * 2 + [0] * 28
        assert survival(times, events, ["G4"] * 30 + ["G2"] * 30) == []
        assert survival(times, events, ["G2"] * 30 + ["G4"] * 30) == [("event_looks_flipped", "event")]

    def test_real_survival_is_right_as_published_and_told_when_flipped_or_in_months(self):
        months, events, grades = real_survival()
        days = (months * 30.4375).round().clip(lower=1)
        assert survival(days, events, grades) == []
        assert survival(days, 1 - events, grades) == [("event_looks_flipped", "event")] * 2
        assert survival(months, events, grades) == [("time_reads_as_months", "survival_days")]
        assert survival(months.round().astype(int), events, grades) == [("time_reads_as_months", "survival_days")]

    def test_few_cases_say_nothing(self):
        assert survival([1.5, 2.5, 3.5], [0, 1, 1], ["G2", "G2", "G4"]) == []


class TestConfounding:
    def test_a_cohort_of_one_class_is_named_once(self):
        table = pd.DataFrame({"case_id": list("ABCDEF"), "cohort": ["I"] * 3 + ["T"] * 3})
        labels = pd.Series(["gbm", "gbm", np.nan, "gbm", "astro", "astro"], index=list("ABCDEF"))
        (finding,) = confounding_findings(table, {"diagnosis": labels})
        assert (
            finding["subject"] == "I" and "100% of its 2 labelled cases are gbm, of the others 33%" in finding["detail"]
        )

    def test_equal_or_single_cohorts_are_not(self):
        table = pd.DataFrame({"case_id": list("ABCD"), "cohort": ["I", "I", "T", "T"]})
        assert not [*confounding_findings(table, {"x": pd.Series(list("uvuv"), index=list("ABCD"))})]
        assert not [*confounding_findings(table, {"x": pd.Series(list("uuuu"), index=list("ABCD"))})]
        assert not [*confounding_findings(table[:2], {"x": pd.Series(list("uuuu"), index=list("ABCD"))})]


CASES = "case_id\tmgmt\trelapse_days\trelapse\tidh\tdiagnosis\n"
TASKS = {
    "mgmt": Task(kind="classification", column="mgmt", classes=["no", "1"]),
    "relapse": Task(kind="survival", time="relapse_days", event="relapse"),
    "diagnosis": BUILTIN_TASKS["diagnosis"],
}


def write(folder, rows, header=CASES):
    (folder / "cases.tsv").write_text(header + "".join(row + "\n" for row in rows))
    ids = [row.split("\t")[0] for row in rows]
    lines = [
        "sample_id\tcase_id\tcohort\tslide\texpression_id",
        *(f"{name}\t{name}\tX\t{name}.svs\t{name}" for name in ids),
    ]
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n")
    source = {"cohort": "X", "format": "matrix", "unit": "log", "path": "x.tsv"}
    return Cohort(samples=str(folder / "samples.tsv"), cases=str(folder / "cases.tsv"), expression=[source])


def test_tasks_of_ones_own_need_columns_and_no_code(tmp_path):
    cohort = write(
        tmp_path, ["A\tno\t100\t1\tWT\tastrocytoma", "B\t1\t\t1\tWT\t", "C\t\t300\t0\tMutant\toligodendroglioma"]
    )
    files = [tmp_path / name for name in ("samples.parquet", "cases.parquet", "audit.tsv")]
    tasks = {name: task.model_dump() for name, task in TASKS.items()}
    check_cohort(*files, settings={"cohort": cohort.model_dump(mode="json"), "tasks": tasks})
    cases = read_parquet(files[1]).set_index("case_id")
    assert cases["label_mgmt"].tolist()[:2] == [0, 1] and cases["label_mgmt"].isna().tolist() == [False, False, True]
    assert cases.loc[["A", "C"], "days_relapse"].tolist() == [100, 300]
    assert cases["event_relapse"].isna().tolist() == [False, True, False]
    # A diagnosis that the table states is taken; none is derived in its place.
    assert cases["label_diagnosis"].isna().tolist() == [False, True, False]
    assert cases.loc[["A", "C"], "label_diagnosis"].tolist() == [2, 3]
    audit = read_tsv(files[2])
    assert ("dead_without_time", "B") in set(zip(audit["check"], audit["subject"], strict=True))
    assert (audit["check"] == "pairing_same_case").sum() == 3
    assert read_parquet(files[0])["pairing"].tolist() == ["case"] * 3


@pytest.mark.parametrize("column", ["relapse", "relapse_days", "mgmt"])
def test_one_wrong_column_is_five_rows_and_a_count(tmp_path, column):
    good = {"mgmt": "no", "relapse_days": "100", "relapse": "1"}
    rows = [f"c{n}\t" + "\t".join((good | {column: "-7"})[name] for name in good) + "\tWT\t" for n in range(300)]
    with pytest.raises(UserError) as caught:
        read_cohort(write(tmp_path, rows), TASKS)
    lines = str(caught.value).splitlines()
    assert len(lines) == 6 and all(f"row {number + 2}: {column} is '-7'" in lines[number] for number in range(5))
    assert "295 more like these" in lines[5] and "row 301" in lines[5]


def test_every_combination_of_markers_has_its_row_of_the_truth_table():
    """The rules of the paper as they are written, against each of the 108 combinations."""
    values = [("", "WT", "Mutant"), ("", "codel", "non-codel"), ("", "homdel", "intact"), ("", "G2", "G3", "G4")]
    rows = [(i, c, h, g) for i in values[0] for c in values[1] for h in values[2] for g in values[3]]
    table = pd.DataFrame(rows, columns=["idh", "codel_1p19q", "cdkn2a", "grade"])
    table.insert(0, "case_id", [f"c{number}" for number in range(len(table))])
    labelled, _ = label_cases(table, {"diagnosis": BUILTIN_TASKS["diagnosis"].model_dump()})
    mutant, non_codel = table["idh"] == "Mutant", table["codel_1p19q"] == "non-codel"
    high = (table["grade"] == "G4") | (table["cdkn2a"] == "homdel")
    low = table["grade"].isin(["G2", "G3"]) & (table["cdkn2a"] == "intact")
    expected = pd.Series(pd.NA, index=table.index, dtype="Int64")
    expected[table["idh"] == "WT"] = 0
    expected[mutant & (table["codel_1p19q"] == "codel")] = 3
    expected[mutant & non_codel & high] = 1
    expected[mutant & non_codel & low] = 2
    pd.testing.assert_series_equal(labelled["label_diagnosis"], expected, check_names=False)
    assert expected.notna().sum() == 36 + 12 + 6 + 2
