"""A hospital's table, read in its own words."""

import pytest
import yaml
from workbooks import write_workbook

from ksfusion.cohort.clinical import cases_of, guess_columns, read_clinical, translate
from ksfusion.cohort.config import UserColumn
from ksfusion.cohort.first_config import configuration_text, task_kinds
from ksfusion.core.errors import UserError
from ksfusion.results.tasks import BUILTIN_TASKS

TABLE = """Fallnummer;Alter;IDH-Status;WHO-Grad;OS_Monate;Status;MGMT
P-1;54;Wildtyp;IV;13,6;verstorben;methyliert
P-2;33;mutiert;II;80;lebt;n/a
P-2;33;mutiert;III;80;lebt;unmethyliert
P-3;-;unklar;4;-1;k.A.;methyliert
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "klinik.csv"
    path.write_bytes(TABLE.encode("cp1252"))
    return read_clinical(path)


def test_columns_are_known_by_their_names(table):
    assert guess_columns(table) == {
        "case_id": "Fallnummer",
        "idh": "IDH-Status",
        "grade": "WHO-Grad",
        "survival_months": "OS_Monate",
        "event": "Status",
        "age": "Alter",
    }


def test_cases_in_the_words_of_the_table_of_cases(table):
    ids = {f"P-{number}": f"P-{number}" for number in (1, 2, 3)}
    cases = cases_of(table, {**guess_columns(table), "mgmt": "MGMT"}, ids)
    assert cases.columns == ("case_id", "idh", "grade", "survival_days", "event", "age", "mgmt")
    rows = [tuple(row[name] for name in cases.columns) for row in cases.rows]
    # 13.6 and 80 months of 30.4375 days.
    assert rows == [
        ("P-1", "WT", "G4", "413.95", "1", "54", "methyliert"),
        ("P-2", "Mutant", "G2", "2435", "0", "33", "unmethyliert"),
        ("P-3", "", "G4", "", "", "", "methyliert"),
    ]
    assert cases.classes == {"mgmt": ["methyliert", "unmethyliert"]}
    said = {(what, which): why for what, which, why in cases.notes}
    assert "rows of the case say G2 and G3" in said["grade", "P-2"]
    assert "'unklar' is none of WT, Mutant" in said["idh", "P-3"]
    assert "'-1' is not a time above 0" in said["survival_days", "P-3"]


def test_the_names_and_words_of_the_table_and_what_they_mean(table):
    ids = {f"P-{number}": f"P-{number}" for number in (1, 2, 3)}
    cases = cases_of(table, {**guess_columns(table), "mgmt": "MGMT"}, ids)
    assert cases.own_columns == ("Fallnummer", "IDH-Status", "WHO-Grad", "OS_Monate", "Status", "Alter", "MGMT")
    assert [tuple(row[name] for name in cases.own_columns) for row in cases.own_rows] == [
        ("P-1", "Wildtyp", "IV", "13.6", "verstorben", "54", "methyliert"),
        ("P-2", "mutiert", "II", "80", "lebt", "33", "unmethyliert"),
        ("P-3", "unklar", "4", "", "", "", "methyliert"),
    ]
    assert cases.mapping == {
        "case_id": "Fallnummer",
        "idh": {"column": "IDH-Status", "Wildtyp": "WT", "mutiert": "Mutant", "unklar": None},
        "grade": {"column": "WHO-Grad", "IV": "G4", "II": "G2", "III": "G3", "4": "G4"},
        "survival_days": {"column": "OS_Monate", "unit": "months"},
        "event": {"column": "Status", "died": ["verstorben"], "alive": ["lebt"]},
        "age": "Alter",
        "mgmt": "MGMT",
    }


def test_a_table_in_our_own_names_and_words_needs_no_mapping(tmp_path):
    path = write_workbook(
        tmp_path / "klinik.xlsx",
        {"a": [["case_id", "grade", "survival_days", "event"], ["A", "G2", 400.5, 1], ["B", "G4", 30, 0]]},
    )
    table = read_clinical(path)
    meanings = {name: name for name in table.columns}
    cases = cases_of(table, meanings, {"A": "A", "B": "B"})
    assert cases.mapping == {} and cases.own_rows == cases.rows
    assert cases.rows[0] == {"case_id": "A", "grade": "G2", "survival_days": "400.5", "event": "1"}
    assert yaml.safe_load(configuration_text(cases, {"unit": "log"}, BUILTIN_TASKS, unit_is_sure=True))["cohort"] == {
        "samples": "samples.tsv", "cases": "cases.tsv", "expression": [{"unit": "log"}],
    }  # fmt: skip


def test_a_word_that_is_called_as_a_key_is(tmp_path):
    path = tmp_path / "k.csv"
    path.write_text("id,grade\nA,unit\nB,II\nC,III\n")
    cases = cases_of(read_clinical(path), {"case_id": "id", "grade": "grade"}, {name: name for name in "ABC"})
    assert cases.mapping["grade"] == {"words": {"unit": None, "II": "G2", "III": "G3"}}
    text = configuration_text(cases, {"unit": "log"}, BUILTIN_TASKS, unit_is_sure=False)
    columns = yaml.safe_load(text)["cohort"]["columns"]
    assert UserColumn.model_validate(columns["grade"]).meanings == {"unit": "", "ii": "G2", "iii": "G3"}
    assert columns["case_id"] == "id"


def test_age_and_sex_are_what_the_clinical_baselines_read(tmp_path):
    path = tmp_path / "k.csv"
    path.write_text("id,Gender,Age at diagnosis,Age group,grade\nA,m,50,old,II\nB,f,40,young,III\n")
    table = read_clinical(path)
    meanings = guess_columns(table)
    assert (meanings["sex"], meanings["age"]) == ("Gender", "Age at diagnosis")
    cases = cases_of(table, meanings, {"A": "A", "B": "B"})
    text = configuration_text(cases, {"unit": "log"}, BUILTIN_TASKS, unit_is_sure=True, methods=["snn", "clinical"])
    config = yaml.safe_load(text)
    assert config["cohort"]["clinical"] == ["age", "sex"] and config["methods"] == ["snn", "clinical"]
    assert task_kinds(cases, BUILTIN_TASKS) == {"classification"}


@pytest.mark.parametrize(
    ("meaning", "value", "word"),
    [
        ("grade", "WHO grade III", "G3"),
        ("grade", "G2", "G2"),
        ("grade", "I", None),
        ("event", "1:DECEASED", "1"),
        ("event", "0:LIVING", "0"),
        ("event", "2", None),
        ("idh", "IDH1 R132H", "Mutant"),
        ("idh", "1", None),
        ("codel_1p19q", "non-codel", "non-codel"),
        ("cdkn2a", "homozygous deletion", "homdel"),
    ],
)
def test_values_that_leave_no_doubt(meaning, value, word):
    assert translate(meaning, value) == word


def test_a_table_that_is_none(tmp_path, table):
    path = tmp_path / "list.txt"
    path.write_text("Patient\nP-1\n")
    with pytest.raises(UserError, match="no tab, semicolon or comma"):
        read_clinical(path)
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(UserError, match="column 'a' stands twice"):
        read_clinical(path)
    path.write_text("a,b\n1,2,3\n")
    with pytest.raises(UserError, match="row 2: has 3 fields"):
        read_clinical(path)
    with pytest.raises(UserError, match="has no such column; it has Fallnummer"):
        table.check_columns({"case_id": "Patient"})
    with pytest.raises(UserError, match="did you mean --column case_id=Fallnummer\\?"):
        table.check_columns({"case_id": "Fallnumer"})
    with pytest.raises(UserError, match="did you mean --column case_id=Fallnummer\\?"):
        table.check_columns({"Fallnummer": "case_id"})
    with pytest.raises(UserError, match="has 1 values"):
        cases_of(table, {"case_id": "Fallnummer", "new": "IDH-Status"}, {"P-1": "P-1", "P-2": "P-1", "P-3": "P-1"})
