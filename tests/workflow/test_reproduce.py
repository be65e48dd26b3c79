"""`make reproduce` on drawn downloads in the real layouts: from them to the published values beside its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from drawn_paper_cohort import PATIENTS, TUMOURS, draw_paper_cohort
from project import ROOT, copy_project

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
GRADES = ["G2", "G3", "G4"]


def make(folder: Path, *variables: str) -> subprocess.CompletedProcess:
    """Call the target of the Makefile, with the programs of this environment, which is not set up anew."""
    command = [
        "make",
        "--assume-old",
        ".venv/.installed",
        f"BIN={Path(sys.executable).parent}",
        "reproduce",
        *variables,
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory) -> Path:
    """Return a checkout in which somebody has downloaded the cohort and prepared nothing."""
    folder = copy_project(tmp_path_factory.mktemp("paper") / "project")
    shutil.copy2(ROOT / "Makefile", folder / "Makefile")
    draw_paper_cohort(folder / "data")
    return folder


@pytest.fixture(scope="module")
def prepared(downloads) -> Path:
    """Return the same with the tables of `ksfusion cohort glioma`, and a small copy of the paper's configuration."""
    command = [sys.executable, "-m", "ksfusion", "cohort", "glioma", "--tcga", "data/tcga", "--ivygap", "data/ivygap"]
    command += ["--ivygap-mpp", "0.5", "--known", "data/known.tsv", "--output", "data"]
    subprocess.run(command, cwd=downloads, check=True, capture_output=True)
    config = yaml.safe_load((downloads / "resources/cohorts/glioma.yaml").read_text())
    config |= {"methods": ["snn", "attmil"], "tasks": ["grading", "survival"], "patches": {"count": 16}}
    config |= {"slides": {"batches": 1, "min_tiles": 1}, "features": {"encoder": "seeded-conv"}}
    config["genes"]["top_fraction"] = 1.0
    config["splits"]["fractions"] = [0.4, 0.2, 0.4]
    config["training"] = {"seeds": [0], "epochs": {"grading": 3, "survival": 3}}
    (downloads / "mine.yaml").write_text(yaml.safe_dump(config))
    return downloads


def test_each_step_that_fails_stops_with_its_remedy(downloads, prepared):
    done = make(downloads)
    assert done.returncode and "glioma.yaml: is not there; copy resources/cohorts/glioma.yaml to it" in done.stderr
    text = (downloads / "mine.yaml").read_text()
    # Before the tables were made of the downloads.
    (downloads / "early.yaml").write_text(text.replace("data/samples.tsv", "data/none.tsv"))
    done = make(downloads, "CONFIG=early.yaml")
    assert (
        done.returncode
        and "data/none.tsv is not there; make it of the downloads with ksfusion cohort glioma" in done.stderr
    )
    (downloads / "alone.yaml").write_text(text.replace("published: paper", "published: none"))
    done = make(downloads, "CONFIG=alone.yaml")
    assert (
        done.returncode
        and "results.published: none compares nothing with the paper; write published: paper there" in done.stderr
    )
    assert "step 1 of 4" not in done.stderr
    # Slides that are missing: the run would stop over them.
    moved = downloads / "data/tcga/slides"
    moved.rename(downloads / "elsewhere")
    done = make(downloads, "CONFIG=mine.yaml")
    (downloads / "elsewhere").rename(moved)
    assert done.returncode and "step 1 of 4" in done.stderr and "step 2 of 4" not in done.stderr
    assert "problem slides" in done.stdout and "check the folder they are in" in done.stdout
    assert not (downloads / "results").exists()


def test_from_downloads_to_the_published_values_beside_its_own(prepared):
    from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score
    from sksurv.metrics import concordance_index_censored

    done = make(prepared, "CONFIG=mine.yaml", "CORES=2")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    names = ["method", "task", "metric"]
    table = pd.read_csv(prepared / "results/tables/reproduction.tsv", sep="\t", keep_default_na=False)
    table = table.set_index(names).sort_index()
    samples = pd.read_csv(prepared / "results/samples.tsv", sep="\t", dtype=str)
    assert len(samples) == len(PATIENTS) + len(TUMOURS) and samples["status"].eq("ok").all()
    paper = pd.read_csv(ROOT / "resources/paper_tables.tsv", sep="\t").set_index(["method", "task", "metric"])[
        "percent"
    ]
    assert (table["published"].astype(float) == paper.reindex(table.index)).all() and len(table) == len(paper)
    expected = {}
    for method in ("snn", "attmil"):
        graded, timed = (
            pd.read_parquet(prepared / f"results/models/{task}/{method}/fold0/seed0/predictions.parquet").query(
                "split == 'test'"
            )
            for task in ("grading", "survival")
        )
        scores, truth = graded[[f"prob_{grade}" for grade in GRADES]].to_numpy(float), graded["y"].astype(int)
        predicted = scores.argmax(axis=1)
        expected |= {
            (method, "grading", "auc"): roc_auc_score(truth, scores, multi_class="ovr", average="macro"),
            (method, "grading", "accuracy"): accuracy_score(truth, predicted),
            (method, "grading", "sensitivity"): recall_score(truth, predicted, average="macro"),
            (method, "grading", "f1"): f1_score(truth, predicted, average="macro"),
        }
        event, days, risk = (timed[column].to_numpy() for column in ("event", "days", "risk"))
        expected[method, "survival", "c_index"] = concordance_index_censored(event.astype(bool), days, risk)[0]
        for task, tested in (("grading", graded), ("survival", timed)):
            counts = table.loc[(method, task), ["n", "cases"]].astype(int).drop_duplicates()
            assert counts.values.tolist() == [[len(tested), tested["case_id"].nunique()]]
    for key, value in expected.items():
        row = table.loc[key]
        assert float(row["here"]) == pytest.approx(100 * value, abs=1e-3), key
        lies = float(row["ci_low"]) <= paper[key] <= float(row["ci_high"])
        assert row["inside"] == ("yes" if lies else "no"), key
    compared = table[table["inside"] != ""]
    # Of two methods, five metrics of grading and the C-index.
    assert len(compared) == 12 and set(table.loc[table["inside"] == "", "reason"]) >= {
        "the method is not one of this study",
        "the task is not one of this study",
    }
    assert "121 published values, 12 compared" in done.stdout
    assert "patches.count: 16 \\[2500\\]" in done.stdout and "features.encoder: seeded-conv" in done.stdout
    for step in range(1, 5):
        assert f"step {step} of 4" in done.stderr


def test_given_again_it_runs_nothing_and_shows_the_table(prepared):
    before = (prepared / "results/tables/reproduction.tsv").stat().st_mtime_ns
    done = make(prepared, "CONFIG=mine.yaml", "CORES=2")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "121 published values, 12 compared" in done.stdout
    assert (prepared / "results/tables/reproduction.tsv").stat().st_mtime_ns == before
