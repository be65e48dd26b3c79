"""Tasks without labels because a column has another name, told from the tables alone with the columns there are."""

import pytest

from ksfusion.cohort.config import CohortFiles, Labelling
from ksfusion.cohort.label_columns import label_warnings
from ksfusion.cohort.samples import read_cohort
from ksfusion.core.errors import UserError
from ksfusion.plan import Plan
from ksfusion.preflight.parsing import parse_config
from ksfusion.results.tasks import BUILTIN_TASKS

SAMPLES = "sample_id\tcase_id\tcohort\tslide\texpression_id\ns\tA\tT\ts.svs\tP\n"
MARKERS = ["idh", "codel_1p19q", "cdkn2a", "grade"]
ALL = {**dict.fromkeys(MARKERS, ""), "idh": "Mutant", "codel_1p19q": "codel", "cdkn2a": "intact", "grade": "G2"}
ALL |= {"survival_days": "400", "event": "1"}


def warnings(folder, values, tasks=BUILTIN_TASKS):
    (folder / "samples.tsv").write_text(SAMPLES)
    columns = ["case_id", *values]
    (folder / "cases.tsv").write_text("\t".join(columns) + "\n" + "\t".join(["A", *values.values()]) + "\n")
    files = CohortFiles(samples=str(folder / "samples.tsv"), cases=str(folder / "cases.tsv"))
    return label_warnings(read_cohort(files, tasks, ["T"]), tasks, "cases.tsv")


def renamed(**names):
    return {names.get(name, name): value for name, value in ALL.items()}


def test_nothing_is_said_where_all_columns_are_there(tmp_path):
    assert warnings(tmp_path, ALL) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            renamed(survival_days="OS_days"),
            "task survival: no column survival_days, so that no case has a label; there are case_id, idh, codel_1p19q, "
            "cdkn2a, grade, OS_days, event: write cohort.columns: {survival_days: OS_days} if that is meant, or leave "
            "the task out",
        ),
        (renamed(event="vital_status"), "no column event, so that no case has a label; there are case_id, idh, "),
        (renamed(event="vital_status"), ": write cohort.columns: {event: vital_status} if that is meant"),
        (
            renamed(event="dead", survival_days="time"),
            "no column survival_days and event, so that no case has a label; there are",
        ),
        (
            renamed(event="dead", survival_days="time"),
            ": write cohort.columns: {survival_days: time, event: dead} if that is meant",
        ),
        (
            ALL | {"event": ""},
            "task survival: column event is empty, so that no case has a label; fill it in, or leave",
        ),
        (renamed(event="Sterbe"), "grade, survival_days, Sterbe: write cohort.columns: {event: YOURS} if that"),
    ],
)
def test_of_survival(tmp_path, values, said):
    (line,) = warnings(tmp_path, values)
    assert line.startswith("cases.tsv: task survival: ") and said in line


def test_of_grading_and_of_the_diagnosis_that_the_grade_decides(tmp_path):
    lines = warnings(tmp_path, renamed(grade="WHO_grade"))
    assert [line.split("; ")[0] for line in lines] == [
        "cases.tsv: task diagnosis: no column grade, so that cases that it decides have no label",
        "cases.tsv: task grading: no column grade, so that no case has a label",
    ]
    assert all("{grade: WHO_grade} if that is meant" in line for line in lines)


def test_of_the_markers(tmp_path):
    (line,) = warnings(tmp_path, renamed(idh="IDH_status"))
    assert "task diagnosis: no column idh, so that no case has a label" in line and "{idh: IDH_status} if" in line
    (line,) = warnings(tmp_path, renamed(codel_1p19q="X1p19q", cdkn2a="CDKN2A_loss"))
    assert "no column codel_1p19q and cdkn2a, so that cases that it decides have no label" in line
    assert "{codel_1p19q: X1p19q, cdkn2a: CDKN2A_loss} if that is meant" in line
    # Where nobody is mutant, they decide nothing.
    assert warnings(tmp_path, renamed(codel_1p19q="X1p19q") | {"idh": "WT"}) == []
    # Nor where the table states the diagnosis.
    assert warnings(tmp_path, renamed(idh="IDH_status") | {"diagnosis": "glioblastoma"}) == []


def test_a_column_of_ones_own_task_and_of_the_samples_names_those_there_are(tmp_path):
    tasks = {"mgmt": Labelling(kind="classification", column="mgmt", classes=["no", "yes"])}
    with pytest.raises(UserError, match=r"column mgmt is missing, task mgmt needs it; .*; it has case_id, MGMT_status"):
        warnings(tmp_path, {"MGMT_status": "yes"}, tasks)
    (tmp_path / "samples.tsv").write_text(SAMPLES.replace("expression_id", "profile"))
    files = CohortFiles(samples=str(tmp_path / "samples.tsv"), cases=str(tmp_path / "cases.tsv"))
    with pytest.raises(UserError, match=r"column expression_id is missing; .*; it has sample_id, case_id, .*, profile"):
        read_cohort(files, {}, ["T"])


def test_the_run_tells_it_before_any_job(tmp_path):
    source = {"cohort": "T", "format": "matrix", "unit": "log", "path": "x.tsv"}
    files = {"samples": str(tmp_path / "samples.tsv"), "cases": str(tmp_path / "cases.tsv")}
    warnings(tmp_path, renamed(survival_days="OS_days"))
    config = parse_config({"cohort": {**files, "expression": [source]}})
    tables = read_cohort(config.cohort, config.tasks, ["T"])
    lines = Plan(config, tables, study=None).warnings()
    assert any(line.startswith(f"{files['cases']}: task survival: no column survival_days") for line in lines)
