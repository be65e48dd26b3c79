"""A task of one's own over three folds: trained, tabled, enlarged by a case, and stopped by a leak."""

import json
import re
import shutil
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
import pandas as pd
import psutil
import pytest
from fold_project import CASES, draw_slide, make_project, write_tables
from sklearn.metrics import roc_auc_score

RESULTS = {"make_comparisons": 1, "make_subgroups": 1, "make_tables": 1, "draw_figures": 1, "write_report": 1}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("folds") / "project")
    project.snakemake()
    return project


def predictions(project, fold, seed):
    table = pd.read_parquet(project.folder / f"results/models/mgmt/snn/fold{fold}/seed{seed}/predictions.parquet")
    return table[table["split"] == "test"]


def test_genes_are_ranked_on_the_counts_of_each_folds_training_cases(project):
    sizes = project.tsv("results/genes/library_sizes.tsv").set_index("expression_id")["library_size"]
    counts = pd.read_csv(project.folder / "expression.tsv", sep="\t", index_col="symbol")
    assert sizes.to_dict() == counts.sum().to_dict()
    splits = project.tsv("results/cohort/splits.tsv")
    for fold in range(3):
        training = splits.loc[(splits["fold"] == fold) & (splits["split"] == "train"), "case_id"]
        ranking = project.tsv(f"results/genes/fold{fold}/ranking.tsv").set_index("symbol")
        variance = counts[training].var(axis=1, ddof=1)
        assert ranking["variance"].to_dict() == pytest.approx(variance.to_dict())


def test_every_case_is_tested_in_one_fold(project):
    tested = [case for fold in range(3) for case in predictions(project, fold, 0)["case_id"]]
    assert sorted(tested) == CASES


def test_the_table_is_the_mean_over_folds_and_seeds(project):
    by_fold = []
    for fold in range(3):
        tests = [predictions(project, fold, seed) for seed in range(2)]
        by_fold.append([100 * roc_auc_score(test["y"].astype(int), test["prob_methylated"]) for test in tests])
    table = project.tsv("results/tables/table1.tsv").astype({"fold": str})
    table = table[(table["metric"] == "auc") & (table["level"] == "sample") & (table["cohort"] == "all")]
    means = table.set_index("fold")["mean"]
    assert means["all"] == pytest.approx(np.mean(by_fold), abs=1e-3)
    assert [means[str(fold)] for fold in range(3)] == pytest.approx(np.mean(by_fold, axis=1).tolist(), abs=1e-3)
    assert "mean over folds and seeds" in (project.folder / "results/report.html").read_text()


def test_snakemakes_own_report_is_made_without_a_warning(project, tmp_path):
    done = project.snakemake("--report", str(tmp_path / "report.html"))
    printed = done.stdout + done.stderr
    assert "never awaited" not in printed and "Warning" not in printed, printed
    page = (tmp_path / "report.html").read_text()
    assert "mean over the folds and seeds" in page and "The method without one of its components" in page


def test_snakemakes_own_report_as_an_archive_has_the_results_with_captions_and_categories(project, tmp_path):
    project.snakemake("--report", str(tmp_path / "report.zip"))
    with ZipFile(tmp_path / "report.zip") as archive:
        assert archive.testzip() is None
        page = archive.read("report/report.html").decode()
        results, categories = (
            json.loads(re.search(rf"var {name} = ({{.*}});?$", page, re.MULTILINE)[1])
            for name in ("results", "categories")
        )
        for path, result in results.items():
            assert archive.read(f"report/{result['data_uri']}") == (project.folder / path).read_bytes()
    captions = {
        "results/tables/table1.md": "Every method on the test cases: mean over the folds and seeds",
        "results/tables/table2.md": "The method without one of its components",
        "results/tables/table_s1.md": "Further metrics",
        "results/report.html": "Everything on one page",
    }
    assert categories == {"Results": {"Other": sorted(captions, key=list(results).index)}}
    assert results.keys() == captions.keys()
    for path, caption in captions.items():
        assert caption in results[path]["caption"], path
    assert [results[path]["labels"] for path in captions] == [
        {"table": "Table 1", "what": "all methods"},
        {"table": "Table 2", "what": "ablation"},
        {"table": "Table S1", "what": "further metrics"},
        {"what": "report"},
    ]


def test_epochs_rerun_the_training_and_its_results(project):
    config = (project.folder / project.configfile).read_text()
    try:
        (project.folder / project.configfile).write_text(config.replace("epochs: 30", "epochs: 31"))
        assert project.planned() == {"train_model": 3, **RESULTS}
    finally:
        (project.folder / project.configfile).write_text(config)


def test_titles_and_labels_redo_only_what_shows_them(project):
    config = (project.folder / project.configfile).read_text()
    named = "epochs: 30\n    title: MGMT $promoter\n    labels: {methylated: <Methylated>}"
    try:
        (project.folder / project.configfile).write_text(f"title: Our study\n{config.replace('epochs: 30', named)}")
        assert project.planned() == RESULTS
    finally:
        (project.folder / project.configfile).write_text(config)


def kill_job(project, target, *options, when):
    """Run Snakemake for a target, and kill its job as soon as a condition holds."""
    command = [sys.executable, "-m", "snakemake", target, "--cores", "1", "--configfile", project.configfile, *options]
    run = subprocess.Popen(command, cwd=project.folder, stderr=subprocess.DEVNULL)
    killed = []
    while run.poll() is None and not killed:
        if when():
            for child in psutil.Process(run.pid).children(recursive=True):
                if "ksfusion" in child.cmdline():
                    child.kill()
                    killed.append(child)
    assert killed and run.wait() != 0


def test_trainings_that_share_a_job_are_not_repeated_for_each_other(project):
    """Not where they shared none before, nor for a seed more: 30 epochs a run, of which the log has a line each."""
    project.snakemake("results/models/mgmt/snn/fold0/seed0/metrics.json")
    wanted = (project.folder / "results/models/mgmt/snn/fold0/seed0/predictions.parquet").read_bytes()
    trained = []
    for seeds in ([0, 1], [0, 1, 2]):
        project.configure(methods=["snn", "attmil"], training={"together": ["snn", "attmil"], "seeds": seeds})
        target = f"results/models/mgmt/attmil/fold0/seed{seeds[-1]}/metrics.json"
        assert project.planned(target) == {"train_together": 1}
        project.snakemake(target)
        log = (project.folder / "results/logs/train_together/mgmt/fold0.log").read_text()
        trained.append(re.findall(r"method (\w+), fold 0, seed (\d): epoch 30 ", log))
    assert trained == [[("attmil", "0"), ("attmil", "1")], [("snn", "2"), ("attmil", "2")]]
    assert (project.folder / "results/models/mgmt/snn/fold0/seed0/predictions.parquet").read_bytes() == wanted
    project.configure(methods=["snn"], training={"together": [], "seeds": [0, 1]})
    shutil.rmtree(project.folder / "results/models/mgmt/attmil")
    shutil.rmtree(project.folder / "results/models/mgmt/snn/fold0/seed2")


def test_a_training_that_is_killed_goes_on_where_it_was(project):
    """Its state is no output, so that Snakemake, which removes those of a job that failed, leaves it."""
    folder = project.folder / "results/models/mgmt/snn/fold0"
    wanted = {path.name: path.read_bytes() for path in (folder / "seed1").glob("*.parquet")}
    state = folder / "seed1/.resume/state.safetensors"
    target = "results/models/mgmt/snn/fold0/seed1/metrics.json"
    for path in folder.glob("seed*/.resume"):
        shutil.rmtree(path)  # else nothing is trained anew
    # The first seed is finished; of the second an epoch is.
    kill_job(project, target, "--forcerun", "train_model", when=state.is_file)
    assert state.is_file() and not list(folder.glob("seed*/metrics.json"))
    said = (project.folder / "results/logs/train_model/mgmt/snn/fold0.log").read_text()
    told = "error: ksfusion train-model was killed, most likely because memory ran out: lower features.batch_size"
    assert told in said
    project.snakemake(target)
    log = (project.folder / "results/logs/train_model/mgmt/snn/fold0.log").read_text()
    (second,) = map(int, re.findall(r"going on after epoch (\d+)", log))
    assert log.count("kept as it was trained before") == 1 and 1 <= second <= 30
    assert {path.name: path.read_bytes() for path in (folder / "seed1").glob("*.parquet")} == wanted
    assert not state.exists()


def test_a_search_that_is_killed_goes_on_where_it_was(project):
    config = (project.folder / project.configfile).read_text()
    folder = project.folder / "results/search/mgmt/snn/fold0"
    target = "results/search/mgmt/snn/fold0/chosen.json"
    try:
        project.configure(training={"search": {"trials": 20}})

        def three_trials_are_finished():
            return sum(path.read_text().count('"row"') for path in folder.glob(".resume/*.journal")) >= 3

        kill_job(project, target, when=three_trials_are_finished)
        assert [path.name for path in folder.iterdir()] == [".resume"]
        project.snakemake(target)
        log = (project.folder / "results/logs/search_settings/mgmt/snn/fold0.log").read_text()
        assert 2 <= int(re.search(r"going on after trial (\d+)", log)[1]) < 20
        resumed = {path.name: path.read_bytes() for path in folder.iterdir()}
        project.snakemake(target, "--forcerun", "search_settings")
        log = (project.folder / "results/logs/search_settings/mgmt/snn/fold0.log").read_text()
        assert "going on" not in log
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == resumed
        assert {"chosen.json", "trials.tsv"} <= resumed.keys() and ".resume" not in resumed
    finally:
        (project.folder / project.configfile).write_text(config)


def test_a_new_case_moves_no_other_and_a_copied_slide_stops_the_run(project):
    before = project.tsv("results/cohort/splits.tsv")
    models = sorted((project.folder / "results/models").rglob("model.safetensors"))
    made = [path.stat().st_mtime_ns for path in models]
    assert len(models) == 6
    write_tables(project.folder, [*CASES, "case-90"])
    shutil.copy2(project.folder / f"slides/{CASES[0]}.png", project.folder / "slides/case-90.png")
    done = project.snakemake("results/report.html", check=False)
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert "error: same_file: case-00 and case-90: identical; cases case-00 and case-90" in printed
    assert [path.stat().st_mtime_ns for path in models] == made
    after = project.tsv("results/cohort/splits.tsv")
    assert len(after) == len(before) + 3
    assert after[after["case_id"] != "case-90"].reset_index(drop=True).equals(before)

    draw_slide(project.folder / "slides/case-90.png", 90)
    project.snakemake("results/cohort/leakage.tsv")
    assert set(project.tsv("results/cohort/leakage.tsv")["verdict"]) == {"fine"}
