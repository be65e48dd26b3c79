"""Losses, against hand-worked values and finite differences."""

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.autograd import gradcheck
from torch.nn import functional

from ksfusion.training.losses import (
    balanced_class_weights,
    classification_loss,
    interval_cuts,
    interval_of,
    risk,
    survival_curve,
    survival_loss,
)


def test_classification_loss_is_weighted_cross_entropy():
    torch.manual_seed(0)
    logits, y = torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 1, 0, 0, 0])
    class_weights = torch.tensor([0.5, 2.0, 3.0])
    ours = classification_loss(logits, y, class_weights=class_weights, weights=torch.ones(8))
    torch.testing.assert_close(ours, functional.cross_entropy(logits, y, weight=class_weights))
    # A sample of weight 2 counts as two samples.
    twice = classification_loss(logits, y, class_weights=class_weights, weights=torch.tensor([2.0] + [1] * 7))
    repeated = functional.cross_entropy(torch.cat([logits[:1], logits]), torch.cat([y[:1], y]), weight=class_weights)
    torch.testing.assert_close(twice, repeated)


def test_class_weights_are_balanced_over_the_classes_that_occur():
    y = np.array([0, 0, 0, 1, 3, 3])
    weights = balanced_class_weights(y, np.ones(6), 4)
    np.testing.assert_allclose(weights[[0, 1, 3]], compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=y))
    assert weights[2] == 0
    # Two samples of one case, by case: they count as one.
    np.testing.assert_allclose(balanced_class_weights([0, 0, 1], [0.5, 0.5, 1], 2), [1, 1])


HAZARDS = [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("interval", "event", "likelihood"),
    [(0, 1, 0.1), (2, 1, 0.9 * 0.8 * 0.3), (0, 0, 0.9), (2, 0, 0.9 * 0.8 * 0.7), (3, 0, 0.9 * 0.8 * 0.7 * 0.6)],
)
def test_survival_loss_by_hand(interval, event, likelihood):
    logits = torch.logit(torch.tensor([HAZARDS], dtype=torch.float64))
    loss = survival_loss(logits, torch.tensor([interval]), torch.tensor([event]), weights=torch.ones(1))
    assert loss.item() == pytest.approx(-math.log(likelihood))


def test_survival_loss_is_a_weighted_mean():
    logits = torch.logit(torch.tensor([HAZARDS, HAZARDS], dtype=torch.float64))
    loss = survival_loss(logits, torch.tensor([0, 0]), torch.tensor([1, 0]), weights=torch.tensor([3.0, 1.0]))
    assert loss.item() == pytest.approx((-3 * math.log(0.1) - math.log(0.9)) / 4)


@pytest.mark.parametrize("certainty", [-1e4, 1e4])
@pytest.mark.parametrize("event", [0, 1])
def test_survival_loss_at_hazards_of_zero_and_one(certainty, event):
    logits = torch.full((1, 4), certainty, requires_grad=True)
    loss = survival_loss(logits, torch.tensor([2]), torch.tensor([event]), weights=torch.ones(1))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_survival_loss_gradient_by_finite_differences():
    torch.manual_seed(0)
    logits = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    interval, event = torch.tensor([0, 1, 3, 3]), torch.tensor([1, 0, 1, 0])
    assert gradcheck(lambda x: survival_loss(x, interval, event, weights=torch.ones(4)), (logits,))


def test_curve_and_risk_by_hand():
    logits = torch.logit(torch.tensor([HAZARDS], dtype=torch.float64))
    curve = [0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7, 0.9 * 0.8 * 0.7 * 0.6]
    np.testing.assert_allclose(survival_curve(logits)[0], curve)
    assert risk(logits).item() == pytest.approx(-sum(curve))


def test_intervals_are_quarters_of_the_event_times():
    cuts = interval_cuts([400, 100, 300, 200, 500])
    assert cuts == [200, 300, 400]
    assert interval_of([1, 199, 200, 399.5, 400, 9000], cuts).tolist() == [0, 0, 1, 2, 3, 3]
