"""A cohort that is added to a finished study as an external one: scored by its models, of which none changes."""

import numpy as np
import pandas as pd
import pytest
import yaml
from fold_project import CASES, CLASSES
from project import Project, copy_project

from ksfusion.core.parquet import read_parquet
from ksfusion.genes import gene_sets

METHODS = ["snn", "clinical"]
INSIDE, OUTSIDE = CASES[:12], CASES[12:]


def write_tables(folder, cases):
    samples = [f"{case}\t{case}\t{'X' if case in INSIDE else 'Y'}\t{case}" for case in cases]
    (folder / "samples.tsv").write_text("\n".join(["sample_id\tcase_id\tcohort\texpression_id", *samples]) + "\n")
    random = np.random.default_rng(0)
    rows = [f"{case}\t{CLASSES[int(case[-2:]) // 2 % 2]}\t{random.normal(60, 9):.1f}" for case in CASES]
    (folder / "cases.tsv").write_text("\n".join(["case_id\tmgmt\tage", *rows]) + "\n")


def sources(*cohorts):
    source = {"format": "matrix", "unit": "log"}
    return [{"cohort": name, "path": f"{name}.tsv", **source} for name in cohorts]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return a finished study of the cohort X, and beside it a cohort Y that lacks a gene which X has."""
    folder = copy_project(tmp_path_factory.mktemp("external") / "project")
    random = np.random.default_rng(0)
    genes = gene_sets().groupby("niche")["symbol"].head(30).unique()
    for name, cases, lacking in (("X", INSIDE, 0), ("Y", OUTSIDE, 1)):
        values = pd.DataFrame(random.normal(5, 2, (len(genes), len(cases))), index=genes, columns=cases)
        values.iloc[lacking:].to_csv(folder / f"{name}.tsv", sep="\t", index_label="symbol")
    write_tables(folder, INSIDE)
    config = {
        "cohort": {
            "samples": "samples.tsv",
            "cases": "cases.tsv",
            "require": "any",
            "clinical": ["age"],
            "expression": sources("X"),
        },
        "genes": {"top_fraction": 1.0},
        "splits": {"scheme": "kfold", "k": 2, "fractions": [0.7, 0.3]},
        "tasks": {"mgmt": {"kind": "classification", "column": "mgmt", "classes": CLASSES, "epochs": 2}},
        "methods": METHODS,
        "training": {"seeds": [0]},
        "results": {"reference": "clinical", "resamples": 100, "subgroups": []},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    project = Project(folder, "study.yaml")
    project.snakemake()
    return project


def test_a_cohort_is_added_and_scored_and_no_model_changes(study):
    folders = sorted(path.parent for path in study.folder.glob("results/models/*/*/*/*/model.safetensors"))
    before = {folder: (folder / "model.safetensors").read_bytes() for folder in folders}
    predicted = {folder: read_parquet(folder / "predictions.parquet") for folder in folders}
    tables = {name: (study.folder / f"results/tables/{name}.tsv").read_text() for name in ("table1", "comparisons")}
    assert len(folders) == 4 and not (study.folder / "results/tables/external.tsv").exists()

    write_tables(study.folder, CASES)
    study.configure(cohort={"expression": sources("X", "Y")}, splits={"external": ["Y"]})
    study.snakemake()
    assert study.planned() == {}
    splits = study.tsv("results/cohort/splits.tsv")
    assert splits[splits["split"] == "external"].groupby("fold")["case_id"].agg(list).tolist() == [OUTSIDE] * 2
    for folder in folders:
        assert (folder / "model.safetensors").read_bytes() == before[folder]
        table = read_parquet(folder / "predictions.parquet")
        inside = table[table["split"] != "external"].reset_index(drop=True)
        pd.testing.assert_frame_equal(inside, predicted[folder], check_exact=True)
        assert table.loc[table["split"] == "external", "case_id"].tolist() == OUTSIDE
    for name, text in tables.items():
        lines = (study.folder / f"results/tables/{name}.tsv").read_text().splitlines()
        assert [line for line in lines if not line.endswith("\texternal")] == text.splitlines()
    rows = study.tsv("results/tables/table1.tsv").query("split == 'external' and fold == 'all'")
    assert set(rows["method"]) == set(METHODS) and set(rows["cohort"]) == {"Y"} and set(rows["n"]) == {12}
    drops = study.tsv("results/tables/external.tsv")
    assert set(drops["n_test"]) == {12} == set(drops["n"]) and drops["drop"].notna().all()
    page = (study.folder / "results/report.html").read_text()
    assert "External cohorts" in page and "On the external cohort Y, on which nothing was fitted" in page
    assert "Genes missing outside" in page and "Y (external)" in page


def test_what_cannot_be_is_a_line_before_any_job(study):
    for external, said in [(["Z"], "is of cohort Z; it has X, Y"), (["X", "Y"], "names all cohorts of samples.tsv")]:
        study.configure(splits={"external": external})
        done = study.snakemake("--dry-run", check=False)
        assert done.returncode and said in done.stdout + done.stderr
    study.configure(splits={"external": ["Y"]})
