"""A mistake in the configuration or the tables stops the run with readable lines before any job starts."""

import re
import subprocess
import sys

import pytest
import yaml
from project import Project, copy_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("mistakes") / "project")
    return Project(folder, "mine.yaml")


def refused(project, config):
    (project.folder / "mine.yaml").write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    done = project.snakemake("--dry-run", check=False)
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in printed
    assert not (project.folder / "results").exists()
    return printed


def settings(project, samples, cases, **more):
    (project.folder / "mine-samples.tsv").write_text(samples)
    (project.folder / "mine-cases.tsv").write_text(cases)
    (project.folder / "x.tsv").write_text("symbol\tP\nEGFR\t1\n")
    source = {"cohort": "C", "format": "matrix", "unit": "log", "path": "x.tsv"}
    return {"cohort": {"samples": "mine-samples.tsv", "cases": "mine-cases.tsv", "expression": [source]}, **more}


SAMPLES = "sample_id\tcase_id\tcohort\tslide\texpression_id\ns1\tA\tC\ts1.svs\tP\n"
CASES = "case_id\tidh\nA\tWT\n"


def test_an_unknown_key(project):
    printed = refused(project, settings(project, SAMPLES, CASES, patchs={"count": 100}))
    assert "mine.yaml: patchs: unknown key" in printed


def test_a_block_that_stands_twice(project):
    config = settings(project, SAMPLES, CASES, patches={"count": 100})
    text = yaml.safe_dump(config) + "slides:\n  mpp: 0.5\npatches:\n  order: hilbert\n"
    printed = refused(project, text)
    line = 1 + text.splitlines().index("patches:")
    assert f"mine.yaml: row {text.count(chr(10)) - 1}: key 'patches' stands in row {line} already; merge" in printed


def test_a_key_with_dots_is_told_how_it_is_written_and_that_form_is_taken(project):
    config = settings(project, SAMPLES, CASES)
    printed = refused(project, {**config, "training.alpha": 0.7})
    form = "training={alpha: 0.7}"
    assert "mine.yaml: training.alpha: unknown key; write training: {alpha: 0.7} in the file, or give " in printed
    assert f"Snakemake --config '{form}'" in printed
    (project.folder / "mine.yaml").write_text(yaml.safe_dump(config))
    (project.folder / "s1.svs").touch()
    done = project.snakemake("--dry-run", "--printshellcmds", "--config", form)
    assert '"alpha":0.7' in done.stdout + done.stderr


def test_a_demo_that_is_no_yaml_is_named_with_its_row(project):
    path = project.folder / "config.yaml"
    text = path.read_text()
    try:
        path.write_text(text + "methods: [snn\ntraining: {}\n")
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run"]
        done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    finally:
        path.write_text(text)
    printed = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in printed
    assert re.search(r"config\.yaml: row \d+: is not valid YAML", printed)


def test_slides_in_another_folder_are_told_at_once(project):
    samples = SAMPLES + "".join(f"t{number}\tA\tC\twrong/t{number}.svs\tP\n" for number in range(9))
    (project.folder / "s1.svs").write_bytes(b"x")
    (project.folder / "mine.yaml").write_text(yaml.safe_dump(settings(project, samples, CASES)))
    printed = project.snakemake("--dry-run").stderr
    told = "warning: mine-samples.tsv: 9 of 10 slide files are missing or empty, such as wrong/t0.svs"
    assert printed.count(told) == 1 and "check the folder they are in" in printed


def test_a_split_that_does_not_fit(project):
    (project.folder / "split.tsv").write_text("fold\tcase_id\tsplit\n0\tB\ttrain\n")
    printed = refused(project, settings(project, SAMPLES, CASES, splits={"scheme": "file", "file": "split.tsv"}))
    assert "split.tsv: row 2: 'B' is no case or slide with a sample" in printed
    printed = refused(project, settings(project, SAMPLES, CASES, splits={"scheme": "file", "file": "lost.tsv"}))
    assert "lost.tsv: cannot be read" in printed


def test_a_wrong_type(project):
    printed = refused(project, settings(project, SAMPLES, CASES, patches={"count": "many"}))
    assert "mine.yaml: patches.count" in printed and "'many'" in printed


def test_a_missing_table(project):
    config = settings(project, SAMPLES, CASES)
    config["cohort"]["cases"] = "nowhere.tsv"
    assert "nowhere.tsv: cannot be read" in refused(project, config)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"encoder": "resnet5"},
            "mine.yaml: features.encoder: unknown encoder 'resnet5'; known: resnet50, efficientnet-lite0, uni, ",
        ),
        ({"weights": "src"}, "mine.yaml: features.weights: src is a folder"),
        ({"weights": "lost.pth"}, "mine.yaml: features.weights: lost.pth is not there"),
        ({"encoder": "seeded-conv", "weights": "src"}, "mine.yaml: features.weights: seeded-conv has no weights"),
        ({"precision": "half"}, "mine.yaml: features.precision: "),
    ],
)
def test_an_encoder_that_cannot_be(project, features, message):
    assert message in refused(project, settings(project, SAMPLES, CASES, features=features))


def test_an_encoder_of_another_patch_size(project):
    config = settings(project, SAMPLES, CASES, features={"encoder": "uni"}, slides={"patch_px": 256})
    assert "mine.yaml: features.encoder: uni takes patches of 224 px; set slides.patch_px" in refused(project, config)


def test_missing_files_are_named(project):
    config = settings(project, SAMPLES, CASES, stain={"target": "target.json"})
    config["cohort"]["expression"][0]["path"] = "lost.tsv"
    config["slides"] = {"masks": "mine-cases.tsv"}
    printed = refused(project, config)
    assert "mine.yaml: cohort.expression.0.path: lost.tsv is not there" in printed
    assert "mine.yaml: stain.target: target.json is not there" in printed
    assert "mine.yaml: slides.masks: mine-cases.tsv is not a folder" in printed


def test_an_expression_path_of_the_wrong_kind(project):
    config = settings(project, SAMPLES, CASES)
    config["cohort"]["expression"][0]["path"] = "src"
    printed = refused(project, config)
    assert "mine.yaml: cohort.expression.0.path: src is a folder, format matrix wants a file; name the" in printed
    config["cohort"]["expression"][0] |= {"format": "gdc-star", "unit": "tpm", "path": "x.tsv"}
    assert "x.tsv is a file, format gdc-star wants a folder; give the folder" in refused(project, config)


def test_rows_are_named_and_all_listed(project):
    samples = SAMPLES + "s1\tB\tC\ts2.svs\tP2\n" + "a/b\tA\tC\ts3.svs\tP3\n"
    printed = refused(project, settings(project, samples, CASES))
    assert "mine-samples.tsv: row 3: sample_id 's1' already stands in row 2" in printed
    assert "mine-samples.tsv: row 3: case_id 'B' is not in mine-cases.tsv" in printed
    assert "mine-samples.tsv: row 4: sample_id is 'a/b'" in printed


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"source": "precomputed"}, "mine.yaml: features: source precomputed needs path"),
        ({"source": "precomputed", "path": "lost"}, "mine.yaml: features.path: lost is not a folder"),
        (
            {"source": "precomputed", "path": "src"},
            "mine.yaml: features.path: no slide has its file there, such as src/s1.h5",
        ),
        ({"path": "src"}, "mine.yaml: features: path is for source precomputed"),
    ],
)
def test_precomputed_features_that_cannot_be(project, features, message):
    assert message in refused(project, settings(project, SAMPLES, CASES, features=features))


def test_a_slide_without_a_path_is_no_input(project):
    samples = SAMPLES.replace("slide\t", "slide_id\tslide\t").replace("s1.svs", "S1\t")
    (project.folder / "mine.yaml").write_text(yaml.safe_dump(settings(project, samples, CASES)))
    assert project.planned()["tile_slides"] == 1


def test_nothing_of_the_demo_is_inherited(project):
    # The demo has 144 patches and its own tables; a file that names neither gets the paper's value, or an error.
    assert "mine.yaml: cohort: missing" in refused(project, {"patches": {"count": 144}})
    (project.folder / "mine.yaml").write_text(yaml.safe_dump(settings(project, SAMPLES, CASES)))
    (project.folder / "s1.svs").touch()
    printed = project.snakemake("--dry-run", "--printshellcmds")
    text = printed.stdout + printed.stderr
    assert '"count":2500' in text and "seeded-conv" not in text and "draw_demo" not in text
