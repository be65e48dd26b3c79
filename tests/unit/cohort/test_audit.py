"""The audit: pairings, labels that look wrong, cohorts that give the class away, and tasks of one's own."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

from ksfusion.cohort.config import CheckCohortSettings, CohortFiles, Labelling
from ksfusion.cohort.confounding import confounding_findings
from ksfusion.cohort.labels import label_cases
from ksfusion.cohort.pairing import pairing_findings, pairing_levels
from ksfusion.cohort.samples import OPTIONAL_SAMPLE_COLUMNS, read_cohort
from ksfusion.cohort.survival import excess_deaths, fewer_deaths, survival_findings
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.results.tasks import BUILTIN_TASKS
from ksfusion.stages.check_cohort import check_cohort

REAL_DATA = Path(os.environ.get("KSFUSION_REAL_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
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


def survival(times, events, grades=None, cohorts=None, **options):
    """Return the checks that tables of times and events bring up, with their subjects."""
    table = pd.DataFrame({"survival_days": [str(time) for time in times], "event": [str(event) for event in events]})
    table.insert(0, "case_id", [f"c{number}" for number in range(len(table))])
    if grades is not None:
        table["grade"] = list(grades)
    if cohorts is not None:
        options["cohorts"] = pd.Series(list(cohorts))
    options = {"unit": "days", **options}
    return [(row["check"], row["subject"]) for row in survival_findings(table, "survival_days", "event", **options)]


@pytest.fixture(scope="module")
def real():
    if not REAL.exists():
        pytest.skip(f"no real inputs at {REAL}")
    columns = ["case_id", "oncotree_code", "survival_months", "censorship"]
    with zipfile.ZipFile(REAL) as archive:
        table = pd.read_csv(io.BytesIO(archive.read(archive.namelist()[0])), usecols=columns)
    table = table.drop_duplicates("case_id")
    table["event"] = (1 - table["censorship"]).astype(int)
    table["days"] = (table["survival_months"] * 30.4375).round().clip(lower=1)
    grades = {"GBM": "G4", "ASTR": "G2", "ODG": "G2", "OAST": "G2", "AASTR": "G3", "AOAST": "G3"}
    return table.assign(grade=table["oncotree_code"].map(grades))


FLIPPED, LATE, MONTHS = (
    ("event_looks_flipped", "event"),
    ("deaths_after_censorings", "event"),
    ("time_reads_as_months", "survival_days"),
)


class TestSurvival:
    def test_what_is_missing_is_named_by_case(self):
        assert survival(["500", "", "", "700"], ["1", "1", "0", ""]) == [
            ("dead_without_time", "c1"),
            ("time_without_event", "c3"),
        ]

    def test_deaths_after_censorings_are_told_and_not_called_flipped(self):
        times, events = [*range(500, 520), *range(900, 920)], [1] * 20 + [0] * 20
        assert survival(times, events) == []
        assert survival(times, [1 - event for event in events]) == [LATE]
        # Where the grades bear the column out, it is right.
        times, events = [*range(900, 920), *[500] * 30, *[3000] * 12], [1] * 20 + [0] * 42
        assert survival(times, events) == [LATE]
        assert survival(times, events, ["G4"] * 20 + ["G2"] * 42) == []

    def test_excess_deaths_are_the_log_rank_test(self):
        # By hand: at 1 day one of two dies in G4, at 2 days one in G2; ten more of each grade are censored at 0.5.
        days, died = pd.Series([1.0, 3, 2, 3, *[0.5] * 20]), pd.Series([True, False, True, False, *[False] * 20])
        grades = pd.Series(["G4", "G4", "G2", "G2", *["G4", "G2"] * 10])
        assert excess_deaths(days, died, grades) == 0
        repeated = [pd.concat([column[:4]] * 3 + [column[4:]], ignore_index=True) for column in (days, died, grades)]
        # At day 1: 12 at risk, 6 of G4, 3 deaths; at day 2: 9 at risk, 3 of G4, 3 deaths.
        expected, variance = 3 * 6 / 12 + 3 * 3 / 9, 3 * 0.25 * 9 / 11 + 3 * (3 / 9) * (6 / 9) * 6 / 8
        assert excess_deaths(*repeated) == pytest.approx((3 - expected) / variance**0.5)

    def test_fewer_deaths_are_fishers_exact_test(self):
        died = pd.Series([True] * 3 + [False] * 9 + [True] * 8 + [False] * 3)
        grades = pd.Series(["G4"] * 12 + ["G2"] * 11)
        assert fewer_deaths(died, grades) == pytest.approx(fisher_exact([[3, 9], [8, 3]], "less").pvalue)

    def test_real_samples_that_are_flipped_are_found_and_right_ones_are_not(self, real):
        for seed in range(20):
            part = real.sample(120, random_state=seed)
            days, events = part["days"], part["event"]
            assert FLIPPED not in survival(days, events, part["grade"])
            assert FLIPPED in survival(days, 1 - events, part["grade"])

    def test_grade_2_followed_for_longer_is_no_flipped_column(self):
        # All of grade 2 die within twenty years; of grade 4, most are seen for a few months and half die in them.
        random = np.random.default_rng(0)
        times = [*random.integers(60, 240, 40), *random.integers(1000, 7000, 40)]
        assert survival(times, [1, 0] * 20 + [1] * 40, ["G4"] * 40 + ["G2"] * 40) == []

    def test_grade_4_living_longer_looks_flipped(self):
        # Both grades have the same times; of grade 2 nearly all die, of grade 4 hardly any.
        times = [*range(500, 530)] * 2
        events = [1] * 28 + [0] * 2 + [1] * 2 + [0] * 28
        assert survival(times, events, ["G4"] * 30 + ["G2"] * 30) == []
        assert survival(times, events, ["G2"] * 30 + ["G4"] * 30)[0] == FLIPPED

    def test_a_grade_without_deaths_is_evidence_too(self):
        times, events = [*range(100, 700, 20)] * 2, [0] * 30 + [0] * 2 + [1] * 28
        assert survival(times, events, ["G4"] * 30 + ["G2"] * 30)[0] == FLIPPED
        assert survival(times, [1 - event for event in events], ["G4"] * 30 + ["G2"] * 30) == []

    @pytest.mark.parametrize("first", [0, 5, 10, 20])
    def test_a_few_early_deaths_do_not_speak_for_a_flipped_column(self, first):
        """Grade 4: 2 of 30 dead, grade 2: 25 of 30; the two died when others of grade 4 had left already."""
        died = [0] * 30
        died[first] = died[first + 5] = 1
        times = [*range(10, 310, 10), *range(500, 3500, 100)]
        events, grades = died + [1] * 25 + [0] * 5, ["G4"] * 30 + ["G2"] * 30
        if first >= 10:
            # By the log-rank test alone grade 4 would die faster.
            columns = pd.Series(times), pd.Series(events) == 1, pd.Series(grades)
            assert excess_deaths(*columns) > 1.645
        assert survival(times, events, grades)[0] == FLIPPED
        assert survival(times, [1 - event for event in events], grades) == []

    def test_equal_grades_are_seldom_called_flipped(self):
        # Drawn without a difference: one in twenty by chance.
        random = np.random.default_rng(0)
        flipped = 0
        for _ in range(200):
            times, events = random.exponential(700, 60).round() + 400, random.integers(0, 2, 60)
            flipped += FLIPPED in survival(times, events, random.permutation(["G2", "G4"] * 30))
        assert flipped <= 20

    def test_each_cohort_is_looked_at_by_itself(self, real):
        other = real.assign(event=1 - real["event"]).sample(len(real) // 3, random_state=0)
        both = pd.concat([real, other])
        cohorts = ["A"] * len(real) + ["B"] * len(other)
        found = survival(both["days"], both["event"], both["grade"], cohorts)
        assert found.count(FLIPPED) == 1
        table = pd.DataFrame(
            {"case_id": "c", "survival_days": both["days"].astype(str), "event": both["event"].astype(str)}
        )
        details = survival_findings(
            table.assign(grade=both["grade"]).reset_index(drop=True),
            "survival_days",
            "event",
            cohorts=pd.Series(cohorts),
            unit="days",
        )
        assert [row["detail"][:10] for row in details if row["check"] == "event_looks_flipped"] == ["cohort B: "]
        months = [*real["days"], *other["survival_months"]]
        assert survival(months, both["event"], both["grade"], cohorts).count(MONTHS) == 1

    def test_one_long_time_does_not_hide_months(self):
        months = [*range(1, 40), 4000]
        assert survival(months, [1, 0] * 20) == [MONTHS]

    def test_real_survival_is_right_as_published_and_told_when_flipped_or_in_months(self, real):
        days, events, grades = real["days"], real["event"], real["grade"]
        months = real["survival_months"]
        assert survival(days, events, grades) == []
        assert survival(days, 1 - events, grades) == [FLIPPED, LATE]
        assert survival(months, events, grades) == [MONTHS]
        assert survival(months.round().astype(int), events, grades) == [MONTHS]
        assert survival((days / 365.25).round(2), events, grades) == [MONTHS]

    def test_real_entities_alone_raise_no_false_alarm(self, real):
        for _, part in real.groupby("oncotree_code"):
            found = survival(part["days"], part["event"], part["grade"])
            assert FLIPPED not in found and MONTHS not in found

    def test_declared_months_that_read_as_days(self, real):
        assert survival(real["survival_months"], real["event"], real["grade"], unit="months") == []
        assert survival(real["survival_months"] / 12, real["event"], real["grade"], unit="years") == []
        days = ("time_reads_as_days", "survival_days")
        assert survival(real["days"], real["event"], real["grade"], unit="months") == [days]
        assert survival(real["survival_months"], real["event"], real["grade"], unit="years") == [days]

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
    "mgmt": Labelling(kind="classification", column="mgmt", classes=["no", "1"]),
    "relapse": Labelling(kind="survival", time="relapse_days", event="relapse"),
    "diagnosis": Labelling.of(BUILTIN_TASKS["diagnosis"]),
}


def write(folder, rows, header=CASES):
    (folder / "cases.tsv").write_text(header + "".join(row + "\n" for row in rows))
    ids = [row.split("\t")[0] for row in rows]
    lines = [
        "sample_id\tcase_id\tcohort\tslide\texpression_id",
        *(f"{name}\t{name}\tX\t{name}.svs\t{name}" for name in ids),
    ]
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n")
    return CohortFiles(samples=str(folder / "samples.tsv"), cases=str(folder / "cases.tsv"))


def test_tasks_of_ones_own_need_columns_and_no_code(tmp_path):
    tables = write(
        tmp_path, ["A\tno\t100\t1\tWT\tastrocytoma", "B\t1\t\t1\tWT\t", "C\t\t300\t0\tMutant\toligodendroglioma"]
    )
    files = [tmp_path / name for name in ("samples.parquet", "cases.parquet", "audit.tsv")]
    check_cohort(*files, settings=CheckCohortSettings(cohort=tables, expression_cohorts=["X"], tasks=TASKS))
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


@pytest.mark.parametrize(
    ("column", "classes", "values", "expected"),
    [
        ("grade", ["G2", "G3"], {"grade": ["G2", "G4", ""]}, ["", "G4 is not among the classes of t", "grade unknown"]),
        (
            "diagnosis",
            ["astrocytoma", "oligodendroglioma"],
            {"idh": ["Mutant", "WT", ""], "codel_1p19q": ["codel", "", ""]},
            ["", "glioblastoma is not among the classes of t", "idh unknown"],
        ),
    ],
)
def test_a_label_left_empty_has_its_reason(column, classes, values, expected):
    task = Labelling(kind="classification", column=column, classes=classes)
    labelled, findings = label_cases(pd.DataFrame({"case_id": list("ABC"), **values}), {"t": task})
    assert labelled["label_t"].isna().tolist() == [False, True, True]
    reasons = {row["subject"]: row["detail"] for row in findings if row["check"] == "no_label_t"}
    assert [reasons.get(case_id, "") for case_id in "ABC"] == expected


@pytest.mark.parametrize(("unit", "days"), [("days", 12), ("months", 365.25), ("years", 4383)])
def test_times_are_brought_to_days(unit, days):
    task = Labelling(kind="survival", time="time", event="event", unit=unit)
    labelled, _ = label_cases(
        pd.DataFrame({"case_id": ["A", "B"], "time": ["12", ""], "event": ["1", "0"]}), {"t": task}
    )
    assert labelled["days_t"].tolist()[0] == days and labelled["days_t"].isna().tolist() == [False, True]


@pytest.mark.parametrize("column", ["relapse", "relapse_days", "mgmt"])
def test_one_wrong_column_is_five_rows_and_a_count(tmp_path, column):
    good = {"mgmt": "no", "relapse_days": "100", "relapse": "1"}
    rows = [f"c{n}\t" + "\t".join((good | {column: "-7"})[name] for name in good) + "\tWT\t" for n in range(300)]
    with pytest.raises(UserError) as caught:
        read_cohort(write(tmp_path, rows), TASKS, ["X"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 6 and all(f"row {number + 2}: {column} is '-7'" in lines[number] for number in range(5))
    assert "295 more like these" in lines[5] and "row 301" in lines[5]


def test_every_combination_of_markers_has_its_row_of_the_truth_table():
    """The rules of the paper as they are written, against each of the 108 combinations."""
    values = [("", "WT", "Mutant"), ("", "codel", "non-codel"), ("", "homdel", "intact"), ("", "G2", "G3", "G4")]
    rows = [(i, c, h, g) for i in values[0] for c in values[1] for h in values[2] for g in values[3]]
    table = pd.DataFrame(rows, columns=["idh", "codel_1p19q", "cdkn2a", "grade"])
    table.insert(0, "case_id", [f"c{number}" for number in range(len(table))])
    labelled, _ = label_cases(table, {"diagnosis": BUILTIN_TASKS["diagnosis"]})
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
