"""The ridge regressions, against scikit-learn, scikit-survival and hands."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from ksfusion.training.losses import survival_curve
from ksfusion.training.ridge import ClassRidge, CoxRidge, Narrow, NumberRidge

CUTS = (200.0, 500.0, 900.0)


@pytest.fixture(scope="module")
def drawn():
    random = np.random.default_rng(3)
    x = random.normal(size=(80, 6))
    days = np.round(600 * random.exponential(size=80) * np.exp(-x[:, 0] + 0.5 * x[:, 1])) + 1
    return x, days, (random.random(80) < 0.7).astype(int), np.digitize(x[:, 2] + random.normal(size=80), [-0.7, 0.7])


def test_breslows_curve_by_hand():
    """Four cases, the covariate without a say: deaths on days 2 and 5 with 4 and 2 at risk, one censored between."""
    x, days, event = np.array([[1.0], [1], [1], [1]]), np.array([2.0, 3, 5, 8]), np.array([1, 0, 1, 0])
    ridge = CoxRidge.fit(x, days, event, (2.0, 4.0, 6.0), np.ones(1))
    assert ridge.coefficients == pytest.approx([0])
    # 1/4 from day 2 on, 1/4 + 1/2 from day 5 on; a cut on a day of death has that death behind it.
    np.testing.assert_allclose(ridge.cumulative_hazard([1.9, 2, 4.9, 5, 100]), [0, 0.25, 0.25, 0.75, 0.75])
    hazards = 1 / (1 + np.exp(-ridge.logits(np.array([[0.0], [np.log(2)]]))))
    steps = np.array([0.25, 0, 0.5, 0])
    np.testing.assert_allclose(hazards[0], 1 - np.exp(-steps))
    # The coefficient is 0, whatever the covariate.
    np.testing.assert_allclose(hazards[1], hazards[0])
    twice = CoxRidge(np.array([1.0]), ridge.times, ridge.hazard, ridge.cuts)
    np.testing.assert_allclose(1 / (1 + np.exp(-twice.logits(np.array([[np.log(2)]])))), [1 - np.exp(-2 * steps)])


def test_cox_is_the_penalised_likelihood_at_its_maximum(drawn):
    """Breslow's partial likelihood, written out and maximised by another routine; a penalty for each column."""
    x, days, event, _ = drawn
    penalties = np.array([1.0, 1, 1, 40, 40, 40])

    def loss(beta):
        risk = x @ beta
        terms = [risk[i] - np.log(np.exp(risk[days >= days[i]]).sum()) for i in np.flatnonzero(event)]
        return -sum(terms) + (penalties * beta**2).sum() / 2

    expected = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-6}).x
    found = CoxRidge.fit(x, days, event, CUTS, penalties)
    np.testing.assert_allclose(found.coefficients, expected, atol=1e-5)


@pytest.mark.parametrize("penalty", [1.0, 30.0])
def test_survival_at_the_cuts_is_that_of_scikit_survival(drawn, penalty):
    import torch

    x, days, event, _ = drawn
    ridge = CoxRidge.fit(x[:60], days[:60], event[:60], CUTS, np.full(6, penalty))
    other = CoxPHSurvivalAnalysis(alpha=penalty).fit(x[:60], Surv.from_arrays(event[:60].astype(bool), days[:60]))
    np.testing.assert_allclose(ridge.log_hazard_ratio(x[60:]), other.predict(x[60:]), rtol=1e-6)
    curves = survival_curve(torch.from_numpy(ridge.logits(x[60:]))).numpy()
    times = [*CUTS, days[:60].max()]
    expected = np.array([function(times) for function in other.predict_survival_function(x[60:])])
    np.testing.assert_allclose(curves, expected, rtol=1e-6, atol=1e-12)


def test_survival_of_extreme_cases_has_no_overflow():
    ridge = CoxRidge(np.array([1.0]), np.array([1.0, 2.0]), np.array([0.1, 0.5]), (1.5,))
    logits = ridge.logits(np.array([[-800.0], [-40], [0], [6], [800]]))
    assert not np.isnan(logits).any() and (np.diff(logits[:, 0]) > 0).all()
    # log(exp(h) - 1) is h itself where h is large, and log(h) where it is small.
    assert logits[3, 0] == pytest.approx(0.1 * np.exp(6)) and logits[1, 0] == pytest.approx(np.log(0.1) - 40)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("penalty", [1.0, 25.0])
def test_classes_are_those_of_scikit_learn(drawn, n_classes, penalty):
    x, _, _, y = drawn
    y = np.minimum(y, n_classes - 1)
    counts = np.bincount(y[:60])
    weights = 60 / (n_classes * counts)
    ridge = ClassRidge.fit(x[:60], y[:60], weights, np.full(6, penalty))
    other = LogisticRegression(C=1 / penalty, class_weight="balanced", tol=1e-10, max_iter=5000).fit(x[:60], y[:60])
    logits = ridge.logits(x[60:])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, other.predict_proba(x[60:]), atol=1e-6)


def test_numbers_are_those_of_scikit_learn(drawn):
    x, days, _, _ = drawn
    other = Ridge(alpha=7.0).fit(x, days)
    np.testing.assert_allclose(NumberRidge.fit(x, days, np.full(6, 7.0)).logits(x)[:, 0], other.predict(x))


def test_a_class_without_a_training_case_has_probability_zero(drawn):
    x, _, _, y = drawn
    ridge = ClassRidge.fit(x, np.where(y > 0, 3, 1), [0.0, 1, 0, 1, 0], np.ones(6))
    logits = ridge.logits(x)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert (probabilities[:, [0, 2, 4]] == 0).all() and (probabilities[:, [1, 3]] > 0).all()


def test_many_columns_of_few_cases_give_the_same_coefficients(drawn):
    """More columns than cases: against scikit-survival and scikit-learn on the columns themselves."""
    _, days, event, y = drawn
    wide = np.random.default_rng(1).normal(size=(80, 120))
    penalties = np.repeat([2.0, 10.0], [20, 100])
    narrow = Narrow.of(wide, penalties)
    assert narrow.x.shape == (80, 20 + 80)
    other = CoxPHSurvivalAnalysis(alpha=penalties).fit(wide, Surv.from_arrays(event.astype(bool), days))
    found = CoxRidge.fit(wide, days, event, CUTS, penalties)
    np.testing.assert_allclose(found.coefficients, other.coef_, atol=1e-6)
    classes = ClassRidge.fit(wide, y, [1.0, 1, 1], np.full(120, 10.0))
    twin = LogisticRegression(C=0.1, tol=1e-10, max_iter=5000).fit(wide, y)
    np.testing.assert_allclose(classes.coefficients, twin.coef_, atol=1e-5)
