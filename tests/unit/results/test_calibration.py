"""Calibration, decision curves and splits by risk: against scikit-learn, and by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from run_files import GRADING, SURVIVAL, write_run
from scipy.stats import norm
from sklearn.calibration import calibration_curve

from ksfusion.core.parquet import write_parquet
from ksfusion.results.calibration import alive_at, class_calibration, equal_groups, survival_calibration
from ksfusion.results.decision import THRESHOLDS, net_benefit
from ksfusion.results.plots.calibration import draw_survival_calibration, predicted_survival
from ksfusion.results.plots.decision import draw_decision
from ksfusion.results.plots.figures import figures_of_task
from ksfusion.results.plots.style import drawing_style
from ksfusion.results.plots.survival import THIRDS, _all_told_apart, _log_rank, draw_survival, risk_groups
from ksfusion.results.runs import read_runs

Z = norm.isf(0.025)
BINARY = GRADING.model_copy(update={"positive": "G3"})


def write_curves(folder, rows, cuts, *, method="snn", seed=0, fold=0):
    """Write a run of survival. Rows: sample_id, case_id, cohort, days, event, then the hazard until each cut."""
    run = write_run(folder, SURVIVAL, [(*row[:5], 0.0) for row in rows], method=method, seed=seed, fold=fold)
    table = pd.DataFrame([row[:5] for row in rows], columns=["sample_id", "case_id", "cohort", "days", "event"])
    table = table.assign(fold=fold, split="test", risk=np.linspace(0, 1, len(rows)))
    for number in range(len(cuts)):
        table[f"hazard_{number}"] = [row[5 + number] for row in rows]
    write_parquet(table, run / "predictions.parquet", {})
    (run / "config.json").write_text(json.dumps({"bins": cuts}))
    return run


def panel_texts(figure):
    with drawing_style():
        FigureCanvasAgg(figure).draw()
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


@pytest.mark.parametrize("decimals", [1, 6], ids=["with ties", "without"])
def test_groups_of_a_class_are_those_of_scikit_learn(decimals):
    rng = np.random.default_rng(0)
    probability = rng.random(103).round(decimals)
    happened = rng.random(103) < probability
    found = class_calibration(probability, happened, np.arange(103))
    observed, predicted = calibration_curve(happened, probability, n_bins=5, strategy="quantile")
    np.testing.assert_allclose(found["observed"], observed)
    np.testing.assert_allclose(found["predicted"], predicted)
    assert found["cases"].sum() == 103


def test_an_interval_counts_each_case_once():
    # Four cases with two samples each, of which two are of the class: Wilson's interval of 2 in 4 by hand.
    cases, happened = np.repeat(np.arange(4), 2), np.repeat([True, True, False, False], 2)
    (row,) = class_calibration(np.full(8, 0.3), happened, cases).itertuples()
    half = Z * np.sqrt(0.25 / 4 + Z**2 / 64) / (1 + Z**2 / 4)
    assert (row.observed, row.cases) == (0.5, 4) and row.predicted == pytest.approx(0.3)
    assert (row.low, row.high) == pytest.approx((0.5 - half, 0.5 + half))


def test_survival_of_a_group_is_worked_by_hand():
    days = np.array([1.0, 2, 3, 4, 5, 9, 9, 9, 9, 9])
    event = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
    found = survival_calibration(np.repeat([0.2, 0.9], 5), days, event, 4)
    # Of five one dies, of four one, one is lost, of two one dies: 4/5 x 3/4 x 1/2.
    spread = Z * np.sqrt(1 / (5 * 4) + 1 / (4 * 3) + 1 / (2 * 1)) / np.log(0.3)
    assert found["observed"].tolist() == pytest.approx([0.3, 1.0])
    assert (found["low"][0], found["high"][0]) == pytest.approx((0.3 ** np.exp(-spread), 0.3 ** np.exp(spread)))
    assert found["predicted"].tolist() == pytest.approx([0.2, 0.9]) and found["cases"].tolist() == [5, 5]
    before = survival_calibration(np.repeat([0.2, 0.9], 5), days, event, 0.5)
    assert before["observed"].tolist() == [1, 1]


def test_a_group_that_is_not_followed_so_long_is_left_out_and_one_that_died_is_not():
    predicted, days = np.repeat([0.2, 0.9], 2), np.array([1.0, 2, 1, 2])
    found = survival_calibration(predicted, days, np.array([True, True, False, False]), 4)
    assert found["predicted"].tolist() == [0.2] and found["observed"].tolist() == [0.0]


def test_curves_fall_at_their_cuts_alone(tmp_path):
    rows = [("S1", "C1", "a", 50, 1, 0.2, 0.5), ("S2", "C2", "a", 300, 0, 0.0, 0.1)]
    (run,) = read_runs([write_curves(tmp_path, rows, [100, 200])], [SURVIVAL], curves=True)
    for days, expected in ((50, [1, 1]), (100, [0.8, 1]), (199, [0.8, 1]), (200, [0.4, 0.9])):
        np.testing.assert_allclose(alive_at(run, days), expected)
    assert np.isnan(alive_at(run, 201)).all()
    (plain,) = read_runs([write_run(tmp_path / "plain", SURVIVAL, [row[:6] for row in rows])], [SURVIVAL], curves=True)
    assert np.isnan(alive_at(plain, 100)).all()


def test_predicted_survival_is_the_mean_over_seeds_and_samples(tmp_path):
    samples = [("S1", "C1", "a", 9, 1), ("S2", "C1", "a", 9, 1), ("S3", "C2", "a", 8, 0)]
    hazards = [(0.2, 0.4, 0.5), (0.6, 0.0, 0.1)]  # of each seed
    runs = [
        write_curves(tmp_path, [(*row, hazard) for row, hazard in zip(samples, own, strict=True)], [100], seed=seed)
        for seed, own in enumerate(hazards)
    ]
    cases = predicted_survival(read_runs(runs, [SURVIVAL], curves=True), [100])
    assert cases[100].tolist() == pytest.approx([(0.8 + 0.6 + 0.4 + 1.0) / 4, 0.7])
    assert cases["days"].tolist() == [9, 8]


def test_a_time_beyond_the_last_cut_and_a_run_without_a_curve_say_so(tmp_path):
    rows = [(f"S{i}", f"C{i}", "a", 100 + i, i % 2, 0.1 + i / 50) for i in range(20)]
    runs = [write_curves(tmp_path, rows, [110])]
    runs.append(write_run(tmp_path, SURVIVAL, [(*row[:5], 1.0) for row in rows], method="mcat"))
    runs.append(write_run(tmp_path, SURVIVAL, [], method="add", reason="diverged"))
    found = read_runs(runs, [SURVIVAL], curves=True)
    methods = ["snn", "mcat", "add", "concat"]
    figure = draw_survival_calibration(found, task=SURVIVAL, methods=methods, title="x", times=[110, 365])
    said = [" ".join(" ".join(texts).split()) for texts in panel_texts(figure)]
    assert said == [
        "day 365: beyond the last cut, day 110",
        "the run has no survival curve",
        "diverged",
        "no run",
    ]
    # Nobody is followed so long.
    short = [(*row[:3], 10 + i, 0, *row[5:]) for i, row in enumerate(rows)]
    (run,) = read_runs([write_curves(tmp_path / "short", short, [110])], [SURVIVAL], curves=True)
    figure = draw_survival_calibration([run], task=SURVIVAL, methods=["snn"], title="x", times=[110])
    assert panel_texts(figure) == [["day 110: no group is followed\nso long"]]


def test_net_benefit_is_worked_by_hand():
    probability = np.array([0.9, 0.6, 0.3, 0.1, 0.2, 0.5, 0.05, 0.05, 0.05, 0.05])
    happened = np.arange(10) < 4
    once = np.ones((1, 10))
    # At 0.2 three of the class are called and two others (one of them exactly there): 3/10 - 2/10 x 0.2/0.8.
    # At 0.5 two and one: 2/10 - 1/10 x 1. At 0.95 none.
    found = net_benefit(probability, happened, once, np.array([0.2, 0.5, 0.95]))
    assert found[0].tolist() == pytest.approx([0.25, 0.1, 0.0])
    # To treat all: the prevalence less the others at the odds of the threshold.
    everyone = net_benefit(np.ones(10), happened, once, np.array([0.2, 0.4, 0.5]))
    assert everyone[0].tolist() == pytest.approx([0.4 - 0.6 / 4, 0.4 - 0.6 * 2 / 3, -0.2])


def test_a_sample_drawn_twice_counts_twice():
    rng = np.random.default_rng(1)
    probability, happened, times = rng.random(30), rng.random(30) < 0.4, rng.integers(0, 4, 30)
    repeated = net_benefit(np.repeat(probability, times), np.repeat(happened, times), np.ones((1, times.sum())))
    np.testing.assert_allclose(net_benefit(probability, happened, times[None, :]), repeated, atol=1e-12)


def binary_rows(n, rng):
    """Cases of two classes, of which half are told surely and rightly."""
    score = [y if i % 2 else rng.random() for i, y in enumerate(rng.integers(0, 2, n))]
    labels = [int(s) if i % 2 else int(rng.random() < 0.5) for i, s in enumerate(score)]
    return [(f"S{i}", f"C{i}", "a", y, 1 - s, s) for i, (y, s) in enumerate(zip(labels, score, strict=True))]


def test_decision_curves_are_of_the_class_that_counts(tmp_path):
    rows = binary_rows(40, np.random.default_rng(0))
    runs = [write_run(tmp_path, BINARY, rows), write_run(tmp_path, BINARY, [], method="add", reason="diverged")]
    found = read_runs(runs, [BINARY])
    figure = draw_decision(found, task=BINARY, methods=["snn", "add"], title="x", resamples=200)
    everyone, none, curve = figure.axes[0].lines
    prevalence = np.mean([row[3] for row in rows])
    assert everyone.get_ydata() == pytest.approx(prevalence - (1 - prevalence) * THRESHOLDS / (1 - THRESHOLDS))
    assert set(none.get_ydata()) == {0}
    at = list(THRESHOLDS).index(0.5)
    right, wrong = (sum(row[5] >= 0.5 and row[3] == y for row in rows) for y in (1, 0))
    assert curve.get_ydata()[at] == pytest.approx((right - wrong) / 40)
    # The interval is about the curve; of fewer than ten cases there is none.
    (band,) = figure.axes[0].collections
    assert band.get_paths()[0].contains_point((0.5, curve.get_ydata()[at]))
    assert panel_texts(figure)[1] == ["diverged"]
    (few,) = read_runs([write_run(tmp_path / "few", BINARY, rows[:9])], [BINARY])
    assert not draw_decision([few], task=BINARY, methods=["snn"], title="x").axes[0].collections


def test_only_a_task_of_two_classes_has_decision_curves(tmp_path):
    for task, expected in ((BINARY, 1), (GRADING, 0)):
        rows = binary_rows(12, np.random.default_rng(0))
        found = read_runs([write_run(tmp_path / str(expected), task, rows)], [task])
        listed = {entry["name"]: entry["caption"] for entry, _ in figures_of_task(found, task, methods=["snn"])}
        assert ("decision_grading" in listed) == bool(expected)
        assert "predictions, all seeds together, for G3." in listed["calibration_grading"] or not expected
    assert "for each class." in listed["calibration_grading"]


def test_thirds_by_risk(tmp_path):
    rows = [(f"S{i}", f"C{i}", "a", 10 + i, 1, float(risk)) for i, risk in enumerate([3, 1, 6, 4, 2, 5, 7])]
    runs = read_runs([write_run(tmp_path, SURVIVAL, rows)], [SURVIVAL])
    names = [name for name, _ in THIRDS]
    groups = risk_groups(runs, SURVIVAL, names).sort_values("risk")["group"]
    # The cuts of seven are at 3 and 5; who stands on one is below it.
    assert groups.tolist() == ["low"] * 3 + ["middle"] * 2 + ["high"] * 2
    figure = draw_survival(runs, task=SURVIVAL, methods=["snn"], title="x", groups=THIRDS)
    _, at_risk = figure.axes
    assert [label.get_text() for label in at_risk.get_yticklabels()] == ["Low", "Middle", "High"]
    assert [text.get_text() for text in at_risk.texts][:1] == ["3"]
    tied = read_runs([write_run(tmp_path / "tied", SURVIVAL, [(*row[:5], row[5] > 3) for row in rows])], [SURVIVAL])
    assert set(risk_groups(tied, SURVIVAL, names)["group"]) == {"low", "middle"}
    panel_texts(draw_survival(tied, task=SURVIVAL, methods=["snn"], title="x", groups=THIRDS))


def log_rank_rank(event, days, group):
    """The rank of the covariance of the log-rank statistic, written out."""
    names = sorted(set(group))
    covariance = np.zeros((len(names), len(names)))
    for day in set(days[event]):
        at_risk = np.array([(days[group == name] >= day).sum() for name in names], float)
        n, died = at_risk.sum(), (event & (days == day)).sum()
        if n > 1:
            share = at_risk / n
            covariance += died * (n - died) / (n - 1) * (np.diag(share) - np.outer(share, share))
    return np.linalg.matrix_rank(covariance, tol=1e-9)


def test_a_log_rank_test_of_three_groups_is_defined_where_its_covariance_is_regular():
    defined = set()
    for number in range(300):
        rng = np.random.default_rng(number)
        n = int(rng.integers(3, 9))
        days, event, group = rng.integers(1, 6, n), rng.random(n) < 0.5, np.array(["a", "b", "c"] * 3)[:n]
        expected = bool(event.any()) and log_rank_rank(event, days, group) == 2
        assert _all_told_apart(event, days, group) == expected
        table = pd.DataFrame({"days": days.astype(float), "event": event, "group": group})
        said = _log_rank(table)
        if event.any():
            assert (said == "log-rank p undefined: too few deaths") != expected
        else:
            assert said == "no death observed"
        defined.add(expected)
    assert defined == {True, False}


def test_equal_groups_keep_equal_values_together():
    assert equal_groups(np.array([1.0, 2, 3, 4, 5, 6]), 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert equal_groups(np.array([1.0, 1, 1, 1, 5, 6]), 2).tolist() == [0, 0, 0, 0, 1, 1]
    assert set(equal_groups(np.full(4, 0.5), 5)) == {0}
