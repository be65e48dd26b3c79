"""Tasks of every kind on one's own tables, from the configuration to the report."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from fold_project import CASES, CLASSES, make_project

TASKS = {
    "age": {"kind": "regression", "column": "age", "epochs": 4},
    "mgmt": {"kind": "classification", "column": "mgmt", "classes": CLASSES, "positive": "unmethylated", "epochs": 4},
    "relapse": {
        "kind": "survival",
        "time": "months",
        "event": "relapse",
        "unit": "months",
        "epochs": 4,
        "survival": {"loss": "cox", "cuts": [200, 500]},
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("kinds") / "project")
    cases = pd.read_csv(project.folder / "cases.tsv", sep="\t")
    random = np.random.default_rng(0)
    cases["age"] = random.integers(20, 80, len(cases))
    cases["months"], cases["relapse"] = random.integers(3, 40, len(cases)), random.integers(0, 2, len(cases))
    cases["sex"] = ["fm"[number % 2] for number in range(len(cases))]
    cases.to_csv(project.folder / "cases.tsv", sep="\t", index=False)
    path = project.folder / project.configfile
    config = yaml.safe_load(path.read_text()) | {"tasks": TASKS, "methods": ["snn", "attmil", "cohort"]}
    config["splits"] = {"fractions": [0.5, 0.2, 0.3]}
    config["heatmaps"] = {"methods": ["attmil"], "samples": 2}
    config["results"] = {"reference": "snn", "subgroups": ["sex", "age"], "ranges": {"age": [50]}, "times": [365]}
    path.write_text(yaml.safe_dump(config))
    project.snakemake()
    return project


def test_the_split_is_by_quarters_of_the_number(project):
    cases = pd.read_parquet(project.folder / "results/cohort/cases.parquet").set_index("case_id")
    sides = project.tsv("results/cohort/splits.tsv").set_index("case_id")["split"]
    quarter = pd.qcut(cases["value_age"], 4, labels=False)
    counts = pd.crosstab(quarter, sides[quarter.index])
    assert counts.shape == (4, 3) and (counts > 0).all(axis=None)


def test_every_kind_has_its_predictions(project):
    columns = {
        "age": ["y", "predicted"],
        "mgmt": ["y", *(f"prob_{name}" for name in CLASSES)],
        "relapse": ["hazard_0", "hazard_1", "hazard_2", "risk", "days", "event"],
    }
    for task, expected in columns.items():
        for method in ("snn", "attmil"):
            run = project.folder / f"results/models/{task}/{method}/fold0/seed0"
            assert json.loads((run / "metrics.json").read_text())["status"] == "ok"
            predictions = pd.read_parquet(run / "predictions.parquet")
            assert list(predictions)[5:] == expected and len(predictions) == len(CASES)


def test_tables_and_report_have_them(project):
    table = project.tsv("results/tables/table1.tsv").query("level == 'sample' and cohort == 'all' and fold == 'all'")
    snn = table[table["method"] == "snn"].groupby("task", sort=False)["metric"].unique().map(list).to_dict()
    paper = ["auc", "accuracy", "sensitivity", "specificity", "f1"]
    assert snn == {"age": ["mae", "r2", "spearman"], "mgmt": paper, "relapse": ["c_index"]}
    further = project.tsv("results/tables/table_s1.tsv")
    assert {"auprc", "uno_c", "auc_at_365", "integrated_brier"} <= set(further["metric"])
    assert set(project.tsv("results/tables/subgroups.tsv")["value"]) == {"f", "m", "below 50", "50 and above"}
    page = (project.folder / "results/report.html").read_text()
    assert "predicted against true" in page and "are about unmethylated" in page
    for task in TASKS:
        listed = project.tsv(f"results/heatmaps/{task}/attmil/fold0/seed0/heatmaps.tsv")
        assert len(listed) == 2


def test_a_subgroup_that_is_not_there_stops_before_any_job(project):
    path = project.folder / project.configfile
    config = path.read_text()
    try:
        path.write_text(config.replace("- sex", "- sexe"))
        told = project.snakemake("-n", check=False)
        assert "results.subgroups: there is no column sexe" in told.stdout + told.stderr
    finally:
        path.write_text(config)
