"""A results folder belongs to one study: another's run is refused before anything is touched."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml
from fold_project import CASES, write_study, write_tables
from project import Project, copy_project

TARGET = "results/cohort/splits.tsv"


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Project:
    """Return a study whose cases have been split."""
    folder = copy_project(tmp_path_factory.mktemp("study") / "project")
    write_study(folder)
    project = Project(folder, "folds.yaml")
    project.snakemake(TARGET)
    return project


@pytest.fixture
def other(mine) -> Project:
    """Return a study with other cases, beside the first one."""
    folder = mine.folder / "other"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_tables(folder, [f"patient-{number:02d}" for number in range(20)])
    config = yaml.safe_load((mine.folder / "folds.yaml").read_text())
    config["cohort"] |= {"samples": "other/samples.tsv", "cases": "other/cases.tsv"}
    (mine.folder / "other.yaml").write_text(yaml.safe_dump(config))
    return Project(mine.folder, "other.yaml")


def test_the_first_run_says_whose_the_results_are(mine):
    study = json.loads((mine.folder / "results/study.json").read_text())
    told = {"study": None, "tables": ["samples.tsv", "cases.tsv"], "batches": 1, "cases": CASES}
    assert {key: study[key] for key in told} == told


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["alpha"],
        ["heatmaps"],
        [TARGET],
        ["results/report.html", "--until", "split_cases"],
        [TARGET, "--forcerun", "split_cases"],
        ["--forceall"],
        ["--touch"],
        ["--dry-run"],
        ["--delete-all-output"],
    ],
    ids=lambda arguments: " ".join(arguments) or "all",
)
def test_another_study_is_refused_in_one_line_and_nothing_is_touched(mine, other, arguments):
    before = digest(mine.folder / "results")
    done = other.snakemake(*arguments, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    (line,) = [line for line in printed.splitlines() if "belongs to" in line]
    assert "results: belongs to a study of 24 cases (samples.tsv, cases.tsv)" in line
    assert "this is a study of 20 cases (other/samples.tsv, other/cases.tsv)" in line and "folder: NAME" in line
    assert digest(mine.folder / "results") == before


def test_the_demo_is_another_study(mine):
    """Without --configfile, as for `snakemake alpha`, the demo is planned: in a folder of its own."""
    before = digest(mine.folder / "results")
    config = yaml.safe_load((mine.folder / "config.yaml").read_text())
    assert config["folder"] == "demo"
    (mine.folder / "demo-here.yaml").write_text(yaml.safe_dump({**config, "folder": "."}))
    done = Project(mine.folder, "demo-here.yaml").snakemake("alpha", check=False)
    assert done.returncode != 0 and "this is study demo" in done.stdout + done.stderr
    assert digest(mine.folder / "results") == before


def test_two_studies_live_side_by_side(mine, other):
    before = digest(mine.folder / "results")
    other.configure(folder="second")
    other.snakemake(TARGET)
    assert (mine.folder / "second" / TARGET).is_file()
    study = json.loads((mine.folder / "second/results/study.json").read_text())
    assert study["tables"] == ["../other/samples.tsv", "../other/cases.tsv"] and len(study["cases"]) == 20
    assert digest(mine.folder / "results") == before
    assert other.planned(TARGET) == {} and mine.planned(TARGET) == {}


def test_renamed_tables_and_a_moved_folder_are_still_the_study(mine, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(mine.folder, moved)
    for name in ("samples", "cases"):
        (moved / f"{name}.tsv").rename(moved / f"my-{name}.tsv")
    project = Project(moved, "folds.yaml")
    config = yaml.safe_load((moved / "folds.yaml").read_text())
    config["cohort"] |= {"samples": "my-samples.tsv", "cases": "my-cases.tsv"}
    (moved / "folds.yaml").write_text(yaml.safe_dump(config))
    project.snakemake(TARGET)
    assert (moved / TARGET).read_bytes() == (mine.folder / TARGET).read_bytes()


def test_an_older_results_folder_is_adopted_with_its_batches(mine, other, tmp_path):
    folder = tmp_path / "older"
    shutil.copytree(mine.folder, folder)
    (folder / "results/study.json").unlink()
    done = Project(folder, "other.yaml").snakemake(TARGET, check=False)
    assert done.returncode != 0 and "belongs to a study of 24 cases" in done.stdout + done.stderr
    project = Project(folder, "folds.yaml")
    project.configure(slides={"batches": "auto"})
    project.snakemake(TARGET, "--forcerun", "split_cases")
    # No tile is made yet: as many batches as the version that wrote no study.json had.
    assert json.loads((folder / "results/study.json").read_text())["batches"] == 75


def test_a_dry_run_writes_no_results(tmp_path):
    folder = copy_project(tmp_path / "project")
    write_study(folder)
    assert Project(folder, "folds.yaml").planned()["tile_slides"] == 1
    assert not (folder / "results").exists()
