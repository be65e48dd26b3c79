"""The site is built, its notebooks and its quick commands run, and its pictures are made: of the demo."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import WITH_COMMANDS, commands
from project import ROOT

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
# As they stand on the pages. Others are run with other paths where they are tested (test_predict.py, test_hospital.py,
# test_real.py, test_reproduce.py, test_slurm.py, test_object_storage.py), or by make itself.
QUICK = [
    "ksfusion doctor my.yaml",
    "ksfusion run my.yaml --dry-run",
    "ksfusion status my.yaml",
    "ksfusion new method my_mil",
    "ksfusion stain-target --output target.json --images region1.png region2.png",
    "ksfusion export --format trident --output FOLDER",
    "ksfusion export --format clam --output FOLDER",
    "ksfusion export-attention --heatmaps results/heatmaps/diagnosis/ksfusion/fold0/seed0 --format geojson "
    "--output qupath",
    "ksfusion export-attention --heatmaps results/heatmaps/diagnosis/ksfusion/fold0/seed0 --format parquet "
    "--output attention.parquet",
    "ksfusion bundle --results results --task diagnosis --method ksfusion --output diagnosis.bundle",
    "ksfusion encoders",
    "ksfusion estimate my.yaml",
    "ksfusion estimate my.yaml --profile slurm --output mine/config.yaml",
    "ksfusion run my.yaml",
    "ksfusion run my.yaml --cores 2",
    "ksfusion run my.yaml slides",
    "ksfusion run my.yaml --profile slurm --dry-run",
    "ksfusion run my.yaml -- --unlock",
]


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("zensical")
    for name in ("docs", "tools", "src", "benchmarks", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    for path in [*ROOT.glob("*.md"), ROOT / "mkdocs.yml", ROOT / "LICENSE", ROOT / "CITATION.cff"]:
        shutil.copy(path, tmp_path)
    subprocess.run([sys.executable, ROOT / "tools/pages.py", "--output", tmp_path / ".site/pages"], check=True)
    built = subprocess.run([BIN / "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / ".site/html/method.html").read_text()
    assert 'href="source/src/ksfusion/methods/consistency.py.html#ge_con"' in page
    assert 'id="ge_con"' in (tmp_path / ".site/html/source/src/ksfusion/methods/consistency.py.html").read_text()


@pytest.mark.parametrize("name", ["slides_and_stain", "results_and_attributions"])
def test_a_notebook_runs(demo, name, monkeypatch):
    """Its code, cell by cell in one namespace, as a kernel runs it."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(demo.folder)
    book = json.loads((ROOT / f"docs/notebooks/{name}.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert any('"../../demo' in cell for cell in cells)
    namespace = {}
    for number, cell in enumerate(cells):
        # The demo of the tests has its results beside its configuration.
        exec(compile(cell.replace("../../demo", "."), f"{name}, cell {number}", "exec"), namespace)
    if name == "slides_and_stain":
        assert namespace["normalised"].shape == namespace["patches"].shape
        assert len(namespace["chosen"]) == 144
        return
    assert set(namespace["samples"]["sample_id"]) == set(demo.tsv("results/samples.tsv")["sample_id"])
    assert len(namespace["tested"]) and namespace["genes"]["rank"].min() == 1


@pytest.fixture(scope="module")
def study(demo, tmp_path_factory):
    """Return a folder beside the finished demo in which commands may write."""
    folder = tmp_path_factory.mktemp("study")
    for path in demo.folder.iterdir():
        if path.name != ".snakemake":
            (folder / path.name).symlink_to(path)
    shutil.copy(demo.folder / demo.configfile, folder / "my.yaml")
    overviews = sorted((demo.folder / "results/slides").glob("*.png"))
    for number, path in enumerate(overviews[:2], 1):
        shutil.copy(path, folder / f"region{number}.png")
    return folder


@pytest.mark.parametrize("text", QUICK)
def test_a_command_of_the_pages_runs(study, text):
    words = shlex.split(text)
    assert any(command.words == words for page in WITH_COMMANDS for command in commands(page)), "no page has it"
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=study, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(study / "FOLDER", ignore_errors=True)


def test_pictures_are_small_and_are_made_from_a_demo(demo, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "tools/pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # The demo of the tests has other slides; a browser is not everywhere.
    first = sorted((demo.folder / "results/slides").glob("*.png"))[0].name
    monkeypatch.setitem(module.CHOSEN, "slide.jpg", f"slides/{first}")
    monkeypatch.setattr(module, "BROWSERS", ())
    module.pictures(demo.folder, tmp_path)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == set(module.CHOSEN)
    shown = {path.name for path in (ROOT / "docs/pictures").iterdir()}
    assert shown == set(module.CHOSEN)
    assert all(path.stat().st_size < 400_000 for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".jpg"))
