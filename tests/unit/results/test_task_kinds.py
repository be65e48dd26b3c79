"""Every kind of task from its training to tables, comparisons, subgroups, figures and pictures."""

import json

import numpy as np
import pytest
from training_cohort import draw_cohort

from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.results.config import ShownTask
from ksfusion.results.stage_settings import (
    DrawFiguresSettings,
    MakeComparisonsSettings,
    MakeSubgroupsSettings,
    MakeTablesSettings,
)
from ksfusion.results.tables.scores import read_table
from ksfusion.stages.draw_figures import draw_figures
from ksfusion.stages.make_comparisons import make_comparisons
from ksfusion.stages.make_subgroups import make_subgroups
from ksfusion.stages.make_tables import make_tables
from ksfusion.terms.tasks import SurvivalModel
from ksfusion.training.config import TrainedTask

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

METHODS = ["snn", "ksfusion"]
TASKS = {
    "mgmt": TrainedTask(name="mgmt", kind="classification", classes=["no", "yes"], epochs=2),
    "stage": TrainedTask(name="stage", kind="classification", classes=["I", "II", "III"], epochs=2),
    "age": TrainedTask(name="age", kind="regression", epochs=2),
    "cox": TrainedTask(name="cox", kind="survival", epochs=2, survival=SurvivalModel(loss="cox", cuts=[20, 100, 300])),
    "two": TrainedTask(name="two", kind="survival", epochs=2, survival=SurvivalModel(intervals=2)),
}
SHOWN = [
    ShownTask.of(TASKS["mgmt"], positive="yes", title="MGMT promoter"),
    ShownTask.of(TASKS["stage"], ordered=True),
    *(ShownTask.of(TASKS[name]) for name in ("age", "cox", "two")),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return a folder with the tables and figures of two methods trained for a task of every kind."""
    folder = tmp_path_factory.mktemp("kinds")
    cohort = draw_cohort(folder / "cohort", n_cases=120)
    cases = read_parquet(cohort.folder / "cases.parquet")
    label = cases["label_diagnosis"]
    cases["label_stage"], cases["label_mgmt"] = label, (label > 0).astype("Int64")
    cases["value_age"] = 40 + 10 * label.astype(float) + np.random.default_rng(1).normal(size=len(cases))
    for task in ("cox", "two"):
        cases[f"days_{task}"], cases[f"event_{task}"] = cases["days_survival"], cases["event_survival"]
    cases["sex"] = ["fm"[number % 2] for number in range(len(cases))]
    cases.to_parquet(cohort.folder / "cases.parquet")
    runs = [
        cohort.train(f"runs/{name}/{method}/fold0/seed0", task=task, method=method)
        for name, task in TASKS.items()
        for method in METHODS
    ]
    compared = {"tasks": SHOWN, "methods": METHODS, "resamples": 200}
    make_comparisons(runs, folder / "comparisons.tsv", settings=MakeComparisonsSettings(**compared))
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str)
    write_parquet(samples, folder / "samples.parquet", {})
    make_subgroups(
        runs,
        folder / "subgroups.tsv",
        samples=folder / "samples.parquet",
        cases=cohort.folder / "cases.parquet",
        settings=MakeSubgroupsSettings(**compared, subgroups=["sex", "value_age"], ranges={"value_age": [50]}),
    )
    names = ["table1", "table_s1"]
    make_tables(
        runs,
        folder,
        settings=MakeTablesSettings(**compared, names=names, times=[100, 300]),
        comparisons=folder / "comparisons.tsv",
    )
    draw_figures(
        runs, folder / "figures", settings=DrawFiguresSettings(**compared), comparisons=folder / "comparisons.tsv"
    )
    return folder


def test_tables_have_the_metrics_of_each_kind(results):
    rows = read_table(results / "table1.tsv").query("level == 'sample' and cohort == 'all' and fold == 'all'")
    assert rows.groupby("task", sort=False)["metric"].unique().map(list).to_dict() == {
        "mgmt": ["auc", "accuracy", "sensitivity", "specificity", "f1"],
        "stage": ["auc", "accuracy", "sensitivity", "specificity", "f1"],
        "age": ["mae", "r2", "spearman"],
        "cox": ["c_index"],
        "two": ["c_index"],
    }
    assert rows["mean"].notna().all() and rows["ci_low"].notna().all()
    further = read_table(results / "table_s1.tsv").query("level == 'sample' and cohort == 'all' and fold == 'all'")
    of_task = further.groupby("task")["metric"].unique().map(set)
    assert "quadratic_kappa" in of_task["stage"] and "quadratic_kappa" not in of_task["mgmt"]
    assert "f1:II" in of_task["stage"] and not any(":" in metric for metric in of_task["mgmt"])
    curves = further[further["task"].isin(["cox", "two"]) & further["metric"].isin(["uno_c", "integrated_brier"])]
    assert len(curves) == 8 and curves["mean"].notna().all()
    assert "age" not in of_task


def test_comparisons_subgroups_and_figures_are_of_each_kind(results):
    compared = read_tsv(results / "comparisons.tsv", dtype={"fold": str})
    whole = compared.query("level == 'sample' and cohort == 'all' and fold == 'all'")
    assert set(whole["task"]) == set(TASKS) and whole["difference"].notna().all()
    assert set(whole.query("task == 'age'")["test"]) <= {"permutation"}
    groups = read_tsv(results / "subgroups.tsv")
    assert set(groups["task"]) == set(TASKS)
    assert set(groups["value"]) >= {"f", "m", "below 50", "50 and above"}
    listed = {entry["name"] for entry in json.loads((results / "figures" / "figures.json").read_text())}
    assert {"roc_mgmt", "confusion_stage", "regression_age", "training_age", "kaplan_meier_cox", "forest_age"} <= listed
    assert not {"roc_age", "kaplan_meier_age", "regression_mgmt"} & listed
    for name in listed:
        assert (results / "figures" / f"{name}.svg").is_file()
