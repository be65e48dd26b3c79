"""A wheel, in an environment without the checkout: the library, the command line, and the workflow it carries."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from fold_project import write_study
from project import ROOT


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Return the Python of an environment that has the wheel; the libraries it needs are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("ksfusion-*.whl")
    venv.create(folder / "env", symlinks=True, with_pip=False)
    python = folder / "env/bin/python"
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    # Of a path that stands in a .pth file the .pth files are not read: the checkout is not found.
    (libraries,) = (Path(path) for path in sys.path if Path(path, "torch").is_dir())
    (site / "libraries.pth").write_text(f"{libraries}\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return python


def call(python: Path, *arguments: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_the_library_and_its_resources_are_those_of_the_wheel(python, tmp_path):
    code = "import ksfusion, ksfusion.genes as g; print(ksfusion.__file__, len(g.gene_sets()))"
    where, count = call(python, "-c", code, cwd=tmp_path).split()
    assert Path(where).is_relative_to(python.parents[1])
    assert int(count) > 500
    assert "draw-heatmaps" in call(python, "-m", "ksfusion", "--help", cwd=tmp_path)
    assert Path(where).with_name("py.typed").is_file()


def test_a_users_configuration_is_planned_from_any_folder(python, tmp_path):
    study, elsewhere = tmp_path / "my study", tmp_path / "elsewhere"
    study.mkdir()
    elsewhere.mkdir()
    write_study(study)
    printed = call(python, "-m", "ksfusion", "run", str(study / "folds.yaml"), "--dry-run", cwd=elsewhere)
    assert "snakemake --snakefile" in printed
    assert "train_model" in printed and "tile_slides" in printed
    # In few lines, by the plugin that the wheel has beside the package.
    assert "--logger ksfusion" in printed and "this was a dry run" in printed
    # A target, and what goes on to Snakemake; the profile travels with the wheel.
    printed = call(
        python, "-m", "ksfusion", "run", str(study / "folds.yaml"), "results/cohort/splits.tsv", "--cores", "1",
        "--", "--quiet", "progress", cwd=elsewhere,
    )  # fmt: skip
    assert (study / "results/cohort/splits.tsv").is_file()
    assert "Using workflow specific profile" in printed
    assert list(elsewhere.iterdir()) == []


def test_a_file_that_is_not_there_is_a_line(python, tmp_path):
    done = subprocess.run(
        [str(python), "-m", "ksfusion", "run", "my.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: my.yaml: is not a file; name the configuration, such as my.yaml\n"
