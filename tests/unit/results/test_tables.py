"""Tables of runs whose means, deviations and intervals are worked by hand."""

import re

import numpy as np
import pandas as pd
import pytest
from run_files import GRADING, SURVIVAL, write_run

from ksfusion.core.parquet import write_parquet
from ksfusion.core.resources import resource
from ksfusion.core.storage import read_provenance, read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ShownTask
from ksfusion.results.stage_settings import MakeTablesSettings
from ksfusion.results.statistics import interval
from ksfusion.results.tables.latex import to_latex
from ksfusion.results.tables.layout import PAPER_NOTE, Cell, lay_out
from ksfusion.results.tables.markdown import to_markdown
from ksfusion.results.tables.scores import COLUMNS, choose_methods, read_table
from ksfusion.results.wording import DASH
from ksfusion.stages.make_tables import make_tables

PAPER = resource("paper_tables.tsv")


def classified(predicted, *, y=(0, 0, 1, 1), cases=("C1", "C2", "C3", "C4"), cohorts=("a", "a", "b", "b"), times=5):
    """Rows of samples whose predicted class is given, each case standing for so many alike: 20 cases, 10 a cohort."""
    rows = [row for row in zip(cases, cohorts, y, predicted, strict=True)] * times
    return [
        (f"S{i}", f"{case}-{i // len(cases)}", cohort, y, 0.9 - 0.8 * p, 0.1 + 0.8 * p)
        for i, (case, cohort, y, p) in enumerate(rows)
    ]


def write_tables(runs, folder, **settings):
    make_tables(runs, folder, settings=MakeTablesSettings(**settings))


def tables_of(folder, runs, *, tasks=(GRADING,), methods=("snn",), **settings):
    write_tables(runs, folder / "tables", tasks=tasks, methods=methods, **settings)
    return read_table(folder / "tables" / "table1.tsv")


def cell(table, metric, *, level="sample", cohort="all", fold="all", method="snn"):
    keys = {"method": method, "metric": metric, "level": level, "cohort": cohort, "fold": fold}
    (row,) = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)].itertuples()
    return row


def test_mean_and_deviation_over_seeds(tmp_path):
    # A half, three quarters and all are right: mean 75 %, deviation 25.
    predicted = [(0, 1, 1, 0), (0, 1, 1, 1), (0, 0, 1, 1)]
    runs = [write_run(tmp_path, GRADING, classified(p), seed=seed) for seed, p in enumerate(predicted)]
    table = tables_of(tmp_path, runs)
    assert list(table.columns) == COLUMNS
    row = cell(table, "accuracy")
    assert (row.mean, row.sd, row.n, row.reason) == (75, 25, 20, "")
    # Cohort a: a half, a half and all of it; its samples are all of one class.
    row = cell(table, "accuracy", cohort="a")
    assert row.mean == pytest.approx(200 / 3, abs=1e-4)
    assert (row.n, row.reason) == (10, "")
    row = cell(table, "auc", cohort="a")
    assert np.isnan(row.mean)
    assert row.reason == "one class only among the test samples"
    assert cell(table, "accuracy", fold="0").mean == 75


def test_one_seed_has_no_deviation(tmp_path):
    row = cell(tables_of(tmp_path, [write_run(tmp_path, GRADING, classified((0, 0, 1, 0)))]), "accuracy")
    assert row.mean == 75
    assert np.isnan(row.sd)


def test_interval_is_that_of_the_mean_over_seeds(tmp_path):
    # Two seeds, each wrong where the other is right: their mean is one half in every draw of cases.
    runs = [write_run(tmp_path, GRADING, classified(p), seed=s) for s, p in enumerate([(0, 1, 0, 1), (1, 0, 1, 0)])]
    row = cell(tables_of(tmp_path, runs), "accuracy")
    assert (row.mean, row.ci_low, row.ci_high) == (50, 50, 50)


def test_interval_of_one_seed_is_binomial(tmp_path):
    # Right in 30 of 40 cases: a draw's number of right ones is binomial.
    y = [0, 1] * 20
    predicted = [1 - y[i] if i < 10 else y[i] for i in range(40)]
    rows = classified(predicted, y=y, cases=[f"C{i:02d}" for i in range(40)], cohorts=["a"] * 40, times=1)
    row = cell(tables_of(tmp_path, [write_run(tmp_path, GRADING, rows)]), "accuracy")
    exact = interval(100 * np.random.default_rng(9).binomial(40, 0.75, 200_000) / 40)
    assert (row.ci_low, row.ci_high) == pytest.approx(exact, abs=3)


def test_cases_are_scored_by_their_mean_prediction(tmp_path):
    # C1 has three samples of G2: 0.9, 0.4 and 0.4 average 0.57, right; C2's two of G3 are wrong and stay wrong.
    prob_g2 = [("C1", 0, 0.9), ("C1", 0, 0.4), ("C1", 0, 0.4), ("C2", 1, 0.6), ("C2", 1, 0.7), ("C3", 1, 0.2)]
    rows = [(f"S{i}", case, "a", y, p, 1 - p) for i, (case, y, p) in enumerate(prob_g2)]
    table = tables_of(tmp_path, [write_run(tmp_path, GRADING, rows)])
    by_sample, by_case = cell(table, "accuracy"), cell(table, "accuracy", level="case")
    assert (by_sample.mean, by_sample.n) == (pytest.approx(100 * 2 / 6, abs=1e-4), 6)
    assert (by_case.mean, by_case.n) == (pytest.approx(100 * 2 / 3, abs=1e-4), 3)
    assert np.isnan(by_case.paper)


def test_survival_of_samples_and_cases(tmp_path):
    # Samples: S1 (dies first) outranks S3 but not S4; S2 of the same case likewise ties neither. By case: 2 > 1.5.
    rows = [("S1", "C1", "a", 10, 1, 1.0), ("S2", "C1", "a", 10, 1, 3.0), ("S3", "C2", "a", 20, 0, 0.5)]
    rows.append(("S4", "C2", "a", 20, 0, 2.5))
    table = tables_of(tmp_path, [write_run(tmp_path, SURVIVAL, rows)], tasks=[SURVIVAL])
    assert cell(table, "c_index").mean == 75
    assert cell(table, "c_index", level="case").mean == 100


def test_folds_are_averaged(tmp_path):
    runs = [write_run(tmp_path, GRADING, classified(p), fold=f) for f, p in enumerate([(0, 1, 1, 1), (0, 0, 1, 1)])]
    table = tables_of(tmp_path, runs)
    assert [cell(table, "accuracy", fold=fold).mean for fold in ("0", "1", "all")] == [75, 100, 87.5]
    assert cell(table, "accuracy").n == 40
    assert "mean over folds and seeds" in (tmp_path / "tables" / "table1.md").read_text()


def test_skipped_task_is_a_row_with_its_reason(tmp_path):
    runs = [write_run(tmp_path, GRADING, [], reason="fewer than two classes", seed=seed) for seed in range(3)]
    table = tables_of(tmp_path, runs, published="paper")
    assert set(zip(table["metric"], table["level"], strict=True)) >= {("auc", "sample"), ("f1", "case")}
    assert set(table["reason"]) == {"fewer than two classes"}
    assert set(table["n"]) == {0}
    assert table["mean"].isna().all()
    assert cell(table, "auc").paper == 90.52
    markdown = (tmp_path / "tables" / "table1.md").read_text()
    assert "fewer than two classes" in markdown


def test_part_of_the_seeds_skipped_is_told(tmp_path):
    runs = [
        write_run(tmp_path, GRADING, classified((0, 0, 1, 1))),
        write_run(tmp_path, GRADING, [], reason="diverged", seed=1),
    ]
    row = cell(tables_of(tmp_path, runs), "accuracy")
    assert (row.mean, row.reason) == (100, "1 of 2 runs skipped: diverged")


def test_method_without_a_run_is_told(tmp_path):
    run = write_run(tmp_path, GRADING, classified((0, 0, 1, 1)))
    table = tables_of(tmp_path, [run], methods=("snn", "attmil"))
    assert cell(table, "auc", method="attmil").reason == "no run"


def test_absent_class_is_told(tmp_path):
    task = ShownTask(name="grading", kind="classification", classes=["G2", "G3", "G4"])
    rows = [(*row, 0.0) for row in classified((0, 0, 1, 1))]
    table = tables_of(tmp_path, [write_run(tmp_path, task, rows)], tasks=[task])
    assert cell(table, "f1").mean == 100
    assert cell(table, "f1").reason == "no test sample of G4: average over the other classes"
    assert cell(table, "accuracy").reason == ""


def test_a_single_case_has_no_interval(tmp_path):
    rows = classified((0, 1), y=(0, 1), cases=("C1", "C1"), cohorts=("a", "a"), times=1)
    row = cell(tables_of(tmp_path, [write_run(tmp_path, GRADING, rows)]), "accuracy")
    assert (row.mean, row.reason) == (100, "too few test cases for an interval")
    assert np.isnan(row.ci_low)


@pytest.mark.parametrize(("n_cases", "told"), [(3, False), (9, False), (10, True)])
def test_few_cases_have_a_reason_in_place_of_an_interval(tmp_path, n_cases, told):
    """All are missed: the bootstrap would say 0 to 0. Samples make no more cases, folds do."""
    rows = [(f"S{i}", f"C{i // 2}", "a", 0, 0.1, 0.9) for i in range(2 * n_cases)]
    table = tables_of(tmp_path, [write_run(tmp_path, GRADING, rows)])
    row = cell(table, "accuracy")
    assert row.mean == 0 and row.n == 2 * n_cases
    assert (row.ci_low, row.ci_high, row.reason) == (0, 0, "") if told else np.isnan([row.ci_low, row.ci_high]).all()
    assert told or row.reason == "too few test cases for an interval"
    markdown = (tmp_path / "tables" / "table1.md").read_text()
    assert (f"(0.0{DASH}0.0)" in markdown) is told


def test_cases_of_all_folds_make_an_interval(tmp_path):
    runs = []
    for fold in range(2):
        rows = [(f"S{fold}{i}", f"C{fold}{i}", "a", i % 2, 0.9 - 0.8 * (i % 3 % 2), 0.5) for i in range(6)]
        runs.append(write_run(tmp_path, GRADING, rows, fold=fold))
    table = tables_of(tmp_path, runs)
    assert np.isnan(cell(table, "accuracy", fold="0").ci_low) and cell(table, "accuracy").ci_low >= 0


def test_nothing_of_the_paper_stands_where_the_cohort_is_not_the_papers(tmp_path):
    """SNN's AUC for grading is published."""
    runs = [write_run(tmp_path / "runs", GRADING, classified((0, 0, 1, 1)))]
    for published in ("none", "paper"):
        table = tables_of(tmp_path / published, runs, published=published)
        assert table["paper"].notna().any() == (published == "paper")
        for ending in ("md", "tex"):
            text = (tmp_path / published / "tables" / f"table1.{ending}").read_text()
            for words in ("90.52", "1/236", "*paper*" if ending == "md" else r"\textit{paper}"):
                assert (words in text) == (published == "paper"), words


def test_titles_stand_in_the_tables_as_they_were_given(tmp_path):
    task = ShownTask.of(GRADING, title="WHO grade (IDH)", labels={"G3": "WHO_3"})
    rows = [(f"S{i}", f"C{i}", "a", 0, 0.9, 0.1) for i in range(10)]
    runs = [write_run(tmp_path / "runs", task, rows)]
    write_tables(runs, tmp_path, tasks=[task], methods=["snn"], title="Our study")
    markdown, latex = ((tmp_path / f"table1.{ending}").read_text() for ending in ("md", "tex"))
    assert markdown.startswith("# Methods compared on the test samples\n\nOur study\n")
    assert "| WHO grade (IDH) AUC |" in markdown and "- WHO grade (IDH) (AUC" in markdown
    assert "Test samples: WHO grade (IDH) 10." in markdown and "Grading" not in markdown
    assert r"\caption{Our study. Methods compared on the test samples.}" in latex
    assert r"\multicolumn{5}{c}{WHO grade (IDH)}" in latex
    # The long table keeps the names by which a program finds rows.
    assert set(read_table(tmp_path / "table1.tsv")["task"]) == {"grading"}


def test_paper_column_is_the_published_table(tmp_path):
    published = read_tsv(PAPER)
    tasks = [ShownTask(name="diagnosis", kind="classification", classes=["a", "b"]), GRADING, SURVIVAL]
    methods = [method for method in dict.fromkeys(published["method"]) if method in METHODS]
    write_tables([], tmp_path, tasks=tasks, methods=methods, published="paper")
    keys = ["method", "task", "metric"]
    for name in ("table1", "table2"):
        table = read_table(tmp_path / f"{name}.tsv").dropna(subset="paper")
        assert set(table["level"]) == set(["sample"])
        own = published[published["method"].isin(choose_methods(methods)[name])]
        assert len(table) == len(own)
        assert table.set_index(keys)["paper"].to_dict() == own.set_index(keys)["percent"].to_dict()


def test_published_accuracies_are_of_236_samples():
    accuracies = read_tsv(PAPER).query("metric == 'accuracy'")["percent"]
    assert len(accuracies) == 22
    assert all(round(100 * round(value * 2.36) / 236, 2) == value for value in accuracies)
    assert "1/236" in PAPER_NOTE


def test_the_class_that_counts_has_its_own_sensitivity_and_specificity(tmp_path):
    # true \\ predicted   G2  G3
    #               G2    2   2
    #               G3    1   3
    rows = classified((0, 0, 1, 1, 0, 1, 1, 1), y=(0,) * 4 + (1,) * 4, cases=list("abcdefgh"), cohorts=["a"] * 8)
    told = {}
    for positive in ("G2", "G3"):
        task = GRADING.model_copy(update={"positive": positive})
        table = tables_of(tmp_path / positive, [write_run(tmp_path / positive, task, rows)], tasks=[task])
        told[positive] = [cell(table, metric).mean for metric in ("sensitivity", "specificity", "f1")]
    assert told["G3"] == pytest.approx([75, 50, 200 / 3], abs=1e-4)
    assert told["G2"] == pytest.approx([50, 75, 400 / 7], abs=1e-4)


def test_table_s1_has_the_further_metrics_of_each_task(tmp_path):
    rng = np.random.default_rng(0)
    rows = classified((0, 1, 1, 1))
    runs = [write_run(tmp_path, GRADING, rows)]
    days = rng.integers(10, 400, 20)
    test = [(f"S{i}", f"C{i}", "ab"[i % 2], day, i % 3 > 0, 1 / day) for i, day in enumerate(days)]
    runs.append(write_run(tmp_path, SURVIVAL, test))
    predictions = pd.read_parquet(runs[1] / "predictions.parquet")
    hazards = {f"hazard_{number}": np.full(20, 0.25) for number in range(4)}
    train = predictions.assign(split="train", case_id=predictions["case_id"] + "-train")
    write_parquet(
        pd.concat([predictions, train], ignore_index=True).assign(**{k: 0.25 for k in hazards}),
        runs[1] / "predictions.parquet",
        {},
    )
    (runs[1] / "config.json").write_text('{"bins": [50, 100, 200]}')
    settings = {"tasks": [GRADING, SURVIVAL], "methods": ["snn"], "names": ["table1", "table_s1"], "times": [100, 9000]}
    write_tables(runs, tmp_path / "tables", **settings)
    table = read_table(tmp_path / "tables" / "table_s1.tsv")
    assert list(table.columns) == COLUMNS
    assert set(table.loc[table["task"] == "survival", "metric"]) == {
        "uno_c", "c_index_within", "auc_at_100", "auc_at_9000", "integrated_brier", "d_calibration", "d_calibration_p"
    }  # fmt: skip
    assert {"auprc", "mcc", "brier", "f1:G2", "f1:G3"} < set(table.loc[table["task"] == "grading", "metric"])
    # Days rank the risks: all pairs are right.
    for metric in ("uno_c", "c_index_within", "auc_at_100"):
        assert cell(table, metric).mean == 100
    p = cell(table, "d_calibration_p")
    assert 0 <= p.mean <= 100 and np.isnan(p.ci_low) and not p.reason
    assert cell(table, "auc_at_9000").reason == "no test sample is followed beyond day 9000"
    assert cell(table, "integrated_brier").ci_low < cell(table, "integrated_brier").mean
    assert cell(table, "f1:G2").mean == pytest.approx(100 * 2 / 3, abs=1e-4)
    assert cell(table, "mcc").mean == pytest.approx(100 * (1 * 2 - 0) / np.sqrt(1 * 3 * 2 * 2), abs=1e-4)
    markdown, latex = ((tmp_path / "tables" / f"table_s1.{ending}").read_text() for ending in ("md", "tex"))
    parts = ["Grading", "Grading: G2 against the rest", "Grading: G3 against the rest", "Survival"]
    assert re.findall("(?m)^# (.*)$", markdown) == [f"Further metrics of the test samples: {part}" for part in parts]
    assert re.findall(r"\\label{(.*?)}", latex) == [f"tab:table_s1_{number}" for number in range(1, 5)]
    assert "no test sample is followed beyond day 9000" in markdown and "AUC at 100 d" in markdown


def test_table_s1_of_a_run_without_cuts_has_the_reason(tmp_path):
    rows = [(f"S{i}", f"C{i}", "a", 10 + i, 1, -i) for i in range(12)]
    run = write_run(tmp_path, SURVIVAL, rows)
    write_tables([run], tmp_path / "tables", tasks=[SURVIVAL], methods=["snn"], names=["table_s1"])
    row = cell(read_table(tmp_path / "tables" / "table_s1.tsv"), "integrated_brier")
    assert np.isnan(row.mean) and row.reason == "the run has no survival curve"


def test_low_is_best_where_errors_are_told(tmp_path):
    sure = [(f"S{i}", f"C{i}", "a", i % 2, 0.9 - 0.8 * (i % 2), 0.1 + 0.8 * (i % 2)) for i in range(20)]
    unsure = [(*row[:4], 0.6 - 0.2 * row[3], 0.4 + 0.2 * row[3]) for row in sure]
    runs = [write_run(tmp_path, GRADING, rows, method=m) for m, rows in (("snn", sure), ("add", unsure))]
    write_tables(runs, tmp_path, tasks=[GRADING], methods=["snn", "add"], names=["table_s1"])
    long = read_table(tmp_path / "table_s1.tsv")
    layout = lay_out(long[long["metric"] == "brier"])
    assert [(row.method, row.cells[0].best) for row in layout.rows] == [("snn", True), ("add", False)]


def test_an_interval_below_zero_is_written_with_words(tmp_path):
    below, above = Cell(-1.0, -3.44, 0.0, np.nan, best=False), Cell(1.0, 0.0, 2.0, np.nan, best=False)
    assert (below.value, below.interval) == ("\N{MINUS SIGN}1.0", "\N{MINUS SIGN}3.4 to 0.0")
    assert (above.value, above.interval) == ("1.0", f"0.0{DASH}2.0")


def test_each_method_stands_in_its_table(tmp_path):
    methods = ["snn", "ksfusion", "ksfusion-no-gecon", "ksfusion-alpha025", "ksfusion-alpha100"]
    assert choose_methods(methods) == {
        "table1": ["snn", "ksfusion"],
        "table2": ["ksfusion", "ksfusion-no-gecon"],
        "alpha": ["ksfusion", "ksfusion-alpha025", "ksfusion-alpha100"],
        "table_s1": ["snn", "ksfusion", "ksfusion-no-gecon"],
    }
    write_tables([], tmp_path, tasks=[GRADING], methods=["snn"])
    for name in ("table2", "alpha"):
        assert (tmp_path / f"{name}.tsv").read_text() == "\t".join(COLUMNS) + "\n"
    assert "No such method" in (tmp_path / "table2.md").read_text()
    assert "No such method" in (tmp_path / "table2.tex").read_text()


def test_in_the_sweep_the_papers_value_stands_beside_its_alpha(tmp_path):
    """KS-Fusion's AUC of grading is published; the runs are of ksfusion, trained with each of two alphas."""
    published = read_tsv(PAPER).query("method == 'ksfusion' and task == 'grading' and metric == 'auc'")["percent"]
    assert published.nunique() == 1
    ours = write_run(tmp_path, GRADING, classified((0, 0, 1, 1)), method="ksfusion")
    other = write_run(tmp_path, GRADING, classified((1, 0, 1, 1)), method="ksfusion-alpha075")
    for alpha, paper in (("050", published.iloc[0]), ("025", np.nan)):
        same = f"ksfusion-alpha{alpha}"
        write_tables(
            [ours, other],
            tmp_path,
            tasks=[GRADING],
            methods=[same, "ksfusion-alpha075"],
            names=["alpha"],
            shared={same: "ksfusion"},
            published="paper",
        )
        table = read_table(tmp_path / "alpha.tsv")
        assert list(table["method"].unique()) == [same, "ksfusion-alpha075"]
        row = cell(table, "accuracy", method=same)
        assert (row.mean, row.reason) == (100, "") and cell(table, "accuracy", method="ksfusion-alpha075").mean == 75
        np.testing.assert_equal(cell(table, "auc", method=same).paper, paper)
        assert np.isnan(cell(table, "auc", method="ksfusion-alpha075").paper)
        assert [row.label for row in lay_out(table).rows] == [
            f"KS-Fusion, alpha 0.{alpha.strip('0')}",
            "KS-Fusion, alpha 0.75",
        ]


def test_the_sweep_is_laid_out_too(tmp_path):
    methods = ["ksfusion", "ksfusion-alpha025"]
    runs = [write_run(tmp_path, GRADING, classified((0, 0, 1, 1)), method=method) for method in methods]
    write_tables(runs, tmp_path, tasks=[GRADING], methods=methods, names=["alpha"])
    markdown, latex = ((tmp_path / f"alpha.{ending}").read_text() for ending in ("md", "tex"))
    assert markdown.startswith("# Sensitivity to alpha\n") and "| KS-Fusion, alpha 0.25 |" in markdown
    assert r"\label{tab:alpha}" in latex and "KS-Fusion, alpha 0.25 & p+g & " in latex


def test_only_the_tables_asked_for_are_written(tmp_path):
    write_tables([], tmp_path, tasks=[GRADING], methods=["ksfusion-alpha025"], names=["alpha"])
    assert [path.name for path in sorted(tmp_path.iterdir()) if not path.name.startswith(".")] == [
        "alpha.docx",
        "alpha.md",
        "alpha.tex",
        "alpha.tsv",
    ]
    assert "ksfusion-alpha025\tgrading" in (tmp_path / "alpha.tsv").read_text()


@pytest.mark.parametrize(("digits", "alpha"), [("000", 0), ("025", 0.25), ("050", 0.5), ("075", 0.75), ("100", 1)])
def test_a_variant_with_another_alpha_says_which(digits, alpha):
    info = METHODS[f"ksfusion-alpha{digits}"]
    assert (info.alpha, info.label) == (alpha, f"KS-Fusion, alpha {alpha}")


def test_files_are_the_same_each_time_and_say_what_made_them(tmp_path):
    runs = [write_run(tmp_path, GRADING, classified((0, 1, 1, 1)), seed=seed) for seed in range(2)]
    tables_of(tmp_path / "first", runs)
    tables_of(tmp_path / "second", runs[::-1])
    for name in ("table1.tsv", "table1.md", "table1.tex", "table2.tsv", "alpha.tsv", "alpha.md", "alpha.tex"):
        first, second = (tmp_path / order / "tables" / name for order in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    assert read_provenance(tmp_path / "first" / "tables" / "table1.tsv")["settings"]["methods"] == ["snn"]


def test_papers_layout_is_escaped(tmp_path):
    task = ShownTask(name="idh_status", kind="classification", classes=["wild*type", "A&B_{c}"])
    rows = classified((0, 0), y=(0, 0), cases=("C1", "C2"), cohorts=("a", "a"), times=1)
    layout = lay_out(tables_of(tmp_path, [write_run(tmp_path, task, rows)], tasks=[task]))
    layout = type(layout)(layout.groups, layout.rows, ("50 % of A&B_{c}, wild*type <b>",))
    latex = to_latex(layout, title="T", label="tab:t", note="")
    assert r"50 \% of A\&B\_\{c\}" in latex
    assert r"\multicolumn{5}{c}{Idh status}" in latex
    markdown = to_markdown(layout, title="T", note="")
    assert r"wild\*type \<b\>" in markdown
    widths = {len(line) for line in markdown.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_a_caveat_stands_under_the_tables(tmp_path):
    runs = [write_run(tmp_path / "runs", GRADING, classified((0, 1, 1, 1)))]
    caveat = "Adjusted on test samples too."
    write_tables(runs, tmp_path, tasks=[GRADING], methods=["snn"], caveats=[caveat])
    for name in ("table1.md", "table2.md", "table1.tex", "table2.tex"):
        assert caveat in (tmp_path / name).read_text()
