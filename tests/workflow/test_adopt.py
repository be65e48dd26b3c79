"""`ksfusion adopt` takes over what version 0.1.0 made: a results folder of its, without slides, is in tests/data."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import h5py
import pytest
from fold_project import CASES, draw_slides
from project import ROOT, Project, copy_project

# The files that tables, figures and the report are made of, and nothing else, are remade: they cost seconds.
RESULTS = {"make_comparisons", "make_subgroups", "make_tables", "draw_figures", "draw_genes", "write_report"}
# Rules that 0.1.0 did not have.
RESULTS |= {"check_tiles", "check_expression"}


@pytest.fixture
def old(tmp_path) -> Project:
    folder = copy_project(tmp_path / "project")
    draw_slides(folder, CASES, compress_level=0)
    with tarfile.open(ROOT / "tests/data/results_0.1.0.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return Project(folder, "folds.yaml")


def adopt(project: Project) -> str:
    call = "import sys; from ksfusion.cli import main; main(['adopt', sys.argv[1]])"
    command = [sys.executable, "-c", call, project.configfile]
    environment = {"PYTHONPATH": str(project.folder / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def features(path: Path) -> dict[str, tuple[bytes, str]]:
    with h5py.File(path, "r") as file:
        return {slide: (group["features"][:].tobytes(), group.attrs["key"]) for slide, group in file.items()}


def test_finished_files_are_taken_over_and_nobody_encodes_twice(old):
    assert {"tile_slides", "extract_features", "train_model"} <= set(old.planned())
    model = old.folder / "results/models/mgmt/snn/fold0/seed0/model.safetensors"
    weights, before = model.read_bytes(), features(old.folder / "results/features/0.h5")
    assert len(before) == len(CASES)
    said = adopt(old)
    assert "files are taken over" in said
    assert set(old.planned()) <= RESULTS | {"draw_overviews"}
    assert model.read_bytes() == weights
    after = features(old.folder / "results/features/0.h5")
    assert {slide: values for slide, (values, _) in after.items()} == {s: values for s, (values, _) in before.items()}

    # One slide more: its batch is packed anew, and only that slide is encoded.
    shutil.copy2(old.folder / "slides/case-00.png", old.folder / "slides/case-90.png")
    for name, row in (
        ("samples.tsv", "case-90\tcase-90\tX\tslides/case-90.png\tcase-90\t0.5\n"),
        ("cases.tsv", "case-90\tmethylated\n"),
    ):
        path = old.folder / name
        path.write_text(path.read_text() + row)
    old.snakemake("results/features/0.h5")
    log = (old.folder / "results/logs/extract_features/0.log").read_text()
    assert [case for case in [*CASES, "case-90"] if f"{case}\t" in log or f"{case}:" in log] == ["case-90"]


def test_what_has_other_settings_or_inputs_is_left(old):
    old.configure(stain={"method": "macenko"})
    cases = old.folder / "cases.tsv"
    cases.write_text(cases.read_text().replace("unmethylated", "methylated", 1))
    said = adopt(old)
    assert "fit_stain: other settings" in said
    assert "check_cohort: cases.tsv has changed since" in said
    planned = old.planned()
    assert {"check_cohort", "fit_stain", "extract_features", "train_model"} <= set(planned)
    assert {"tile_slides", "sample_patches", "read_expression"} & set(planned) == set()


@pytest.mark.parametrize(("sets", "kept"), [("builtin", True), ("builtin-0.1.0", True), ("builtin-0.2.0", False)])
def test_a_finished_study_keeps_its_genes_unless_another_version_is_named(old, sets, kept):
    old.configure(genes={"sets": sets})
    said = adopt(old)
    assert ("select_genes: other settings" in said) == ("read_expression: other settings" in said) == (not kept)
    assert json.loads((old.folder / "results/study.json").read_text())["gene_sets"] == "builtin-0.1.0"


def test_files_of_an_unknown_version_of_the_code_are_left(old):
    path = old.folder / "resources/adopted_codes.json"
    known = json.loads(path.read_text())
    known["0.1.0"]["tile_slides"] = ["000000000000"]
    path.write_text(json.dumps(known))
    said = adopt(old)
    assert "tile_slides: made by another version of the code" in said
    assert "tile_slides" in old.planned()


def test_without_results_it_says_where_to_call_it(tmp_path):
    folder = copy_project(tmp_path / "project")
    done = subprocess.run(
        [sys.executable, "-m", "ksfusion", "adopt", "config.yaml"],
        cwd=folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder / "src")},
    )  # fmt: skip
    assert done.returncode == 2
    assert "call this in the folder that has results/ in it" in done.stderr
