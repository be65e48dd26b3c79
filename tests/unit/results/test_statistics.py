"""The bootstrap over cases: exact weighted metrics, planted truth, and cases rather than samples."""

import numpy as np
import pytest
from scipy.stats import norm

from ksfusion.results.metrics import classification_metrics, survival_metrics
from ksfusion.results.statistics import (
    draw_cases,
    interval,
    resampled_classification,
    resampled_survival,
    sample_weights,
    weighted_auc,
)


@pytest.fixture
def samples():
    rng = np.random.default_rng(1)
    cases = np.repeat([f"C{number}" for number in range(30)], rng.integers(1, 4, 30))
    y = rng.integers(0, 3, len(cases))
    probabilities = rng.dirichlet(np.ones(3), len(cases)).round(1) + 0.01  # with ties
    return cases, y, probabilities


def test_draws_are_of_all_cases_and_seeded():
    draws = draw_cases(12, resamples=50, seed=3)
    assert (draws.sum(axis=1) == 12).all()
    assert (draws == np.random.default_rng(3).multinomial(12, [1 / 12] * 12, size=50)).all()


def test_all_samples_of_a_case_are_drawn_together(samples):
    cases, *_ = samples
    weights = sample_weights(cases, resamples=20)
    for case in np.unique(cases):
        own = weights[:, cases == case]
        assert (own == own[:, :1]).all()


def test_weighted_classification_equals_repeated_samples(samples):
    cases, y, probabilities = samples
    weights = sample_weights(cases, resamples=25)
    resampled = resampled_classification(y, probabilities, weights)
    for draw, weight in enumerate(weights):
        rows = np.repeat(np.arange(len(y)), weight)
        expected = classification_metrics(y[rows], probabilities[rows])
        for metric, value in expected.items():
            assert resampled[metric][draw] == pytest.approx(value)


def test_weighted_c_index_equals_repeated_samples():
    rng = np.random.default_rng(4)
    days, event, risk = rng.integers(1, 20, 40), rng.integers(0, 2, 40), rng.normal(size=40).round(1)
    weights = sample_weights(np.arange(40), resamples=25)
    resampled = resampled_survival(days, event, risk, weights)["c_index"]
    for draw, weight in enumerate(weights):
        rows = np.repeat(np.arange(40), weight)
        assert resampled[draw] == pytest.approx(survival_metrics(days[rows], event[rows], risk[rows])["c_index"])


def test_a_draw_without_a_class_is_undefined():
    y, probabilities = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    weights = np.array([[1, 1, 1], [2, 1, 0]])
    resampled = resampled_classification(y, probabilities, weights)
    assert resampled["accuracy"] == pytest.approx([100, 100])
    for metric in ("auc", "sensitivity", "specificity", "f1"):
        assert resampled[metric][0] == 100
        assert np.isnan(resampled[metric][1])


def test_a_draw_without_a_comparable_pair_is_undefined():
    resampled = resampled_survival([1, 2], [1, 0], [3, 1], np.array([[1, 1], [2, 0]]))["c_index"]
    assert resampled[0] == 100
    assert np.isnan(resampled[1])


def test_intervals_cover_a_planted_auc():
    rng = np.random.default_rng(0)
    truth, repeats, covered = norm.cdf(1 / np.sqrt(2)), 200, 0  # scores N(0, 1) and N(1, 1)
    positive = np.arange(100) < 40
    weights = sample_weights(np.arange(100))
    for _ in range(repeats):
        low, high = interval(weighted_auc(positive, rng.normal(size=100) + positive, weights))
        covered += low <= truth <= high
    # 95 % nominal; below 0.89 or above 0.99 is three standard errors away.
    assert 0.89 <= covered / repeats <= 0.99


def test_duplicated_samples_do_not_narrow_the_interval(samples):
    cases, y, probabilities = samples
    twice = np.tile(np.arange(len(y)), 2)

    def width(cases, rows):
        low, high = interval(resampled_classification(y[rows], probabilities[rows], sample_weights(cases))["accuracy"])
        return high - low

    once = width(cases, np.arange(len(y)))
    assert width(cases[twice], twice) == pytest.approx(once)
    as_if_new = np.array([f"{case}-{copy}" for copy in (1, 2) for case in cases])
    assert width(as_if_new, twice) < 0.9 * once


def test_interval_is_the_central_95_percent():
    assert interval(np.arange(1001.0)) == (25, 975)


def test_interval_leaves_out_undefined_draws_until_they_prevail():
    values = np.r_[np.arange(1001.0), np.full(1000, np.nan)]
    assert interval(values) == (25, 975)
    assert np.isnan(interval(np.r_[values, np.nan])).all()
