"""Cox's loss and Breslow's curve against scikit-survival and cases worked by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.linear_model.coxph import CoxPHOptimizer
from sksurv.util import Surv

from ksfusion.terms.tasks import SurvivalModel, TaskOutcome
from ksfusion.training.cox import cox_loss, cumulative_hazard
from ksfusion.training.objective import Survival, objective_class
from ksfusion.training.strategy import Strategy
from ksfusion.training.survival_objective import CoxSurvival


def drawn(n=60, seed=0):
    """Covariates and follow-up in whole days, of which many are the same."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return x, rng.integers(1, 12, n).astype(float), rng.random(n) < 0.6


def loss_of(log_risk, days, event, weights=None):
    weights = np.ones(len(days)) if weights is None else weights
    log_risk, days, event, weights = (
        torch.tensor(np.asarray(part, dtype=float)) for part in (log_risk, days, event, weights)
    )
    return float(cox_loss(log_risk, days, event, weights=weights))


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_scikit_survivals_with_efrons_ties(seed):
    x, days, event = drawn(seed=seed)
    coefficients = np.array([0.7, -1.2, 0.3])
    assert len(np.unique(days[event])) < event.sum()
    expected = CoxPHOptimizer(x, event, days, np.zeros(3), "efron").nlog_likelihood(coefficients)
    assert loss_of(x @ coefficients, days, event) == pytest.approx(expected * len(days) / event.sum())


def test_its_gradient_vanishes_where_scikit_survival_finds_the_best():
    x, days, event = drawn(120)
    model = CoxPHSurvivalAnalysis(ties="efron", tol=1e-12).fit(x, Surv.from_arrays(event, days))
    coefficients = torch.tensor(model.coef_, requires_grad=True)
    outcome = [torch.tensor(part.astype(float)) for part in (days, event)]
    cox_loss(torch.tensor(x) @ coefficients, *outcome, weights=torch.ones(120, dtype=torch.float64)).backward()
    assert coefficients.grad.abs().max() < 1e-6


def test_hand_worked_tie_of_two_deaths():
    # Two deaths on day 1 of hazards 1 and 3, one alive of hazard 2: 6 at risk, then 6 less half of 4.
    log_risk = [0, math.log(3), math.log(2)]
    expected = math.log(6) + math.log(4) - math.log(3)
    assert loss_of(log_risk, [1, 1, 5], [1, 1, 0]) == pytest.approx(expected / 2)


def test_a_weight_of_two_in_the_risk_set_is_a_sample_twice():
    log_risk, days = [0.3, -0.2, 0.9], [1, 2, 3]
    assert loss_of(log_risk, days, [1, 0, 0], [1, 2, 1]) == pytest.approx(
        loss_of([*log_risk, -0.2], [*days, 2], [1, 0, 0, 0])
    )


def test_a_batch_without_a_death_teaches_nothing():
    log_risk = torch.zeros(3, requires_grad=True)
    loss = cox_loss(log_risk, torch.tensor([1.0, 2, 3]), torch.zeros(3), weights=torch.ones(3))
    loss.backward()
    assert loss == 0
    assert (log_risk.grad == 0).all()


def test_large_risks_stay_finite():
    log_risk = torch.tensor([500.0, 400.0, -500.0], requires_grad=True)
    loss = cox_loss(log_risk, torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 1, 0]), weights=torch.ones(3))
    loss.backward()
    assert loss.isfinite() and log_risk.grad.isfinite().all()


def test_breslows_hazard_is_that_of_scikit_survival():
    x, days, event = drawn(80)
    model = CoxPHSurvivalAnalysis(ties="efron").fit(x, Surv.from_arrays(event, days))
    at = [0.5, 3, 3.5, 7, 11]
    found = cumulative_hazard(x @ model.coef_, days, event, np.ones(80), at)
    assert found[0] == 0
    # scikit-survival's baseline is at the mean covariates of its own choice: 0.
    curve = model.cum_baseline_hazard_
    np.testing.assert_allclose(found[1:], [curve(np.clip(day, days.min(), None)) for day in at[1:]])


def test_curves_of_cox_are_breslows_at_the_cuts():
    x, days, event = drawn(80)
    task = TaskOutcome(name="s", kind="survival", survival=SurvivalModel(loss="cox", cuts=[3, 6, 8.5]))
    train = pd.DataFrame({"case_id": np.arange(80).astype(str), "days": days, "event": event.astype(int)})
    model = CoxPHSurvivalAnalysis(ties="efron").fit(x, Surv.from_arrays(event, days))
    logits = torch.tensor((x @ model.coef_)[:, None])
    objective = objective_class(task).fit(train, np.ones(80), task, Strategy())
    assert isinstance(objective, CoxSurvival) and objective.n_outputs == 1
    objective = objective.completed(logits, train, np.ones(80))
    table = objective.predictions(logits)
    assert list(table) == [*(f"hazard_{number}" for number in range(4)), "risk"] == objective.columns(task)
    np.testing.assert_allclose(table["risk"], x @ model.coef_)
    alive = np.cumprod(1 - table.filter(like="hazard").to_numpy(), axis=1)
    expected = np.stack([curve(np.array([3, 6, 8.5, 11])) for curve in model.predict_survival_function(x)])
    np.testing.assert_allclose(alive, expected, atol=1e-12)
    assert objective.describe()["bins"] == [3, 6, 8.5]


def test_cuts_are_quantiles_or_days_as_the_task_says():
    train = pd.DataFrame({"case_id": list("abcdef"), "days": [10.0, 20, 30, 40, 50, 999], "event": [1] * 5 + [0]})

    def cuts(**survival):
        task = TaskOutcome(name="s", kind="survival", survival=SurvivalModel(**survival))
        return Survival.fit(train, np.ones(6), task, Strategy()).cuts

    assert cuts() == (20, 30, 40)
    assert cuts(intervals=5) == pytest.approx((18, 26, 34, 42))
    assert cuts(intervals=2) == (30,)
    assert cuts(cuts=[100, 200]) == (100, 200)
    unsaid = TaskOutcome(name="s", kind="survival")
    assert Survival.fit(train, np.ones(6), unsaid, Strategy()).cuts == (20, 30, 40)
    with pytest.raises(ValueError, match="2 cuts make 3 intervals, not 4"):
        SurvivalModel(cuts=[100, 200], intervals=4)
    with pytest.raises(ValueError, match="ascending"):
        SurvivalModel(cuts=[200, 100])
