"""A hospital's own tables, to the end: a workbook of patients, semicolons and decimal commas, its names and words."""

import json
import shutil

import pandas as pd
import pytest
import yaml
from fold_project import CASES, CLASSES, draw_slide, write_study
from project import Project, copy_project
from workbooks import write_workbook

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
RUN = "results/models/survival/snn/fold0/seed0/metrics.json"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Project:
    """Return a study whose tables lie in a folder of their own, beside the slides, and nobody has edited."""
    folder = copy_project(tmp_path_factory.mktemp("hospital") / "project")
    write_study(folder)
    config = yaml.safe_load((folder / "folds.yaml").read_text())
    data = folder / "klinik"
    data.mkdir()
    shutil.move(folder / "slides", data / "slides")
    rows = [
        [case, ["Dead", "Alive"][n % 2], n + 1.5, ["II", "III", "IV", "?"][n % 4], "positiv", CLASSES[n % 2]]
        for n, case in enumerate(CASES)
    ]
    header = ["Patient", "Status", "OS", "grade", "idh", "MGMT"]
    write_workbook(data / "klinik.xlsx", {"Patienten": [header, *rows]})
    lines = [f"{case};{case};X;slides/{case}.png;{case};0,5;-" for case in CASES]
    lines = ["Nr;Patient;cohort;Datei;expression_id;mpp;Bemerkung", *lines]
    (data / "proben.csv").write_text("\n".join(lines) + "\n")
    genes = pd.read_csv(folder / "expression.tsv", sep="\t")
    write_workbook(data / "rna.xlsx", {"RNA": [list(genes.columns), *genes.values.tolist()]})
    columns = {
        "case_id": "Patient",
        "sample_id": "Nr",
        "slide": "Datei",
        "event": {"column": "Status", "died": ["Dead", "deceased"], "alive": ["Alive"]},
        "survival_days": {"column": "OS", "unit": "months"},
        "mgmt": "MGMT",
    }
    source = {"cohort": "X", "format": "matrix", "unit": "counts", "path": "klinik/rna.xlsx"}
    config["cohort"] = {"samples": "klinik/proben.csv", "cases": "klinik/klinik.xlsx", "columns": columns}
    config["cohort"]["expression"] = [source]
    config["splits"] = {"scheme": "kfold", "k": 2, "fractions": [0.7, 0.3]}
    config["tasks"]["survival"] = {"kind": "survival", "time": "survival_days", "event": "event", "epochs": 2}
    config["training"]["seeds"] = [0]
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    return Project(folder, "mine.yaml")


def test_is_read_as_it_stands(hospital):
    hospital.snakemake(RUN)
    samples = hospital.tsv("results/samples.tsv")
    assert samples["status"].eq("ok").all() and len(samples) == len(CASES)
    cases = pd.read_parquet(hospital.folder / "results/cohort/cases.parquet").set_index("case_id")
    # Months of 365.25 / 12 days; the grade, which no task reads, is as it was.
    assert cases.loc["case-02", "days_survival"] == pytest.approx(3.5 * 365.25 / 12)
    assert cases.loc[["case-00", "case-01"], "event_survival"].tolist() == [1, 0]
    assert cases["grade"].tolist()[:4] == ["II", "III", "IV", "?"]
    assert json.loads((hospital.folder / RUN).read_text())["task"] == "survival"
    sides = hospital.tsv("results/cohort/splits.tsv").query("fold == 0 and split != 'test'")["split"]
    assert sides.eq("val").mean() == pytest.approx(0.3, abs=0.1)


def test_a_word_that_nobody_knows_is_one_line(hospital):
    shutil.copy(hospital.folder / "mine.yaml", hospital.folder / "grades.yaml")
    graded = Project(hospital.folder, "grades.yaml")
    graded.configure(tasks={"grading": {"kind": "classification", "column": "grade", "classes": ["G2", "G3", "G4"]}})
    done = graded.snakemake("--dry-run", check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "klinik.xlsx: row 2: grade is 'II'" in line]
    assert len(lines) == 1 and "say in cohort.columns what your words mean: {grade: {II: ...}}" in lines[0]


def test_too_many_slides_without_tiles_stop_the_run_before_any_is_encoded(hospital, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(hospital.folder, folder, symlinks=True)
    shutil.rmtree(folder / "results")
    for case in CASES[:3]:
        (folder / f"klinik/slides/{case}.png").write_bytes(b"broken")
    project = Project(folder, "mine.yaml")
    done = project.snakemake("tables", check=False)
    printed = done.stdout + done.stderr
    said = "3 of 24 slides failed (unreadable 3), more than the 2 that slides.max_failed_fraction = 0.05 allows"
    assert done.returncode != 0 and said in printed and "slide case-00: unreadable" in printed
    assert not list((folder / "results").glob("features/*.h5"))
    # Two may fail, however few there are; and a slide more redoes its own batch alone.
    draw_slide(folder / "klinik/slides/case-00.png", 0)
    project.snakemake("results/features/0.h5", "results/tiles/failed.tsv")
    assert project.tsv("results/tiles/failed.tsv")["slide_id"].tolist() == ["case-01", "case-02"]
    assert "extract_features" not in project.planned("results/tiles/failed.tsv", "results/features/0.h5")
