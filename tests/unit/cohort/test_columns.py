"""A hospital's tables, in its own names and words, by a mapping in the configuration."""

import pytest
import yaml
from workbooks import write_workbook

from ksfusion.cohort.config import CohortFiles
from ksfusion.cohort.samples import read_cohort
from ksfusion.config import Config
from ksfusion.core.errors import UserError
from ksfusion.preflight.parsing import parse_config
from ksfusion.results.tasks import BUILTIN_TASKS

# As the documentation shows it.
MAPPING = yaml.safe_load(
    "{case_id: Patient, event: {column: Status, died: [Dead, deceased], alive: [Alive]},"
    " survival_days: {column: OS, unit: months}, grade: {II: G2, III: G3, IV: G4}}"
)
CASES = [
    ["Patient", "Status", "OS", "grade", "idh"],
    ["A", "Dead", "10", "IV", "WT"],
    ["B", "ALIVE", "2,5", "iii", "unknown"],
    ["C", "deceased", "n/a", "-", "Mutant"],
    ["D", "Unknown", "12", "G2", ""],
]
SAMPLES = [["sample_id", "case_id", "cohort", "slide", "expression_id"]]
SAMPLES += [[f"{case}-1", case, "UKX", f"{case}.svs", f"P{case}"] for case in "ABCD"]
# A month has 365.25 / 12 days.
EXPECTED = [
    ("A", "1", "304.375", "G4", "WT"),
    ("B", "0", "76.09375", "G3", ""),
    ("C", "1", "", "", "Mutant"),
    ("D", "", "365.25", "G2", ""),
]
NAMES = ("case_id", "event", "survival_days", "grade", "idh")


def table(path, rows, delimiter=";"):
    if path.suffix == ".xlsx":
        numbers = [[float(c.replace(",", ".")) if c.replace(",", "").isdigit() else c for c in row] for row in rows]
        return str(write_workbook(path, {"Tabelle1": numbers}))
    rows = [[f'"{cell}"' if delimiter == "," and "," in cell else cell for cell in row] for row in rows]
    path.write_text("\n".join(map(delimiter.join, rows)) + "\n")
    return str(path)


def cohort(folder, cases=CASES, samples=SAMPLES, columns=MAPPING, tasks=BUILTIN_TASKS, name="klinik.csv"):
    files = {"cases": table(folder / name, cases), "samples": table(folder / f"samples-{name}", samples)}
    return read_cohort(CohortFiles.model_validate({**files, "columns": columns}), tasks, ["UKX"])


def refused(*arguments, **options):
    with pytest.raises(UserError) as caught:
        cohort(*arguments, **options)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", ["klinik.csv", "klinik.xlsx"])
def test_the_mapping_of_the_documentation(tmp_path, name):
    found = cohort(tmp_path, name=name)
    assert [tuple(row[column] for column in NAMES) for row in found.cases] == EXPECTED
    assert [row["case_id"] for row in found.samples] == list("ABCD")


def test_a_name_and_words_together_also_of_samples(tmp_path):
    cases = [["id", "WHO 2021", "IDH-Status"], ["A", "2", "mutiert"], ["B", "4", "nicht bestimmt"]]
    samples = [["Nr", "id", "Haus", "Datei", "RNA", "um/px", "Bemerkung"]]
    samples += [["1", "A", "Haus 1", "a.png", "x", "0,25", "gut"], ["2", "B", "Haus 2", "b.png", "-", "", ""]]
    columns = {
        "case_id": "id",
        "grade": {"column": "WHO 2021", 2: "G2", 4: "G4"},
        "idh": {"column": "IDH-Status", "words": {"mutiert": "Mutant", "nicht bestimmt": None}},
        "sample_id": "Nr",
        "cohort": {"column": "Haus", "words": {"Haus 1": "UKX", "haus 2": "UKX"}},
        "slide": "Datei",
        "expression_id": "RNA",
        "mpp": "um/px",
    }
    found = cohort(tmp_path, cases, samples, columns)
    assert [(row["grade"], row["idh"]) for row in found.cases] == [("G2", "Mutant"), ("G4", "")]
    wanted = ("sample_id", "case_id", "cohort", "slide", "slide_id", "expression_id", "mpp")
    assert [tuple(row[name] for name in wanted) for row in found.samples] == [
        ("1", "A", "UKX", "a.png", "a", "x", "0.25"),
        ("2", "B", "UKX", "b.png", "b", "", ""),
    ]


def test_what_no_task_uses_is_not_judged(tmp_path):
    cases = [
        ["case_id", "idh", "grade", "event", "survival_days"],
        *[[c, "positiv", "IV", "tot", "bald"] for c in "ABCD"],
    ]
    assert len(cohort(tmp_path, cases, columns={}, tasks={}).cases) == 4
    own = parse_config_tasks({"idh": {"kind": "classification", "column": "idh", "classes": ["positiv", "negativ"]}})
    assert {row["idh"] for row in cohort(tmp_path, cases, columns={}, tasks=own).cases} == {"positiv"}
    survival = {"survival": BUILTIN_TASKS["survival"]}
    lines = refused(tmp_path, cases, columns={}, tasks=survival)
    assert sum("event is 'tot'" in line for line in lines) == 4 and not any("grade" in line for line in lines)


def parse_config_tasks(tasks):
    source = {"cohort": "UKX", "format": "matrix", "unit": "log", "path": "x.tsv"}
    return parse_config({"cohort": {"samples": "s", "cases": "c", "expression": [source]}, "tasks": tasks}).tasks


def test_every_refusal_says_what_1_means(tmp_path):
    (line,) = refused(tmp_path, [CASES[0], ["A", "gone", "1", "II", "WT"]], SAMPLES[:2])
    assert line.endswith(
        "klinik.csv: row 2: event (your Status) is 'gone'; write 0 or 1 (1: died, 0: alive when last seen), or leave "
        "it empty, or say in cohort.columns what your words mean: {event: {died: [...], alive: [...]}}"
    )
    (line,) = refused(tmp_path, [CASES[0], ["A", "Dead", "1", "V", "WT"]], SAMPLES[:2])
    assert "grade is 'V'; write G2 or G3 or G4, or leave it empty, or say in cohort.columns" in line
    assert line.endswith("{grade: {V: ...}}")
    tasks = parse_config_tasks({"pfs": {"kind": "survival", "time": "PFS", "event": "Rezidiv"}})
    cases = [["case_id", "PFS", "Rezidiv"], ["A", "100", "ja"]]
    (line,) = refused(tmp_path, cases, SAMPLES[:2], {}, tasks)
    assert "Rezidiv is 'ja'; write 0 or 1 (1: it happened, 0: it had not when last seen)" in line
    columns = {"Rezidiv": {"ja": 1, "nein": 0}}
    assert cohort(tmp_path, cases, SAMPLES[:2], columns, tasks).cases[0]["Rezidiv"] == "1"


def test_a_column_that_is_nowhere(tmp_path):
    (line,) = refused(tmp_path, columns={**MAPPING, "idh": "IDH1"})
    assert line.startswith("cohort.columns: idh: no table has a column IDH1; correct it: ")
    assert "klinik.csv has Patient, Status, OS, grade, idh" in line
    lines = refused(tmp_path, columns={**MAPPING, "case_id": "Fall"})
    assert any(line.startswith("cohort.columns: case_id: no table has a column Fall") for line in lines)


def test_a_wrong_number_of_fields_says_what_separates_them(tmp_path):
    (line,) = refused(tmp_path, [*CASES, ["E", "Dead"]])
    assert line.endswith("klinik.csv: row 6: has 2 fields, the header has 5; add or remove semicolons")


def test_a_workbook_with_several_sheets_says_which_is_read(tmp_path):
    path = write_workbook(tmp_path / "klinik.xlsx", {"Legende": [["a", "b"], ["c", "d"]], "Daten": CASES})
    files = CohortFiles(samples=table(tmp_path / "s.csv", SAMPLES), cases=str(path))
    with pytest.raises(UserError, match=r"column case_id is missing; .*; it has a, b in its first sheet, Legende"):
        read_cohort(files, {}, ["UKX"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"event": {"column": "S", "died": [True]}}, "event.died: YAML reads yes, no, on and off as true and false"),
        ({"event": {True: 1}}, "event.words: YAML reads yes, no"),
        ({"event": {"died": ["x"], "alive": ["X"]}}, "event: 'x' has two meanings, 1 and 0"),
        ({"grade": {"unit": "months"}}, "grade: unit is for survival_days"),
        ({"survival_days": {"unit": "weeks"}}, "survival_days.unit: Input should be 'days', 'months' or 'years'"),
        ({"grade": {"II": ["G2"]}}, "grade.words: ['G2'] is no word"),
        ({"grade": ["II"]}, "columns.grade: "),
    ],
)
def test_a_wrong_mapping_is_one_line(columns, message):
    source = {"cohort": "UKX", "format": "matrix", "unit": "log", "path": "x.tsv"}
    with pytest.raises(UserError) as caught:
        parse_config({"cohort": {"samples": "s", "cases": "c", "expression": [source], "columns": columns}})
    (line,) = str(caught.value).splitlines()
    assert message in line


def test_a_class_that_counts_as_empty_is_refused():
    with pytest.raises(UserError, match=r"'unknown' counts as empty in tables; give it another word in cohort"):
        parse_config_tasks({"t": {"kind": "classification", "column": "t", "classes": ["a", "unknown"]}})


def test_editors_take_all_forms():
    schema = Config.model_json_schema()["$defs"]["Cohort"]["properties"]["columns"]["additionalProperties"]
    assert {"type": "string"} in schema["anyOf"]
