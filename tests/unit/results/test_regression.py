"""Predicted numbers: metrics against scikit-learn and SciPy, draws and swaps by brute force, table, figure."""

import numpy as np
import pandas as pd
import pytest
from run_files import write_run
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score

from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.results.attention.heatmaps import choose_samples, outcome_text
from ksfusion.results.config import ShownTask
from ksfusion.results.metrics.names import printed_value
from ksfusion.results.metrics.regression import regression_metrics, resampled_regression
from ksfusion.results.permutation import swapped_regression
from ksfusion.results.plots.regression import draw_regression, predictions_of
from ksfusion.results.runs import read_runs
from ksfusion.results.stage_settings import MakeComparisonsSettings, MakeTablesSettings
from ksfusion.results.tables.scores import read_table
from ksfusion.stages.make_comparisons import make_comparisons
from ksfusion.stages.make_tables import make_tables

AGE = ShownTask(name="age", kind="regression")


def drawn(n=40, seed=0):
    """Ages and predictions, both with ties."""
    rng = np.random.default_rng(seed)
    y = rng.integers(20, 80, n).astype(float)
    return y, (y + rng.normal(scale=12, size=n)).round(-1), (y + rng.normal(scale=20, size=n)).round(-1)


def write_number(folder, y, predicted, **run):
    rows = [(f"S{i}", f"C{i}", "a", *pair) for i, pair in enumerate(zip(y, predicted, strict=True))]
    written = write_run(folder, AGE, [], **run)
    table = pd.DataFrame(rows, columns=["sample_id", "case_id", "cohort", "y", "predicted"])
    write_parquet(table.assign(fold=0, split="test"), written / "predictions.parquet", {})
    return written


def test_metrics_agree_with_scikit_learn_and_scipy():
    y, predicted, _ = drawn()
    metrics = regression_metrics(y, predicted)
    assert list(metrics) == ["mae", "r2", "spearman"]
    assert metrics["mae"] == pytest.approx(mean_absolute_error(y, predicted))
    assert metrics["r2"] == pytest.approx(100 * r2_score(y, predicted))
    assert metrics["spearman"] == pytest.approx(100 * spearmanr(y, predicted).statistic)


def test_far_from_zero_r2_stays_exact():
    y, predicted, _ = drawn()
    assert regression_metrics(y + 1e7, predicted + 1e7)["r2"] == pytest.approx(100 * r2_score(y, predicted), rel=1e-6)


def test_weights_are_repeated_samples():
    y, predicted, _ = drawn()
    weights = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=20)
    resampled = resampled_regression(y, predicted, weights)
    for draw, weight in enumerate(weights):
        rows = np.repeat(np.arange(40), weight)
        assert {name: found[draw] for name, found in resampled.items()} == pytest.approx(
            {
                "mae": mean_absolute_error(y[rows], predicted[rows]),
                "r2": 100 * r2_score(y[rows], predicted[rows]),
                "spearman": 100 * spearmanr(y[rows], predicted[rows]).statistic,
            }
        )


def test_what_the_samples_do_not_determine_is_nan():
    same = regression_metrics([5, 5, 5], [4, 5, 6])
    assert same["mae"] == pytest.approx(2 / 3) and np.isnan(same["r2"]) and np.isnan(same["spearman"])
    flat = regression_metrics([4, 5, 6], [5, 5, 5])
    assert flat["r2"] == pytest.approx(0) and np.isnan(flat["spearman"])
    assert np.isnan(list(regression_metrics([], []).values())).all()
    with pytest.raises(ValueError, match="must be finite"):
        regression_metrics([1, 2], [1, np.nan])


def test_swaps_are_those_of_brute_force():
    y, ours, theirs = drawn()
    swaps = np.random.default_rng(2).integers(0, 2, size=(30, 40)) > 0
    found = swapped_regression(y, ours, theirs, swaps)
    places = [rankdata(values) for values in (ours, theirs)]
    for number, swap in enumerate(swaps):
        first, second = np.where(swap, theirs, ours), np.where(swap, ours, theirs)
        assert found["mae"][number] == pytest.approx(mean_absolute_error(y, first) - mean_absolute_error(y, second))
        assert found["r2"][number] == pytest.approx(100 * (r2_score(y, first) - r2_score(y, second)))
        # Ranked within each run first: the correlation of these ranks with those of the truth.
        ranked = np.where(swap, places[1], places[0]), np.where(swap, places[0], places[1])
        correlations = [np.corrcoef(values, rankdata(y))[0, 1] for values in ranked]
        assert found["spearman"][number] == pytest.approx(100 * (correlations[0] - correlations[1]))


def test_table_and_comparisons_of_numbers(tmp_path):
    y, good, poor = drawn(60)
    runs = [write_number(tmp_path, y, good, method="ksfusion"), write_number(tmp_path, y, 50 + 0 * poor, method="snn")]
    settings = {"tasks": [AGE], "methods": ["snn", "ksfusion"]}
    make_tables(runs, tmp_path, settings=MakeTablesSettings(**settings, names=["table1", "table_s1"]))
    rows = read_table(tmp_path / "table1.tsv").query("level == 'sample' and cohort == 'all' and fold == 'all'")
    found = rows.set_index(["method", "metric"])
    assert found.loc[("ksfusion", "mae"), "mean"] == pytest.approx(mean_absolute_error(y, good), rel=1e-5)
    assert found.loc[("ksfusion", "mae"), "ci_low"] < found.loc[("ksfusion", "mae"), "mean"]
    assert np.isnan(found.loc[("snn", "spearman"), "mean"])
    assert found.loc[("snn", "spearman"), "reason"] == "all test samples have the same value, or the same prediction"
    markdown = (tmp_path / "table1.md").read_text()
    assert "In percent, MAE in the unit of what is predicted: mean" in markdown
    assert f"**{mean_absolute_error(y, good):.3g}** (" in markdown
    assert r"MAE & R\textsuperscript{2} & Spearman" in (tmp_path / "table1.tex").read_text()
    assert (tmp_path / "table_s1.tsv").read_text().count("\n") == 1
    make_comparisons(runs, tmp_path / "c.tsv", settings=MakeComparisonsSettings(**settings))
    compared = read_tsv(tmp_path / "c.tsv", dtype={"fold": str})
    mae = compared.query("metric == 'mae' and level == 'sample' and cohort == 'all' and fold == 'all'").iloc[0]
    expected = mean_absolute_error(y, 50 + 0 * y) - mean_absolute_error(y, good)
    assert mae["difference"] == pytest.approx(expected, rel=1e-5)
    assert mae["test"] == "permutation" and mae["p"] < 0.01


def test_figure_shows_each_test_sample_at_its_mean_prediction(tmp_path):
    y = np.array([10.0, 20, 30])
    folders = [write_number(tmp_path, y, y + shift, seed=seed) for seed, shift in enumerate((0, 4))]
    folders.append(write_run(tmp_path, AGE, [], method="attmil", reason="diverged"))
    runs = read_runs(folders, [AGE])
    table = predictions_of([run for run in runs if run.method == "snn"], AGE)
    assert table["predicted"].tolist() == [12, 22, 32]
    figure = draw_regression(runs, task=AGE, methods=["snn", "attmil"], title="Age")
    first, second = figure.axes
    _, points = first.lines
    assert points.get_xdata().tolist() == [10, 20, 30] and points.get_ydata().tolist() == [12, 22, 32]
    assert [text.get_text() for text in second.texts] == ["diverged"]


def test_pictures_are_of_samples_spread_over_the_values():
    table = pd.DataFrame({"sample_id": list("abcde"), "y": [3.0, 1, np.nan, 5, 2], "predicted": [2.5, 1, 1, np.inf, 2]})
    assert choose_samples(table, AGE, 3) == ["b", "a", "c"]
    assert outcome_text(table, "a", AGE) == "Predicted 2.5; truth 3"
    assert outcome_text(table, "c", AGE) == "Predicted 1; truth not known"
    assert outcome_text(table, "d", AGE) == "Prediction not finite; truth 5"


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("mae", 0.012345, "0.0123"),
        ("mae", 12.345, "12.3"),
        ("mae", 12345.6, "12346"),
        ("mae", -0.5, "\N{MINUS SIGN}0.5"),
        ("r2", 12.345, "12.3"),
        ("r2", -0.01, "0.0"),
        ("auc", 12345.6, "12345.6"),
    ],
)
def test_what_has_a_unit_has_three_digits(metric, value, text):
    assert printed_value(metric, value) == text
