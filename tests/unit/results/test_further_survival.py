"""Further metrics of survival against scikit-survival and cases worked by hand; with weights as of repeated samples."""

import numpy as np
import pytest
from scipy.stats import chi2, chisquare
from sksurv.metrics import brier_score, concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.nonparametric import CensoringDistributionEstimator
from sksurv.util import Surv

from ksfusion.results.metrics.d_calibration import chi_square_p, decile_shares
from ksfusion.results.metrics.further_survival import (
    CensoringDistribution,
    Curves,
    SurvivalSamples,
    further_survival,
    integrated_errors,
)

TIMES = [200.0, 500.0]


def follow(rng, n):
    """Deaths and losses until the study's end on day 900; whole days, so that some are the same."""
    days = rng.exponential(500, n).round(-1) + 1
    return np.minimum(days, 900), (rng.random(n) < 0.7) & (days < 900)


@pytest.fixture
def cohort():
    rng = np.random.default_rng(2)
    days, event = follow(rng, 120)
    train = CensoringDistribution(*follow(rng, 300))
    cuts = np.array([150.0, 350.0, 601.0])
    rate = np.exp(rng.normal(size=120)) / 500
    curves = Curves(rate.round(4), np.exp(-rate[:, None] * cuts), cuts)
    return SurvivalSamples(days, event, np.arange(120).astype(str), rng.choice(["a", "b"], 120)), curves, train


def metrics_of(samples, curves, train, times=TIMES):
    values, reasons = further_survival(samples, curves, np.ones((1, len(samples.days))), censoring=train, times=times)
    return {metric: found[0] for metric, found in values.items()}, reasons


def structured(samples, train):
    return Surv.from_arrays(train.event, train.days), Surv.from_arrays(samples.event, samples.days)


def test_concordance_and_areas_agree_with_scikit_survival(cohort):
    samples, curves, train = cohort
    metrics, reasons = metrics_of(samples, curves, train)
    known, tested = structured(samples, train)
    uno, *_ = concordance_index_ipcw(known, tested, curves.risk, tau=curves.cuts[-1])
    areas, _ = cumulative_dynamic_auc(known, tested, curves.risk, TIMES)
    assert not reasons
    assert metrics["uno_c"] == pytest.approx(100 * uno)
    assert [metrics["auc_at_200"], metrics["auc_at_500"]] == pytest.approx(100 * areas)


def test_integrated_brier_score_is_that_of_scikit_survival_on_every_day(cohort):
    samples, curves, train = cohort
    known, tested = structured(samples, train)
    # All times are whole days, so that nothing changes within one.
    every_day = np.arange(1.0, curves.cuts[-1])
    steps = np.column_stack([np.ones(len(samples.days)), curves.survival])
    alive = steps[:, np.searchsorted(curves.cuts, every_day, side="right")]
    _, scores = brier_score(known, tested, alive, every_day)
    # Before day 1 all are alive and none is censored: the error is 0.
    expected = scores.sum() / curves.cuts[-1]
    metrics, _ = metrics_of(samples, curves, train)
    assert metrics["integrated_brier"] == pytest.approx(100 * expected)


def test_censoring_is_that_of_scikit_survival(cohort):
    samples, _, train = cohort
    known, _ = structured(samples, train)
    days = np.linspace(0, 900, 91)
    expected = CensoringDistributionEstimator().fit(known).predict_proba(days)
    np.testing.assert_allclose(train.uncensored(days), np.where(expected > 0, expected, np.nan))
    assert np.isnan(train.uncensored(np.array([901.0]))).all()


def test_hand_worked_integrated_brier_score():
    # No censoring in training: all weigh alike. Cuts at 10 and 20; alive with 0.6 from 10 on, so 1 before, 0.6 after.
    train = CensoringDistribution(np.array([5.0, 15, 25, 30]), np.ones(4, dtype=bool))
    curves = Curves(np.zeros(3), np.array([[0.6, 0.1]] * 3), np.array([10.0, 20.0]))
    # Dies on day 5: wrong by 1 until 10, by 0.6 until 20: (5 x 1 + 10 x 0.36) / 20.
    # Dies on day 15: right until 10, then 5 days wrong by 0.4 and 5 by 0.6: (5 x 0.16 + 5 x 0.36) / 20.
    # Alive on day 25: 10 days wrong by 0.4.
    errors = integrated_errors(np.array([5.0, 15, 25]), np.array([True, True, True]), curves, train)
    assert errors == pytest.approx([8.6 / 20, 2.6 / 20, 1.6 / 20])


def test_hand_worked_tenths():
    curves = Curves(np.zeros(4), np.array([[0.75, 0.4]] * 4), np.array([10.0, 20.0]))
    days, event = np.array([5.0, 15, 15, 25]), np.array([True, True, False, True])
    found = decile_shares(days, event, curves)
    # A death before day 10 lies between 1 and 0.75, a quarter wide: tenths 0.7 to 0.8 (half of it), 0.8, 0.9.
    assert found[0] == pytest.approx([0] * 7 + [0.2, 0.4, 0.4])
    # A death between the cuts lies between 0.75 and 0.4.
    assert found[1] == pytest.approx([0] * 4 + [1 / 3.5] * 3 + [0.5 / 3.5, 0, 0])
    # One censored between the cuts dies some time later: anywhere below 0.75. A death past the last cut: below 0.4.
    assert found[2] == pytest.approx([1 / 7.5] * 7 + [0.5 / 7.5, 0, 0])
    assert found[3] == pytest.approx([0.25] * 4 + [0] * 6)


def test_hand_worked_calibration_of_deaths():
    # Ten cases with a cut at every tenth: one death in each interval is calibrated, all in the first is not.
    cuts = np.arange(1.0, 10.0)
    survival = np.tile(1 - cuts / 10, (10, 1))
    train = CensoringDistribution(np.array([20.0, 30.0]), np.array([True, True]))
    died = np.ones(10, dtype=bool)
    cases, cohorts = np.arange(10).astype(str), np.full(10, "a")
    # All in one tenth: Pearson's statistic is 90, of one normal variable whose variance is 9.
    for days, deviation, p in ((np.arange(10) + 0.5, 0, 1.0), (np.full(10, 9.5), 90, chi2.sf(90 / 9, 1))):
        metrics, _ = metrics_of(
            SurvivalSamples(days, died, cases, cohorts), Curves(days, survival, cuts), train, times=[]
        )
        assert metrics["d_calibration"] == pytest.approx(deviation, abs=1e-9)
        assert metrics["d_calibration_p"] == pytest.approx(100 * p, abs=1e-9)


def test_of_deaths_on_known_days_it_is_pearsons_test():
    rng = np.random.default_rng(3)
    tenths = np.eye(10)[rng.choice(10, 2000, p=np.r_[0.11, 0.09, np.full(8, 0.1)])]
    p = chi_square_p(tenths, np.arange(2000).astype(str), np.ones((1, 2000)))[0]
    assert p == pytest.approx(chisquare(tenths.sum(axis=0)).pvalue, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [[150.0, 350, 700], np.arange(50.0, 1500, 50)])
def test_a_calibrated_model_is_rejected_as_often_as_it_says(cuts):
    """Of 600 cohorts of 100 cases, a third censored, 5 % are 30, give or take 2.5 times 5.3."""
    rng, cuts, rejected = np.random.default_rng(0), np.asarray(cuts), 0
    for _ in range(600):
        rate = np.exp(rng.normal(size=100)) / 500
        dies, lost = rng.exponential(1 / rate), rng.uniform(100, 3000, 100)
        curves = Curves(rate, np.exp(-rate[:, None] * cuts), cuts)
        tenths = decile_shares(np.minimum(dies, lost), dies < lost, curves)
        rejected += chi_square_p(tenths, np.arange(100).astype(str), np.ones((1, 100)))[0] < 0.05
    assert 17 <= rejected <= 43


def test_samples_of_a_case_do_not_make_the_test_sharper(cohort):
    samples, curves, train = cohort
    twice = np.tile(np.arange(120), 2)
    doubled = SurvivalSamples(*(getattr(samples, name)[twice] for name in ("days", "event", "cases", "cohorts")))
    same = Curves(curves.risk[twice], curves.survival[twice], curves.cuts)
    once, again = (metrics_of(*given)[0] for given in ((samples, curves, train), (doubled, same, train)))
    assert again["d_calibration_p"] == pytest.approx(once["d_calibration_p"])


def test_planted_survival_is_calibrated_and_its_opposite_is_not(cohort):
    # Of 1,600 cases chance alone puts about 3 % in other tenths: half of ten times 0.8 sqrt(0.09 / 1600).
    rng, n = np.random.default_rng(7), 1600
    rate = np.exp(rng.normal(size=n)) / 500
    dies, lost = rng.exponential(1 / rate), rng.uniform(100, 1500, n)
    cuts = np.array([150.0, 350.0, 601.0])
    samples = SurvivalSamples(np.minimum(dies, lost), dies < lost, np.arange(n).astype(str), np.full(n, "a"))
    train = CensoringDistribution(samples.days, samples.event)
    right = metrics_of(samples, Curves(rate, np.exp(-rate[:, None] * cuts), cuts), train)[0]
    wrong = metrics_of(samples, Curves(rate, np.exp(-3 * rate[:, None] * cuts), cuts), train)[0]
    assert right["d_calibration"] < 5 < 15 < wrong["d_calibration"]
    assert right["d_calibration_p"] > 5 and wrong["d_calibration_p"] < 0.1
    assert right["integrated_brier"] < wrong["integrated_brier"]
    assert right["uno_c"] == wrong["uno_c"]


def test_concordance_within_cohorts_compares_no_others():
    # Cohort a: 1 before 2, ranked rightly; cohort b: 3 before 4, ranked wrongly; across all ranked rightly.
    samples = SurvivalSamples(
        np.array([1.0, 2, 3, 4]), np.ones(4, dtype=bool), np.arange(4).astype(str), np.array(["a", "a", "b", "b"])
    )
    risk = np.array([9.0, 8, 1, 2])
    metrics, _ = metrics_of(
        samples,
        Curves(risk, np.empty((4, 0)), np.empty(0)),
        CensoringDistribution(np.array([9.0]), ~np.ones(1, bool)),
        [],
    )
    assert metrics["c_index_within"] == pytest.approx(50)


def test_weights_are_repeated_samples(cohort):
    samples, curves, train = cohort
    weights = np.random.default_rng(1).multinomial(120, np.full(120, 1 / 120), size=15)
    resampled, _ = further_survival(samples, curves, weights, censoring=train, times=TIMES)
    for draw, weight in enumerate(weights):
        rows = np.repeat(np.arange(120), weight)
        repeated = SurvivalSamples(
            samples.days[rows], samples.event[rows], np.arange(len(rows)).astype(str), samples.cohorts[rows]
        )
        once, _ = metrics_of(repeated, Curves(curves.risk[rows], curves.survival[rows], curves.cuts), train)
        assert {name: values[draw] for name, values in resampled.items()} == pytest.approx(once)


def test_where_follow_up_does_not_reach_a_reason_stands(cohort):
    samples, curves, train = cohort
    metrics, reasons = metrics_of(samples, curves, train, times=[0.5, 500, 5000])
    assert np.isnan([metrics["auc_at_0.5"], metrics["auc_at_5000"]]).all()
    assert reasons["auc_at_0.5"] == "no test sample dies until day 0.5"
    assert reasons["auc_at_5000"] == "no test sample is followed beyond day 5000"
    assert "auc_at_500" not in reasons
    short = CensoringDistribution(np.array([100.0, 200]), np.array([True, False]))
    metrics, reasons = metrics_of(samples, curves, short)
    assert reasons["uno_c"] == "censoring is not known until day 601: the follow-up ends before"
    assert np.isnan(metrics["integrated_brier"]) and np.isnan(metrics["d_calibration"])
    metrics, reasons = metrics_of(samples, Curves(curves.risk, np.empty((120, 0)), np.empty(0)), train)
    assert reasons["integrated_brier"] == "the run has no survival curve"
    late = SurvivalSamples(np.minimum(samples.days, 600), samples.event, samples.cases, samples.cohorts)
    assert metrics_of(late, curves, train)[1]["uno_c"] == "no test sample is followed until the last cut, day 601"
