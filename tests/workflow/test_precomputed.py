"""The demo's features, exported and given to a second project that sees no slide."""

import subprocess
import sys

import pandas as pd
import pytest
import yaml
from PIL import Image
from project import Project, copy_project


@pytest.fixture(scope="module")
def second(demo, tmp_path_factory):
    """Return a project that trained on the exported features; its table of samples names no slide file."""
    folder = copy_project(tmp_path_factory.mktemp("precomputed") / "project")
    command = [sys.executable, "-m", "ksfusion", "export", "--format", "trident", "--output", str(folder / "trident")]
    subprocess.run(command, cwd=demo.folder, check=True)
    samples = demo.tsv("samples.tsv")
    samples["slide_id"] = samples["slide"].str.extract(r"([^/]+)\.tiff$")[0]
    samples.assign(slide="").to_csv(folder / "samples.tsv", sep="\t", index=False)
    config = yaml.safe_load((demo.folder / demo.configfile).read_text())
    config |= {"demo": False, "tasks": ["diagnosis"], "methods": ["attmil", "ksfusion"]}
    config["features"] = {"source": "precomputed", "path": "trident"}
    config["training"]["epochs"] = {"diagnosis": 1}
    for source in config["cohort"]["expression"]:
        source["path"] = str(demo.folder / source["path"])
    (folder / "second.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    project = Project(folder, "second.yaml")
    project.snakemake()
    return project


def test_the_store_has_the_same_bytes(demo, second):
    for name in ("features.npy", "index.npy", "slides.tsv"):
        path = f"results/features/store/{name}"
        assert (second.folder / path).read_bytes() == (demo.folder / path).read_bytes(), name


def test_no_stage_that_reads_pixels_ran(second):
    logs = {path.name for path in (second.folder / "results/logs").iterdir()}
    assert {"import_tiles", "import_features", "sample_patches"} <= logs
    assert not {"tile_slides", "fit_stain", "extract_features", "draw_demo_slides"} & logs
    assert not (second.folder / "results/stain").exists()


def test_the_ledger_and_what_follows(demo, second):
    first, slides = demo.tsv("results/slides.tsv"), second.tsv("results/slides.tsv")
    for column in ("slide_id", "batch", "status", "width", "height", "unique_patches", "repeated_patches"):
        assert slides[column].tolist() == first[column].tolist(), column
    samples = second.tsv("results/samples.tsv")
    assert samples["status"].tolist() == demo.tsv("results/samples.tsv")["status"].tolist()
    assert (second.folder / "results/models/diagnosis/ksfusion/fold0/seed0/predictions.parquet").is_file()
    report = (second.folder / "results/report.html").read_text()
    assert "nan mm" not in report


def test_heatmaps_are_drawn_without_slides(demo, second):
    """The same patches and features as the first project's, though another model looks at them."""
    folder = "results/heatmaps/diagnosis/ksfusion/fold0/seed0"
    first, listed = demo.tsv(f"{folder}/heatmaps.tsv"), second.tsv(f"{folder}/heatmaps.tsv")
    assert listed["sample_id"].tolist() == first["sample_id"].tolist() and listed["reason"].isna().all()
    columns = ["sample_id", "x", "y", "cells"]
    seen, known = (pd.read_parquet(project.folder / folder / "attention.parquet") for project in (second, demo))
    pd.testing.assert_frame_equal(seen[columns], known[columns])
    widths = []
    for project, name in ((second, listed["heatmap"].iloc[0]), (demo, first["heatmap"].iloc[0])):
        with Image.open(project.folder / folder / name) as image:
            widths.append(image.width)
    assert widths[0] < widths[1]  # without the panel of the slide


def test_only_the_batch_of_a_lost_file_is_redone(second):
    assert second.planned() == {}
    path = min((second.folder / "trident").iterdir())
    kept = path.rename(second.folder / path.name)
    planned = second.planned()
    kept.rename(path)
    assert (planned["import_tiles"], planned["sample_patches"], planned["import_features"]) == (1, 1, 1)
    assert "read_expression" not in planned
