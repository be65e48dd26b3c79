"""What a configuration names that cannot be is told in lines before any job."""

import time

import pytest
import yaml

from ksfusion.core.errors import UserError
from ksfusion.plan import make_plan

TABLES = {
    "samples.tsv": "sample_id\tcase_id\tcohort\tslide\texpression_id\ns1\tA\tC\ts1.svs\tP\ns2\tB\tC\ts2.svs\tQ\n",
    "cases.tsv": "case_id\tidh\nA\tWT\nB\tMutant\n",
    "x.tsv": "symbol\tP\tQ\nEGFR\t1\t2\n",
}


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Return a function that returns what is wrong with a configuration."""
    monkeypatch.chdir(tmp_path)
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)

    def lines(*, cohort=None, **blocks):
        source = {"cohort": "C", "format": "matrix", "unit": "log", "path": "x.tsv"}
        base = {"samples": "samples.tsv", "cases": "cases.tsv", "expression": [source]}
        config = {"cohort": {**base, **(cohort or {})}, "features": {"encoder": "seeded-conv"}, **blocks}
        (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
        started = time.monotonic()
        with pytest.raises(UserError) as caught:
            make_plan(config, source="my.yaml", files=["my.yaml"])
        assert time.monotonic() - started < 5
        return str(caught.value).splitlines()

    return lines


def test_more_folds_than_cases(told):
    (line,) = told(splits={"scheme": "kfold", "k": 3})
    assert line == "my.yaml: splits.k: 3 folds of 2 cases leave some without any; lower it"


@pytest.mark.parametrize("seconds", [1e9, 2**31, 2_000_001])
def test_a_time_limit_that_no_system_can_wait_for(told, seconds):
    (line,) = told(slides={"timeout": seconds})
    assert line.startswith("my.yaml: slides.timeout: Input should be less than or equal to 2000000")


PATHS = {
    "stain.target": lambda path: {"stain": {"target": path}},
    "slides.masks": lambda path: {"slides": {"masks": path}},
    "slides.regions": lambda path: {"slides": {"regions": path}},
    "features.weights": lambda path: {"features": {"weights": path}},
    "splits.file": lambda path: {"splits": {"scheme": "file", "file": path}},
    "genes.sets": lambda path: {"genes": {"sets": {"tme": path}}},
    "cohort.samples": lambda path: {"cohort": {"samples": path}},
    "cohort.cases": lambda path: {"cohort": {"cases": path}},
    "cohort.expression.0.path": lambda path: {
        "cohort": {"expression": [{"cohort": "C", "format": "matrix", "unit": "log", "path": path}]}
    },
    "folder": lambda path: {"folder": path},
}


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a\0b", "has a control character in it"),
        ("x" * 256, "is longer than a path can be"),
        ("x/" * 2500 + "y", "is longer than a path can be"),
    ],
    ids=["NUL", "long name", "long path"],
)
def test_a_text_that_can_be_no_path(told, key, path, said):
    (line,) = told(**PATHS[key](path))
    assert line.startswith(f"my.yaml: {key}: {said}")


@pytest.mark.parametrize("key", [key for key in PATHS if key != "genes.sets"])
def test_an_empty_path(told, key):
    (line,) = told(**PATHS[key](""))
    assert line.startswith(f"my.yaml: {key}: is empty; name a file, or leave the key out")


@pytest.mark.parametrize(
    "key", ["stain.target", "genes.sets", "cohort.expression.0.path", "cohort.samples", "cohort.cases"]
)
def test_a_device_is_no_file(told, tmp_path, key):
    (tmp_path / "zero").symlink_to("/dev/zero")
    lines = told(**PATHS[key]("zero"))
    assert any("zero" in line and "is a device or a pipe, not a file" in line for line in lines), lines


@pytest.mark.parametrize("key", ["stain.target", "genes.sets"])
def test_a_folder_is_no_file(told, tmp_path, key):
    (tmp_path / "folder").mkdir()
    (line,) = told(**PATHS[key]("folder"))
    assert line.startswith(f"my.yaml: {key}") and line.endswith("folder is a folder; name the file in it")


def test_weights_from_a_device(told):
    (line,) = told(features={"encoder": "resnet50", "weights": "/dev/zero"})
    assert line == "my.yaml: features.weights: /dev/zero is a device or a pipe; name a file"
