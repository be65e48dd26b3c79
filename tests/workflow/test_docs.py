"""The site is built, its notebooks and its pictures are made: of the demo."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("zensical")
    for name in ("docs", "tools", "src", "benchmarks", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    for path in [*ROOT.glob("*.md"), ROOT / "mkdocs.yml", ROOT / "LICENSE", ROOT / "CITATION.cff", ROOT / "Makefile"]:
        shutil.copy(path, tmp_path)
    command = ["make", "docs", f"BIN={BIN}", "--assume-old", ".venv/.installed", "--assume-old", ".venv/.docs"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
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
