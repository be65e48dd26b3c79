"""Comparisons with the reference: differences by hand, draws in common, and what is said where there is none."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from run_files import GRADING, SURVIVAL, write_run
from scipy.stats import binom

from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.storage import read_provenance
from ksfusion.results.comparisons import comparison_table
from ksfusion.results.config import ShownTask
from ksfusion.results.further_measures import AllMeasures, FurtherMeasures
from ksfusion.results.metrics import METRICS
from ksfusion.results.paired_tests import OTHER_CURVES
from ksfusion.results.plots.figures import figures_of_task
from ksfusion.results.report.comparisons import comparison_section, printed_p
from ksfusion.results.runs import read_runs
from ksfusion.results.stage_settings import DrawFiguresSettings, MakeComparisonsSettings, MakeTablesSettings
from ksfusion.results.statistics import draws_by_fold, interval
from ksfusion.results.tables.differences import COLUMNS, MARK, read_comparisons
from ksfusion.results.tables.scores import read_table, result_table
from ksfusion.stages.draw_figures import draw_figures
from ksfusion.stages.make_comparisons import make_comparisons
from ksfusion.stages.make_tables import make_tables

pytestmark = pytest.mark.slow

THREE = ShownTask(name="kind", kind="classification", classes=["a", "b", "c"])
SETTINGS = MakeComparisonsSettings(tasks=[GRADING], methods=["snn", "ksfusion"])


def right_of(n_right, *, n=40, seed=0, cases=None):
    """Rows of samples, in turn of each class, of which the first are right; which, a seed shuffles."""
    order = np.random.default_rng(seed).permutation(n)
    rows = []
    for i in range(n):
        y, right = i % 2, order[i] < n_right
        called = y if right else 1 - y
        case = f"C{i:03d}" if cases is None else cases[i]
        rows.append((f"S{i:03d}", case, "ab"[i % 4 // 2], y, 0.9 - 0.8 * called, 0.1 + 0.8 * called))
    return rows


def write_runs(folder, rows_of, *, task=GRADING):
    """Write runs: method to the rows of each seed, or of each fold and seed."""
    runs = []
    for method, by_seed in rows_of.items():
        by_fold = by_seed if isinstance(by_seed, dict) else {0: by_seed}
        for fold, rows_of_seeds in by_fold.items():
            runs += [
                write_run(folder, task, rows, method=method, fold=fold, seed=seed)
                for seed, rows in enumerate(rows_of_seeds)
            ]
    return runs


def compared(folder, rows_of, *, task=GRADING, methods=None, correction="holm", reference="ksfusion", **settings):
    runs = read_runs(write_runs(folder, rows_of, task=task), [task])
    methods = methods or list(rows_of)
    return comparison_table(runs, tasks=[task], methods=methods, reference=reference, correction=correction, **settings)


def row_of(table, metric, *, method="snn", level="sample", cohort="all", fold="all"):
    keys = {"method": method, "metric": metric, "level": level, "cohort": cohort, "fold": fold}
    (row,) = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)].itertuples()
    return row


def test_the_difference_is_that_of_the_means_over_seeds(tmp_path):
    """Right in 20, 24 and 28 of 40, less 30, 30 and 36: 60 % - 80 %; the seeds' own are -25, -15 and -20."""
    rows_of = {"snn": [right_of(n) for n in (20, 24, 28)], "ksfusion": [right_of(n) for n in (30, 30, 36)]}
    table = compared(tmp_path, rows_of)
    assert list(table.columns[:13]) == [
        "method",
        "reference",
        "task",
        "metric",
        "level",
        "cohort",
        "fold",
        "difference",
        "ci_low",
        "ci_high",
        "p",
        "p_corrected",
        "reason",
    ]
    row = row_of(table, "accuracy")
    assert row.difference == pytest.approx(-20) and row.sd_seeds == pytest.approx(5)
    assert (row.reference, row.n, row.test, row.reason) == ("ksfusion", 40, "permutation", "")
    assert set(table["method"]) == {"snn"} and set(table["level"]) == {"sample", "case"}
    assert set(table["cohort"]) == {"all", "a", "b"} and set(table["fold"]) == {"all", "0"}
    assert row_of(table, "auc").test == "delong"
    # Every difference is that of the table of results.
    results = result_table(
        read_runs(write_runs(tmp_path / "again", rows_of), [GRADING]),
        tasks=[GRADING],
        methods=list(rows_of),
        measures=AllMeasures(),
    )
    keys = ["metric", "level", "cohort", "fold"]
    means = {method: rows.set_index(keys)["mean"] for method, rows in results.groupby("method")}
    expected = (means["snn"] - means["ksfusion"]).reindex(pd.MultiIndex.from_frame(table[keys]))
    assert table["difference"].to_numpy() == pytest.approx(expected.to_numpy())


def test_both_methods_are_scored_on_the_same_draws_of_cases(tmp_path):
    """Right in the same cases but four: the interval is of four of forty alone, whatever the others do."""
    rows = right_of(30)
    fewer = [(*row[:4], 1 - row[4], 1 - row[5]) if n in (0, 5, 9, 14) else row for n, row in enumerate(rows)]
    lost = sum((row[5] > 0.5) == row[3] for n, row in enumerate(rows) if n in (0, 5, 9, 14))
    row = row_of(compared(tmp_path, {"snn": [fewer], "ksfusion": [rows]}), "accuracy")
    gained = 4 - lost
    assert row.difference == pytest.approx(100 * (gained - lost) / 40)
    exact = interval(
        100
        * (lambda counts: counts[:, 0] - counts[:, 1])(
            np.random.default_rng(1).multinomial(40, [gained / 40, lost / 40, 36 / 40], size=100_000)
        )
        / 40
    )
    assert (row.ci_low, row.ci_high) == pytest.approx(exact, abs=2.6)
    # Against itself under another name nothing is ever apart.
    same = row_of(compared(tmp_path / "same", {"snn": [rows], "ksfusion": [rows]}), "accuracy")
    assert (same.difference, same.ci_low, same.ci_high, same.p) == (0, 0, 0, 1)


def test_p_of_the_permutation_is_that_of_the_sign_test(tmp_path):
    """One seed, one sample a case, nine cases right by ksfusion alone and two by snn alone: McNemar's exact test."""
    rows = right_of(40)
    wrong = lambda those: [(*r[:4], 1 - r[4], 1 - r[5]) if n in those else r for n, r in enumerate(rows)]  # noqa: E731
    table = compared(tmp_path, {"snn": [wrong(range(9))], "ksfusion": [wrong((20, 30))]})
    exact = 2 * binom.cdf(2, 11, 0.5)
    assert row_of(table, "accuracy").p == pytest.approx(exact, abs=5 * np.sqrt(exact / 10_000))


def test_samples_of_a_case_are_swapped_together(tmp_path):
    """Two cases of twenty samples are but two: by samples the difference would be beyond doubt."""
    rows = [right_of(n, cases=["C1", "C2"] * 20) for n in (20, 40)]
    row = row_of(compared(tmp_path, {"snn": [rows[0]], "ksfusion": [rows[1]]}), "accuracy")
    assert row.difference == -50 and row.p >= 0.45
    assert np.isnan(row.ci_low) and row.reason == "too few test cases for an interval"


def test_folds_are_kept_apart_and_averaged(tmp_path):
    """Differences of -10 and -30 points in two folds; the scale of risks differs from run to run."""
    rows_of = {
        "snn": {0: [right_of(32)], 1: [right_of(20)]},
        "ksfusion": {0: [right_of(36)], 1: [right_of(32)]},
    }
    shifted = {
        method: {
            fold: [[(f"{s}-{fold}", f"{c}-{fold}", *rest) for s, c, *rest in rows] for rows in seeds]
            for fold, seeds in by_fold.items()
        }
        for method, by_fold in rows_of.items()
    }
    table = compared(tmp_path, shifted)
    assert [row_of(table, "accuracy", fold=fold).difference for fold in ("0", "1", "all")] == pytest.approx(
        [-10, -30, -20]
    )
    both = row_of(table, "accuracy")
    assert both.n == 80 and both.ci_high - both.ci_low < 0.85 * (
        row_of(table, "accuracy", fold="1").ci_high - row_of(table, "accuracy", fold="1").ci_low
    )
    # The same forty cases in both folds are not eighty: they tell no more than once.
    same = {method: dict.fromkeys((0, 1), by_fold[1]) for method, by_fold in rows_of.items()}
    tables = [
        compared(tmp_path / "once", {m: folds[1] for m, folds in same.items()}),
        compared(tmp_path / "twice", same),
    ]
    once, twice = (row_of(table, "accuracy") for table in tables)
    assert (once.n, twice.n) == (40, 80)
    assert (twice.difference, twice.p) == (once.difference, once.p)
    assert (twice.ci_low, twice.ci_high) == pytest.approx((once.ci_low, once.ci_high))
    assert row_of(tables[1], "auc").p == pytest.approx(row_of(tables[0], "auc").p)


def test_a_case_of_two_folds_has_one_weight():
    draws = draws_by_fold({0: {"A", "B", "C"}, 1: {"B", "C", "D"}}, resamples=50)
    assert draws[0] is draws[1] and list(draws[0].cases) == ["A", "B", "C", "D"]
    assert (draws[0].of_samples(["B", "B"]) == draws[1].of_samples(["B"])).all()
    apart = draws_by_fold({0: {"A", "B"}, 1: {"C", "D"}}, resamples=50)
    assert list(apart[1].cases) == ["C", "D"] and (apart[1].values.sum(axis=1) == 2).all()


def test_survival_is_compared_by_ranks(tmp_path):
    """Twelve cases that die in order; ksfusion has all in order, snn the reverse, in units of its own."""
    rows = [(f"S{i}", f"C{i}", "a", 100 * i + 100, 1) for i in range(12)]
    rows_of = {
        "snn": [[(*row, 1000.0 * i) for i, row in enumerate(rows)]],
        "ksfusion": [[(*row, -float(i)) for i, row in enumerate(rows)]],
    }
    row = row_of(compared(tmp_path, rows_of, task=SURVIVAL), "c_index")
    assert (row.difference, row.ci_low, row.ci_high) == (-100, -100, -100)
    assert row.p == pytest.approx(2 / 2**12, abs=0.0015)  # all swapped, or none


def write_survival(folder, method, risks, cuts, *, train=30):
    """Write a run of survival of cases that die in order, with training cases of another follow-up by their number."""
    rows = [(f"S{i}", f"C{i:02d}", "ab"[i % 2], 100 * i + 100, i % 3 > 0, risk) for i, risk in enumerate(risks)]
    run = write_run(folder, SURVIVAL, rows, method=method)
    test = read_parquet(run / "predictions.parquet")
    known = pd.DataFrame({"sample_id": [f"T{i}" for i in range(train)], "case_id": [f"T{i}" for i in range(train)]})
    known = known.assign(cohort="a", days=50.0 * np.arange(1, train + 1), event=1, risk=0.0, fold=0, split="train")
    table = pd.concat([test, known], ignore_index=True)
    for number in range(len(cuts)):
        table[f"hazard_{number}"] = 0.2 + 0.01 * table.index
    write_parquet(table, run / "predictions.parquet", {})
    (run / "config.json").write_text(json.dumps({"bins": cuts}))
    return run


@pytest.mark.parametrize(
    ("cuts", "train", "tested"),
    [
        ([300, 600], 30, {"uno_c", "c_index_within", "auc_at_365", "integrated_brier", "d_calibration"}),
        ([300, 700], 30, {"c_index_within", "auc_at_365"}),
        ([300, 600], 40, {"c_index_within"}),
    ],
)
def test_survival_is_compared_in_the_metrics_of_table_s1(tmp_path, cuts, train, tested):
    """But where the two predict it at other times, or know censoring from other cases, by what the risks tell alone."""
    risks = np.random.default_rng(1).normal(size=(2, 12))
    runs = [
        write_survival(tmp_path, "snn", risks[0], cuts, train=train),
        write_survival(tmp_path, "ksfusion", risks[1], [300, 600]),
    ]
    found = read_runs(runs, [SURVIVAL], curves=True)
    methods = {"tasks": [SURVIVAL], "methods": ["snn", "ksfusion"]}
    table = comparison_table(found, **methods, reference="ksfusion", correction="holm", times=[365])
    further = {"uno_c", "c_index_within", "auc_at_365", "integrated_brier", "d_calibration"}
    assert set(table["metric"]) == {"c_index"} | further
    results = result_table(found, **methods, measures=FurtherMeasures([365]))
    for metric in further:
        row = row_of(table, metric)
        mine, theirs = (row_of(results, metric, method=method).mean for method in ("snn", "ksfusion"))
        assert row.difference == pytest.approx(mine - theirs) and row.ci_low <= row.difference <= row.ci_high
        assert np.isfinite(row.p) == (metric in tested)
        assert row.reason == ("" if metric in tested else OTHER_CURVES)
    assert row_of(table, "c_index").test == "permutation"


def test_holm_is_over_the_methods_of_one_task_metric_level_and_cohort(tmp_path):
    rows_of = {"snn": [right_of(22)], "attmil": [right_of(26, seed=1)], "add": [right_of(33, seed=2)]}
    table = compared(tmp_path, {**rows_of, "ksfusion": [right_of(38, seed=3)]})
    for _, family in table.groupby(["metric", "level", "cohort", "fold"]):
        known = family.dropna(subset="p").sort_values("p")
        steps = np.maximum.accumulate(known["p"].to_numpy() * np.arange(len(known), 0, -1))
        assert known["p_corrected"].to_numpy() == pytest.approx(np.minimum(steps, 1))
    alone = compared(tmp_path / "none", {**rows_of, "ksfusion": [right_of(38, seed=3)]}, correction="none")
    assert (alone["p_corrected"].dropna() == alone["p"].dropna()).all() and (
        alone["p"].dropna() == table["p"].dropna()
    ).all()


def test_what_cannot_be_compared_says_why(tmp_path):
    rows = right_of(30)
    runs = write_runs(tmp_path, {"snn": [rows, rows], "ksfusion": [rows, rows], "add": [rows], "mcat": [rows[:20]] * 2})
    runs.append(write_run(tmp_path, GRADING, [], method="cmta", reason="diverged"))

    def reasons(methods, reference="ksfusion", shared=None):
        found = read_runs(runs, [GRADING], shared=shared)
        table = comparison_table(found, tasks=[GRADING], methods=methods, reference=reference, correction="holm")
        whole = table[(table["cohort"] == "all") & (table["fold"] == "all") & (table["level"] == "sample")]
        return table, {row.method: row.reason for row in whole[whole["metric"] == "accuracy"].itertuples()}

    table, said = reasons(["snn", "add", "mcat", "cmta", "attmil", "ksfusion"])
    assert said == {
        "snn": "",
        "add": "compared on 1 pairs of runs of one fold and seed",
        "mcat": "compared on samples that both have",
        "cmta": "diverged",
        "attmil": "no run",
    }
    assert row_of(table, "accuracy", method="mcat").n == 20
    missing = table[table["method"].isin(["cmta", "attmil"])]
    assert len(missing) == 2 * 2 * (5 + 7)  # methods, levels, metrics of Tables 1 and S1
    assert missing[["difference", "ci_low", "p", "p_corrected"]].isna().all(axis=None)
    _, said = reasons(["snn", "add"], reference="transmil")
    assert said == dict.fromkeys(["snn", "add"], "transmil: no run")
    twin = "ksfusion-alpha050"
    table, said = reasons([twin, "ksfusion"], shared={twin: "ksfusion"})
    assert said == {twin: "the same runs as those of ksfusion"} and table["p"].isna().all()
    assert reasons(["ksfusion"])[0].empty and reasons(["snn"])[0].empty


def test_an_area_without_a_variance_says_so(tmp_path):
    """Ksfusion is right throughout, snn says the same of all; of the class c there is but one case."""
    certain = [(f"S{i}", f"C{i:02d}", "a", i % 2, float(i % 2 == 0), float(i % 2)) for i in range(20)]
    rows_of = {"snn": [[(*row[:4], 0.5, 0.5) for row in certain]], "ksfusion": [certain]}
    row = row_of(compared(tmp_path, rows_of), "auc")
    assert row.difference == -50 and np.isnan(row.p) and row.reason == "no p: the areas have no variance"
    three = [(*row, 0.0) for row in right_of(25)] + [("T", "T", "a", 2, 0.2, 0.2, 0.6)]
    other = [(*row, 0.0) for row in right_of(30)] + [("T", "T", "a", 2, 0.2, 0.6, 0.2)]
    row = row_of(compared(tmp_path / "three", {"snn": [three], "ksfusion": [other]}, task=THREE), "auc")
    assert np.isnan(row.p) and row.reason == "no p: fewer than two test cases of, or beside, c"


def test_more_draws_make_another_interval_of_the_same_difference(tmp_path):
    rows_of = {"snn": [right_of(25)], "ksfusion": [right_of(32, seed=1)]}
    few, many = (row_of(compared(tmp_path / str(n), rows_of, resamples=n), "accuracy") for n in (100, 5000))
    assert few.difference == many.difference and few.p == many.p
    assert (few.ci_low, few.ci_high) != (many.ci_low, many.ci_high)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study in which attmil is far below ksfusion, and snn is not shown to differ."""
    folder = tmp_path_factory.mktemp("study")
    rows_of = {
        "attmil": [right_of(20), right_of(22)],
        "snn": [right_of(35), right_of(36)],
        "ksfusion": [right_of(38), right_of(38)],
    }
    runs = write_runs(folder, rows_of)
    methods = ["attmil", "snn", "ksfusion"]
    settings = MakeComparisonsSettings(tasks=[GRADING], methods=methods)
    table = folder / "tables" / "comparisons.tsv"
    make_comparisons(runs, table, settings=settings)
    make_tables(
        runs, folder / "tables", settings=MakeTablesSettings(tasks=[GRADING], methods=methods), comparisons=table
    )
    return folder, runs, read_comparisons(table, settings)


def test_the_table_is_written_with_what_made_it(study):
    folder, runs, read = study
    path = folder / "tables" / "comparisons.tsv"
    assert path.read_text().splitlines()[0].split("\t") == COLUMNS
    settings = read_provenance(path)["settings"]
    assert (settings["reference"], settings["correction"], settings["resamples"]) == ("ksfusion", "holm", 2000)
    expected = comparison_table(
        read_runs(runs, [GRADING]), tasks=[GRADING], methods=["attmil", "snn"], reference="ksfusion", correction="holm"
    )
    assert read.table["difference"].to_numpy() == pytest.approx(
        expected["difference"].to_numpy(), abs=1e-4, nan_ok=True
    )
    assert read.table["p_corrected"].to_numpy() == pytest.approx(
        expected["p_corrected"].to_numpy(), rel=1e-3, nan_ok=True
    )
    assert list(read.table["reason"]) == list(expected["reason"])


def test_values_that_differ_are_marked_in_the_tables(study):
    folder, _, read = study
    differs = read.shown(["attmil", "snn"]).set_index(["method", "metric"])["p_corrected"] < 0.05
    assert differs["attmil"].any() and not differs["snn"].any()
    markdown, latex = ((folder / "tables" / f"table1.{ending}").read_text() for ending in ("md", "tex"))
    rows = {
        line.split("|")[1].strip(): line.split("|")[3:-1] for line in markdown.splitlines() if line.startswith("| ")
    }
    marked = [MARK in cell for cell in rows["AttMIL"]]
    assert marked == list(differs["attmil"][list(METRICS["classification"])])
    assert not any(MARK in cell for name in ("SNN", "KS-Fusion") for cell in rows[name])
    note = "differs from KS-Fusion (p {}< 0.05, after Holm's correction for the number of methods compared)."
    assert f"- {MARK}: {note.format(chr(92))}" in markdown
    assert latex.count(r"\textsuperscript{\textdagger}") == sum(marked) + 1  # and the note
    assert "No difference" not in markdown and set(read_table(folder / "tables" / "table1.tsv")["metric"])


def test_without_a_difference_the_tables_say_that(tmp_path):
    rows_of = {"snn": [right_of(35)], "ksfusion": [right_of(36, seed=1)]}
    runs = write_runs(tmp_path, rows_of)
    table = tmp_path / "comparisons.tsv"
    make_comparisons(runs, table, settings=SETTINGS.model_copy(update={"correction": "none"}))
    settings = MakeTablesSettings(tasks=[GRADING], methods=["snn", "ksfusion"], correction="none")
    make_tables(runs, tmp_path / "tables", settings=settings, comparisons=table)
    markdown = (tmp_path / "tables" / "table1.md").read_text()
    assert MARK not in markdown
    said = (
        "No difference from KS-Fusion is shown by a test (p \\< 0.05, not corrected for the number of methods compared)"
    )
    assert f"- {said}." in markdown


def test_the_report_says_of_a_method_no_more_than_its_test(study):
    _, _, read = study
    section = comparison_section(read, {"grading": "WHO grade"})
    (task,) = section["tasks"]
    assert (section["reference"], task["heading"]) == ("KS-Fusion", "WHO grade")
    first, further = task["parts"]
    text = " ".join(first["sentences"])
    assert "SNN" not in text + " ".join(further["sentences"])
    accuracy = row_of(read.table, "accuracy", method="attmil")
    assert accuracy.difference == -42.5
    assert f"AttMIL is 42.5 points below (95 % interval {-accuracy.ci_high:.1f} to {-accuracy.ci_low:.1f})" in text
    cell = dict(zip(first["metrics"], first["rows"][0]["cells"], strict=True))["Acc."]
    assert (cell["value"], cell["seeds"], cell["differs"]) == ("\N{MINUS SIGN}42.5", "\N{PLUS-MINUS SIGN}3.5", True)
    said = " ".join(section["notes"])
    assert "Spread over cases" in said and "Spread over seeds" in said and "10,000 permutations" in said
    none = comparison_section(type(read)(read.table.assign(p_corrected=1.0), "ksfusion", "bh"), {})
    assert none["tasks"][0]["parts"][0]["sentences"] == [
        "No difference is shown by a test (p < 0.05, after Benjamini and Hochberg's correction for the number of "
        "methods compared)."
    ]
    assert comparison_section(type(read)(read.table[:0], "ksfusion", "holm"), {}) is None


def test_a_difference_above_is_told_from_its_side(study):
    _, _, read = study
    turned = read.table.assign(
        difference=-read.table["difference"], ci_low=-read.table["ci_high"], ci_high=-read.table["ci_low"]
    )
    text = " ".join(comparison_section(type(read)(turned, "ksfusion", "holm"), {})["tasks"][0]["parts"][0]["sentences"])
    assert re.search(r"Acc\.: AttMIL is 42\.5 points above \(95 % interval \d", text) and "below" not in text


@pytest.mark.parametrize(("p", "printed"), [(0.00004, "<0.001"), (0.012, "0.012"), (0.5, "0.500"), (1.0, "1.000")])
def test_p_in_print(p, printed):
    assert printed_p(p) == printed


def test_the_first_figure_of_a_task_is_the_forest(study, tmp_path):
    folder, runs, read = study
    methods = ["attmil", "snn", "ksfusion"]
    settings = DrawFiguresSettings(tasks=[GRADING], methods=methods)
    draw_figures(runs, tmp_path, settings=settings, comparisons=folder / "tables" / "comparisons.tsv")
    assert (tmp_path / "forest_grading.svg").is_file()
    (entry, figure), *_ = figures_of_task(read_runs(runs, [GRADING]), GRADING, methods=methods, comparisons=read)
    assert (entry["name"], entry["title"]) == ("forest_grading", "Grading: differences from KS-Fusion")
    assert "spread over cases" in entry["caption"] and "spread over seeds" in entry["caption"]
    panels = figure.axes
    assert [axes.get_title() for axes in panels] == ["AUC", "Acc.", "Sens.", "Spec.", "F1"]
    accuracy = panels[1]
    filled, hollow = accuracy.lines[1:]
    assert list(filled.get_xdata()) == [-42.5] and list(hollow.get_xdata()) == [-6.25]
    over_cases, over_seeds = (np.array(lines.get_segments())[:, :, 0] for lines in accuracy.collections)
    expected = [row_of(read.table, "accuracy", method=method) for method in ("attmil", "snn")]
    assert over_cases == pytest.approx(np.array([(row.ci_low, row.ci_high) for row in expected]))
    assert over_seeds == pytest.approx(
        np.array([(row.difference - row.sd_seeds, row.difference + row.sd_seeds) for row in expected])
    )
    nothing = type(read)(read.table[:0], "ksfusion", "holm")
    alone = figures_of_task(read_runs(runs, [GRADING]), GRADING, methods=["ksfusion"], comparisons=nothing)
    kinds = ["roc", "confusion", "calibration", "training"]
    assert [entry["name"] for entry, _ in alone] == [f"{kind}_grading" for kind in kinds]


def test_a_forest_without_a_difference_says_why(tmp_path):
    runs = write_runs(tmp_path, {"snn": [right_of(30)], "add": [right_of(30)]})
    settings = {"tasks": [GRADING], "methods": ["snn", "add"]}
    make_comparisons(runs, tmp_path / "comparisons.tsv", settings=MakeComparisonsSettings(**settings))
    read = read_comparisons(tmp_path / "comparisons.tsv", MakeComparisonsSettings(**settings))
    (_, figure), *_ = figures_of_task(
        read_runs(runs, [GRADING]), GRADING, methods=settings["methods"], comparisons=read
    )
    assert figure.texts[-1].get_text() == "Nothing to draw: ksfusion: no run."


def test_cases_are_averaged_over_the_samples_that_both_have(tmp_path):
    """Each case has a sample that ksfusion gets right and one, unknown to snn, that would outweigh it."""
    known = [(f"S{i}", f"C{i}", "a", i % 2, 0.6 - 0.2 * (i % 2), 0.4 + 0.2 * (i % 2)) for i in range(12)]
    unknown = [(f"T{i}", f"C{i}", "a", i % 2, 0.1 + 0.8 * (i % 2), 0.9 - 0.8 * (i % 2)) for i in range(12)]
    table = compared(tmp_path, {"snn": [known], "ksfusion": [known + unknown]})
    row = row_of(table, "accuracy", level="case")
    assert (row.difference, row.n, row.reason) == (0, 12, "compared on samples that both have")
