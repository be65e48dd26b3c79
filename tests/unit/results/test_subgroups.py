"""Subgroups: what they are called, their scores beside those of the tables, and the test of heterogeneity."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from run_files import GRADING, SURVIVAL, write_run
from scipy.stats import chi2

from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.results.config import Subgrouping
from ksfusion.results.grouping import column_of, group_of, groups_in_order, subgroup_problems
from ksfusion.results.plots.style import drawing_style
from ksfusion.results.plots.subgroups import MOST_ROWS, draw_subgroups, largest
from ksfusion.results.stage_settings import MakeSubgroupsSettings, MakeTablesSettings
from ksfusion.results.tables.scores import read_table
from ksfusion.results.tables.subgroups import COLUMNS, heterogeneity, read_subgroups
from ksfusion.stages.make_subgroups import make_subgroups
from ksfusion.stages.make_tables import make_tables


def test_numbers_are_cut_into_ranges_with_their_lower_edge():
    edges = [40, 60]
    assert [group_of(value, edges) for value in ("39.9", "40", "59.5", "60", "")] == [
        "below 40",
        "40 to 60",
        "40 to 60",
        "60 and above",
        "unknown",
    ]
    assert groups_in_order(["70", "", "20", "45"], edges) == ["below 40", "40 to 60", "60 and above", "unknown"]
    assert groups_in_order(["70", "20"], edges) == ["below 40", "60 and above"]
    assert groups_in_order(["b", "", "a"], ()) == ["a", "b", "unknown"]
    assert groups_in_order(["10", "9", "x"], ()) == ["9", "10", "x"]


def test_a_column_is_of_the_samples_or_else_of_the_cases():
    samples = [{"sample_id": "S1", "case_id": "C1", "site": "", "cohort": "a"}]
    cases = [{"case_id": "C1", "site": "Rome", "cohort": "z"}]
    assert column_of("site", samples, cases) == {"S1": "Rome"}
    assert column_of("cohort", samples, cases) == {"S1": "a"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"subgroups": ["sexe"]},
            ["my.yaml: results.subgroups: there is no column sexe", "(sample_id, case_id, sex, age"],
        ),
        ({"subgroups": ["age"]}, ["age has 20 numbers, from 30 to 49", "results.ranges: {age: [39.5]}"]),
        ({"subgroups": ["sex"], "ranges": {"sex": [1]}}, ["results.ranges: sex has 'f', no number"]),
        ({"subgroups": ["code"]}, ["results.subgroups: code has 101 values"]),
    ],
)
def test_a_column_that_makes_no_subgroups_is_told_before_any_job(settings, words):
    samples = [{"sample_id": f"S{i}", "case_id": f"C{i}"} for i in range(101)]
    cases = [{"case_id": f"C{i}", "sex": "fm"[i % 2], "age": str(30 + i % 20), "code": f"x{i}"} for i in range(101)]
    (said,) = subgroup_problems(Subgrouping(**settings), samples, cases, source="my.yaml")
    assert all(word in said for word in words), said
    assert not list(subgroup_problems(Subgrouping(subgroups=["sex"]), samples, cases, source="my.yaml"))


def test_ranges_are_of_subgroups_and_ascend():
    with pytest.raises(ValueError, match="age is not one of subgroups"):
        Subgrouping(ranges={"age": [40]})
    with pytest.raises(ValueError, match="ascending"):
        Subgrouping(subgroups=["age"], ranges={"age": [60, 40]})


def test_with_independent_subgroups_the_test_is_cochrans_q():
    # Draws whose covariance is diagonal by construction: columns of a Hadamard matrix are uncorrelated.
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])[1:]
    means, spread = np.array([70.0, 80.0, 62.0]), np.array([3.0, 2.0, 5.0])
    draws = means[:, None] + signs * spread[:, None]
    weight = 1 / draws.var(axis=1, ddof=1)
    q = (weight * (means - np.average(means, weights=weight)) ** 2).sum()
    p, reason = heterogeneity(means, draws)
    assert p == pytest.approx(chi2.sf(q, 2)) and not reason


def test_what_cannot_be_tested_has_a_reason():
    assert heterogeneity(np.array([1.0]), np.ones((1, 9)))[1].startswith("no test: fewer than two subgroups")
    assert heterogeneity(np.array([1.0, 2]), np.ones((2, 9)))[1] == "no test: the differences have no variance"
    undefined = np.vstack([np.arange(9.0), np.full(9, np.nan)])
    assert heterogeneity(np.array([1.0, 2]), undefined)[1] == "no test: undefined in half of the draws or more"


def rows_of(rng, n, *, right, sites):
    """Cases whose class is predicted rightly with the chance of their site: y and the probabilities of two classes."""
    rows = []
    for number in range(n):
        y, site = number % 2, sites[number]
        predicted = y if rng.random() < right[site] else 1 - y
        rows.append((f"S{number}", f"C{number}", "a", y, 0.9 - 0.8 * predicted, 0.1 + 0.8 * predicted))
    return rows


def write_cohort(folder, sites, ages=None):
    samples = pd.DataFrame({"sample_id": [f"S{i}" for i in range(len(sites))]})
    samples = samples.assign(case_id=[f"C{i}" for i in range(len(sites))], cohort="a", site=sites)
    cases = samples[["case_id"]].assign(age=ages or [""] * len(sites))
    write_parquet(samples, folder / "samples.parquet", {})
    write_parquet(cases, folder / "cases.parquet", {})


def subgroups_of(folder, runs, tasks=(GRADING,), **settings):
    make_subgroups(
        runs,
        folder / "subgroups.tsv",
        samples=folder / "samples.parquet",
        cases=folder / "cases.parquet",
        settings=MakeSubgroupsSettings(tasks=tasks, methods=["snn"], **settings),
    )
    return read_tsv(folder / "subgroups.tsv", dtype={"value": str}).fillna({"reason": ""})


def test_scores_of_a_subgroup_are_worked_by_hand(tmp_path):
    sites = ["Rome"] * 12 + ["Oslo"] * 12 + [""] * 4
    rows = [
        # Rome: all right; Oslo: every third wrong; no site: all wrong.
        (f"S{i}", f"C{i}", "a", i % 2, *((0.9, 0.1) if (i % 2 == 0) == ok else (0.1, 0.9)))
        for i, ok in enumerate([True] * 12 + [i % 3 > 0 for i in range(12)] + [False] * 4)
    ]
    write_cohort(tmp_path, sites, ages=[str(20 + i) for i in range(28)])
    table = subgroups_of(
        tmp_path, [write_run(tmp_path, GRADING, rows)], subgroups=["site", "age"], ranges={"age": [32]}
    )
    assert list(table.columns) == [*COLUMNS, "split"]
    found = table[(table["metric"] == "accuracy") & (table["level"] == "sample")].set_index("value")
    assert list(found.index) == ["Oslo", "Rome", "unknown", "below 32", "32 and above"]
    assert found["mean"].tolist() == pytest.approx([100 * 8 / 12, 100, 0, 100, 100 * 8 / 16], abs=1e-4)
    assert found["n"].tolist() == [12, 12, 4, 12, 16]
    assert found.loc["unknown", "reason"].startswith("too few test cases for an interval")
    assert np.isnan(found.loc["unknown", "p"])
    # Of the two sites of ten cases and more one has no variance; the other's tells.
    assert found.loc["Oslo", "p"] == found.loc["Rome", "p"] < 0.05
    assert found.loc["Oslo", "ci_low"] < found.loc["Oslo", "mean"] < found.loc["Oslo", "ci_high"]


def test_by_cohort_it_is_what_table_1_has(tmp_path):
    rng = np.random.default_rng(0)
    folders = []
    for seed in range(2):
        rows = [
            (f"S{i}", f"C{i // 2}", "ab"[i % 4 // 2], i // 2 % 3 > 0, 1 - s, s) for i, s in enumerate(rng.random(80))
        ]
        folders.append(write_run(tmp_path, GRADING, rows, seed=seed))
        rows = [
            (f"S{i}", f"C{i // 2}", "ab"[i % 4 // 2], 10 + i // 2, i // 2 % 3 > 0, s)
            for i, s in enumerate(rng.random(80))
        ]
        folders.append(write_run(tmp_path, SURVIVAL, rows, seed=seed))
    samples = pd.DataFrame(
        [(f"S{i}", f"C{i // 2}", "ab"[i % 4 // 2]) for i in range(80)], columns=["sample_id", "case_id", "cohort"]
    )
    write_parquet(samples, tmp_path / "samples.parquet", {})
    write_parquet(samples[["case_id"]].drop_duplicates(), tmp_path / "cases.parquet", {})
    table = subgroups_of(tmp_path, folders, tasks=[GRADING, SURVIVAL])
    make_tables(folders, tmp_path, settings=MakeTablesSettings(tasks=[GRADING, SURVIVAL], methods=["snn"]))
    paper = read_table(tmp_path / "table1.tsv").query("fold == 'all' and cohort != 'all'")
    keys = ["task", "metric", "level", "cohort"]
    both = paper.merge(table, left_on=keys, right_on=["task", "metric", "level", "value"], suffixes=("", "_own"))
    assert len(both) == len(paper) == len(table) == 24
    for number in ("mean", "sd", "ci_low", "ci_high", "n"):
        np.testing.assert_allclose(both[f"{number}_own"], both[number], atol=2e-4)


def test_the_figure_shows_what_the_table_has(tmp_path):
    sites = [r"$\frac$ <Rome>"] * 12 + ["Oslo"] * 12 + [""] * 4
    rng = np.random.default_rng(3)
    rows = [(f"S{i}", f"C{i}", "a", i % 2, 1 - s, s) for i, s in enumerate(rng.random(28))]
    write_cohort(tmp_path, sites)
    runs = [write_run(tmp_path, GRADING, rows)]
    subgroups_of(tmp_path, runs, subgroups=["site"], resamples=200)
    table = read_subgroups(tmp_path / "subgroups.tsv")
    with drawing_style():
        figure = draw_subgroups([], task=GRADING, methods=["snn", "add"], title="Subgroups", table=table)
        FigureCanvasAgg(figure).draw()
    axes, empty = figure.axes
    own = table[(table["metric"] == "auc") & (table["level"] == "sample")]
    # Dots are where the means are, the unknown hollow at the end, and p at the name of the column.
    drawn = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in drawn] == own["mean"].tolist()
    assert [line.get_ydata()[0] for line in drawn] == [1, 2, 3]
    assert [line.get_markerfacecolor() == "white" for line in drawn] == [False, False, True]
    texts = [text.get_text() for text in axes.texts]
    assert texts == [
        f"p = {own['p'].iloc[0]:.3f}", "Site", r"$\frac$ <Rome> (n = 12)", "Oslo (n = 12)", "unknown (n = 4)"
    ]  # fmt: skip
    assert [text.get_text() for text in empty.texts] == ["no run"]
    nothing = table.assign(mean=np.nan, reason="no test sample")
    figure = draw_subgroups([], task=GRADING, methods=["snn"], title="x", table=nothing)
    assert figure.texts[1].get_text() == "Nothing to draw: no test sample."


def test_of_many_subgroups_the_largest_are_drawn():
    rows = [("site", f"v{i}", i % 20 + 1) for i in range(60)]
    kept = largest(pd.DataFrame(rows, columns=["subgroup", "value", "n"]))
    # Thirty-nine have eight and more; of the three of seven the first.
    assert len(kept) == MOST_ROWS == 40
    assert kept["value"].tolist() == [value for _, value, n in rows if n > 7 or value == "v6"]


@pytest.mark.slow
def test_the_heterogeneity_test_rejects_a_true_null_as_often_as_it_says(tmp_path):
    """With 60 cases a site and an accuracy of 70 % at both: 5 % of 400 is 20, give or take 2 x 4.4."""
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(400):
        right = rng.random((2, 60)) < 0.7
        draws = np.stack([rng.multinomial(60, np.full(60, 1 / 60), size=500) @ site / 60 for site in right])
        p, _ = heterogeneity(right.mean(axis=1), draws)
        rejected += p < 0.05
    assert 8 <= rejected <= 36


def test_a_planted_difference_between_sites_is_found_and_equal_sites_are_not(tmp_path):
    sites = ["A", "B", "C"] * 40
    rng = np.random.default_rng(1)
    p = {}
    for name, right in (("equal", dict(A=0.8, B=0.8, C=0.8)), ("one worse", dict(A=0.85, B=0.85, C=0.5))):
        folder = tmp_path / name
        folder.mkdir()
        write_cohort(folder, sites)
        run = write_run(folder, GRADING, rows_of(rng, 120, right=right, sites=sites))
        table = subgroups_of(folder, [run], subgroups=["site"])
        p[name] = table.query("metric == 'accuracy' and level == 'case'")["p"].unique()
    assert p["equal"] > 0.05
    assert p["one worse"] < 0.01
