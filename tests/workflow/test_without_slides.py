"""A study without slides: networks on genes and baselines through the same Snakefile."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from fold_project import CASES, CLASSES
from project import ROOT, Project, copy_project
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored
from sksurv.util import Surv

from ksfusion.genes import gene_sets

METHODS = ["snn", "logistic-genes", "cox-genes", "clinical", "clinical+genes", "cohort"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return a finished study of 24 cases whose age tells their class; genes and sex tell nothing."""
    folder = copy_project(tmp_path_factory.mktemp("without") / "project")
    random = np.random.default_rng(0)
    rows = [f"{case}\t{case}\t{'XY'[number % 2]}\t{case}" for number, case in enumerate(CASES)]
    (folder / "samples.tsv").write_text("\n".join(["sample_id\tcase_id\tcohort\texpression_id", *rows]) + "\n")
    label = np.arange(len(CASES)) // 2 % 2
    ages, days = 60 + 10 * label + random.normal(size=len(CASES)), random.exponential(500, len(CASES)) + 1
    rows = [
        f"{case}\t{CLASSES[number]}\t{age:.1f}\t{random.choice(['m', 'f'])}\t{time:.0f}\t1"
        for case, number, age, time in zip(CASES, label, ages, days, strict=True)
    ]
    (folder / "cases.tsv").write_text("\n".join(["case_id\tmgmt\tage\tsex\tsurvival_days\tevent", *rows]) + "\n")
    genes = gene_sets().groupby("niche")["symbol"].head(30).unique()
    values = pd.DataFrame(random.normal(5, 2, (len(genes), len(CASES))), index=genes, columns=CASES)
    values.to_csv(folder / "expression.tsv", sep="\t", index_label="symbol")
    mgmt = {"kind": "classification", "column": "mgmt", "classes": CLASSES, "epochs": 2}
    source = {"format": "matrix", "unit": "log", "path": "expression.tsv"}
    config = {
        "cohort": {
            "samples": "samples.tsv",
            "cases": "cases.tsv",
            "require": "any",
            "clinical": ["age", "sex"],
            "expression": [{"cohort": name, **source} for name in "XY"],
        },
        "genes": {"top_fraction": 1.0},
        "splits": {"fractions": [0.4, 0.2, 0.4]},
        "tasks": {
            "mgmt": mgmt,
            "survival": {"kind": "survival", "time": "survival_days", "event": "event", "epochs": 2},
        },
        "methods": METHODS,
        "training": {"seeds": [0, 1]},
        "results": {"reference": "clinical", "resamples": 100},
    }
    (folder / "none.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    project = Project(folder, "none.yaml")
    project.snakemake()
    return project


def test_it_runs_to_the_report_without_a_slide(study):
    assert study.planned() == {}
    assert study.tsv("results/slides.tsv").empty
    assert set(study.tsv("results/samples.tsv")["status"]) == {"ok"}
    assert not (study.folder / "results/features").exists()
    page = (study.folder / "results/report.html").read_text()
    assert "The study has no slides." in page and "Clinical and genes" in page


def test_every_method_has_its_rows_in_the_tables(study):
    table = study.tsv("results/tables/table1.tsv")
    rows = table[(table["level"] == "sample") & (table["cohort"] == "all") & (table["fold"] == "all")]
    shown = rows.set_index(["method", "task", "metric"])
    assert set(rows["method"]) == set(METHODS)
    # Age tells the class.
    assert shown.loc[("clinical", "mgmt", "auc"), "mean"] == 100
    # A regression has no spread over seeds, and a network has.
    assert shown.loc[("clinical", "mgmt", "auc"), "sd"] == 0 < shown.loc[("snn", "survival", "c_index"), "sd"]
    for method, task, kind in (("cox-genes", "mgmt", "survival"), ("logistic-genes", "survival", "classification")):
        other = rows[(rows["method"] == method) & (rows["task"] == task)]
        assert other["mean"].isna().all()
        assert set(other["reason"]) == {f"{method} is for tasks of {kind} alone"}
    text = (study.folder / "results/tables/table1.md").read_text()
    assert "| Clinical and genes" in text and "| c+g" in text and "c: clinical columns" in text
    compared = study.tsv("results/tables/comparisons.tsv")
    assert set(compared["reference"]) == {"clinical"} and set(compared["method"]) == set(METHODS) - {"clinical"}
    assert compared.loc[(compared["method"] == "snn") & (compared["metric"] == "auc"), "difference"].notna().any()


def test_clinical_columns_redo_the_baselines_that_read_them(study):
    study.configure(cohort={"clinical": ["age"]})
    planned = study.planned()
    study.configure(cohort={"clinical": ["age", "sex"]})
    assert planned["fit_baseline"] == 2 and "train_model" not in planned and "select_genes" not in planned


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        (
            {"methods": ["snn", "clinical", "attmil", "mean-patch"]},
            "none.yaml: methods: attmil, mean-patch read patches, and no sample of samples.tsv has a slide; leave them",
        ),
        (
            {"cohort": {"clinical": ["age", "grade"]}},
            "cases.tsv: row 1: column grade is missing, cohort.clinical names it; add it or correct the name in the "
            "configuration; it has mgmt, age, sex, survival_days, event",
        ),
        ({"cohort": {"require": "paired"}}, "samples.tsv: row 1: column slide is missing"),
    ],
)
def test_what_cannot_be_is_a_line_before_any_job(study, tmp_path, blocks, said):
    shutil.copy2(study.folder / study.configfile, tmp_path / "kept.yaml")
    study.configure(**blocks)
    done = study.snakemake("--dry-run", check=False)
    shutil.copy2(tmp_path / "kept.yaml", study.folder / study.configfile)
    assert done.returncode and said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def tcga(tmp_path_factory, real_data):
    """Return the documented example, its files made by the documented lines, with one seed and fewer methods."""
    folder = copy_project(tmp_path_factory.mktemp("tcga") / "project")
    shutil.copy2(real_data / "omics/tcga_gbmlgg_all_clean.csv.zip", folder)
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/baselines.md").read_text(), flags=re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(lines, "docs/baselines.md", "exec"), {})
    shutil.copy2(folder / "resources/cohorts/tcga_genes.yaml", folder)
    project = Project(folder, "tcga_genes.yaml")
    project.configure(methods=["snn", "cox-genes", "clinical"], training={"seeds": [0]}, results={"resamples": 500})
    project.snakemake("results/tables/table1.tsv")
    return project


def test_age_and_idh1_in_real_tcga_cases_are_as_good_as_was_found_elsewhere(tcga):
    """About 0.83 over five folds; and fold by fold what scikit-survival makes of the two columns."""
    table = tcga.tsv("results/tables/table1.tsv").astype({"fold": str})
    rows = table[(table["level"] == "sample") & (table["cohort"] == "all")].set_index(["method", "fold"])
    assert rows.loc[("clinical", "all"), "mean"] == pytest.approx(83, abs=2)
    assert rows.loc[("clinical", "all"), "n"] == 569
    assert rows.loc[[("snn", "all"), ("cox-genes", "all")], "mean"].between(75, 85).all()

    cases = tcga.tsv("cases.tsv").set_index("case_id")
    splits = tcga.tsv("results/cohort/splits.tsv")
    for fold, sides in splits.groupby("fold"):
        side = sides.set_index("case_id")["split"]
        known = cases.loc[side.index].dropna(subset=["survival_months", "died"])
        train, test = (known[side[known.index] == name] for name in ("train", "test"))
        x_train, x_test = (
            np.column_stack([(part["age"] - train["age"].mean()) / train["age"].std(ddof=0), part["idh1"] == "Mutant"])
            for part in (train, test)
        )
        # Two indicators of one marker share its effect: as one with twice the penalty on half of it.
        model = CoxPHSurvivalAnalysis(alpha=np.array([1.0, 0.5]))
        model.fit(x_train.astype(float), Surv.from_arrays(train["died"].astype(bool), train["survival_months"]))
        risk = model.predict(x_test.astype(float))
        found = concordance_index_censored(test["died"].astype(bool), test["survival_months"], risk)[0]
        assert rows.loc[("clinical", str(fold)), "mean"] == pytest.approx(100 * found, abs=0.05)
