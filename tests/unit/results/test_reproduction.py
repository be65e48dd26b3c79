"""The published values beside those of a study: which lie in the interval, and which cannot be compared."""

import pandas as pd
import pytest
from run_files import SURVIVAL, write_run

from ksfusion.core.resources import resource
from ksfusion.core.storage import read_tsv
from ksfusion.preflight.parsing import load_config
from ksfusion.results.config import ShownTask
from ksfusion.results.stage_settings import MakeReproductionSettings, MakeTablesSettings
from ksfusion.results.tables.reproduction import COLUMNS, Reproduced, compare_with_published
from ksfusion.stages.make_reproduction import make_reproduction
from ksfusion.stages.make_tables import make_tables

GLIOMA = load_config(resource("cohorts/glioma.yaml")).record()
GRADING = ShownTask(name="grading", kind="classification", classes=["G2", "G3", "G4"])


def study(**blocks):
    """Return a study whose configuration is the paper's but for keys of some blocks."""
    changed = {block: {**GLIOMA[block], **values} for block, values in blocks.items() if isinstance(values, dict)}
    return Reproduced({**GLIOMA, **blocks, **changed}, GLIOMA)


def long_row(method, metric, mean, low, high, *, task="grading", n=100, level="sample", **more):
    row = {"method": method, "task": task, "metric": metric, "level": level, "cohort": "all", "fold": "all"}
    row |= {"mean": mean, "sd": 0.0, "ci_low": low, "ci_high": high, "n": n, "reason": "", "modalities": "all"}
    return {**row, "split": "test", **more}


def published(*rows):
    return pd.DataFrame(rows, columns=["method", "task", "metric", "percent"])


def compared(values, rows, of=None):
    return compare_with_published(published(*values), pd.DataFrame(rows), of or study())


def test_a_published_value_lies_in_the_interval_or_not():
    rows = [
        long_row("snn", "auc", 88.0, 83.0, 90.52),
        long_row("snn", "auc", 87.0, 80.0, 91.0, level="case", n=40),
        long_row("mcat", "auc", 88.0, 83.0, 90.51),
        # Neither of these is the value of all test samples over folds.
        long_row("snn", "auc", 10.0, 0.0, 20.0, cohort="TCGA"),
        long_row("snn", "auc", 10.0, 0.0, 20.0, fold="0"),
        long_row("snn", "auc", 10.0, 0.0, 20.0, split="external", cohort="CPTAC"),
        long_row("snn", "auc", 10.0, 0.0, 20.0, modalities="slides only"),
    ]
    table = compared([("snn", "grading", "auc", 90.52), ("mcat", "grading", "auc", 90.52)], rows)
    assert list(table) == COLUMNS
    assert table["inside"].tolist() == ["yes", "no"]
    first = table.iloc[0]
    assert (first.published, first.here, first.ci_low, first.ci_high) == (90.52, 88.0, 83.0, 90.52)
    assert (first.n, first.cases, first.reason) == (100, 40, "")
    assert table["cases"].tolist() == [40, 0]


def test_what_has_no_counterpart_has_a_reason():
    values = [("snn", "grading", "auc", 90.0), ("cmta", "grading", "auc", 90.0), ("snn", "survival", "c_index", 70.0)]
    graded = {"grading": GLIOMA["tasks"]["grading"]}
    of = Reproduced({**GLIOMA, "methods": ["snn"], "tasks": graded}, GLIOMA)
    table = compared(values, [long_row("snn", "auc", 88.0, 83.0, 91.0)], of)
    assert table["inside"].tolist() == ["yes", "", ""]
    assert table["reason"].tolist()[1:] == [
        "the method is not one of this study",
        "the task is not one of this study",
    ]
    assert table["here"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"classes": ["G2", "G3"]}, "classes"),
        ({"column": "who"}, "column"),
        ({"classes": ["a", "b"], "positive": "b"}, "classes, positive"),
    ],
)
def test_another_task_of_the_same_name_is_another_metric(change, named):
    of = study(tasks={"grading": {**GLIOMA["tasks"]["grading"], **change}})
    table = compared([("snn", "grading", "auc", 90.0)], [long_row("snn", "auc", 88.0, 83.0, 91.0)], of)
    assert table["inside"].tolist() == [""] and table["here"].isna().all()
    assert table["reason"].tolist() == [f"the task has another {named} than the paper's: another metric"]


def test_an_average_over_other_classes_and_a_value_without_interval_are_shown_and_not_compared():
    reason = "no test sample of G2: average over the other classes"
    nan = float("nan")
    rows = [long_row("snn", "auc", 88.0, 83.0, 91.0, reason=reason), long_row("snn", "accuracy", 80.0, nan, nan)]
    rows.append(long_row("snn", "f1", 80.0, nan, nan, reason="fewer than 10 cases"))
    table = compared([("snn", "grading", metric, 85.0) for metric in ("auc", "accuracy", "f1")], rows)
    assert table["inside"].tolist() == ["", "", ""]
    assert table["reason"].tolist() == [reason, "no interval", "fewer than 10 cases"]
    assert table["here"].tolist() == [88.0, 80.0, 80.0]


def test_settings_that_make_a_result_are_told_where_they_differ():
    assert list(study().departures()) == []
    changed = {"features": {"batch_size": 7, "encoder": "uni"}, "training": {"seeds": [0], "tensorboard": True}}
    of = study(**changed, patches={"count": 144}, slides={"batches": 3}, cohort={"samples": "my.tsv"}, title="mine")
    assert list(of.departures()) == [
        "patches.count: 144 [2500]",
        "features.encoder: uni [resnet50]",
        "training.seeds: [0] [[0, 1, 2]]",
    ]
    # A search, which the paper's has none of; a task more is no departure, nor are the shipped sets by their version.
    of = study(
        training={"search": {"trials": 20}}, tasks={"mgmt": {"kind": "classification"}}, genes={"sets": "builtin-0.2.0"}
    )
    assert list(of.departures()) == [
        "training.search.trials: 20 [null]",
    ]


def test_from_runs_to_the_table_and_its_print(tmp_path):
    """Twenty cases, who died one after the other: the network swaps each with the next."""
    risks = [20 - number for number in range(20)]
    for place in range(0, 20, 2):
        risks[place], risks[place + 1] = risks[place + 1], risks[place]
    rows = [(f"S{n}", f"C{n}", "TCGA", 100.0 * (n + 1), 1.0, float(risk)) for n, risk in enumerate(risks)]
    run = write_run(tmp_path, SURVIVAL, rows, method="mcat")
    of_tables = MakeTablesSettings(tasks=[SURVIVAL], methods=["mcat"], published="paper", names=["table1", "table2"])
    make_tables([run], tmp_path / "tables", settings=of_tables)
    config = {**GLIOMA, "methods": ["mcat"], "patches": {**GLIOMA["patches"], "count": 16}}
    make_reproduction(
        [tmp_path / "tables/table1.tsv", tmp_path / "tables/table2.tsv"],
        tmp_path / "reproduction.tsv",
        printed=tmp_path / "reproduction.md",
        settings=MakeReproductionSettings(
            config=config, paper=GLIOMA, title="Ours_1", caveats=["Genes were chosen on all."]
        ),
    )
    table = read_tsv(tmp_path / "reproduction.tsv", dtype=str).fillna("")
    # As the paper's tables have them: 9 methods and 2 ablations, 11 values each.
    assert len(table) == 121
    (row,) = table[table["here"] != ""].itertuples()
    assert (row.task, row.method, row.metric, row.n, row.cases) == ("survival", "mcat", "c_index", "20", "20")
    # 10 of the 190 pairs are the wrong way round.
    assert float(row.here) == pytest.approx(100 * 180 / 190, abs=1e-4)
    values = read_tsv(resource("paper_tables.tsv")).query("method == 'mcat' and task == 'survival'")
    assert float(row.published) == values["percent"].item()
    assert row.inside == ("yes" if float(row.ci_low) <= float(row.published) <= float(row.ci_high) else "no")
    text = (tmp_path / "reproduction.md").read_text()
    said = "121 published values, 1 compared: 0 inside the 95 % interval of the value here, 1 outside."
    assert said in text
    assert "patches.count: 16 \\[2500\\]" in text and "Ours\\_1" in text and "Genes were chosen on all." in text
    assert (
        "Not compared, 110 values of AttMIL, TransMIL, SNN, " in text
        and ": the method is not one of this study." in text
    )
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1
