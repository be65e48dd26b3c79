"""Metrics against tables worked by hand, scikit-learn and scikit-survival."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score
from sksurv.metrics import concordance_index_censored, cumulative_dynamic_auc, integrated_brier_score
from sksurv.util import Surv

from ksfusion.results import classification_metrics, survival_metrics
from ksfusion.results.metrics import METRICS, absent_classes


def sure_of(predicted, n_classes=3):
    """Probabilities of 0.8 for the predicted class, the rest shared."""
    probabilities = np.full((len(predicted), n_classes), 0.2 / (n_classes - 1))
    probabilities[np.arange(len(predicted)), predicted] = 0.8
    return probabilities


def test_hand_worked_confusion_matrix():
    # true \ predicted   0  1  2
    #                0   2  1  0
    #                1   0  1  1
    #                2   0  0  1
    metrics = classification_metrics([0, 0, 0, 1, 1, 2], sure_of([0, 0, 1, 1, 2, 2]))
    assert list(metrics) == list(METRICS["classification"])
    assert metrics["accuracy"] == pytest.approx(100 * 4 / 6)
    assert metrics["sensitivity"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3)
    assert metrics["specificity"] == pytest.approx(100 * (3 / 3 + 3 / 4 + 4 / 5) / 3)
    assert metrics["f1"] == pytest.approx(100 * (4 / 5 + 2 / 4 + 2 / 3) / 3)
    # Pairs of a class's samples with the others: won count 1, tied one half.
    assert metrics["auc"] == pytest.approx(100 * (7.5 / 9 + 5 / 8 + 4.5 / 5) / 3)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_agrees_with_scikit_learn(n_classes):
    rng = np.random.default_rng(n_classes)
    y = np.r_[np.arange(n_classes), rng.integers(0, n_classes, 60)]
    probabilities = rng.dirichlet(np.ones(n_classes), len(y)).round(2)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    metrics = classification_metrics(y, probabilities)
    score = probabilities[:, 1] if n_classes == 2 else probabilities
    assert metrics["auc"] == pytest.approx(100 * roc_auc_score(y, score, multi_class="ovr", average="macro"))
    assert metrics["accuracy"] == pytest.approx(100 * accuracy_score(y, predicted))
    assert metrics["sensitivity"] == pytest.approx(100 * balanced_accuracy_score(y, predicted))
    assert metrics["f1"] == pytest.approx(100 * f1_score(y, predicted, average="macro"))
    inverse = [balanced_accuracy_score(y != c, predicted != c) for c in range(n_classes)]
    # The balanced accuracy of "is it c" is the mean of sensitivity and specificity of c.
    assert metrics["sensitivity"] + metrics["specificity"] == pytest.approx(200 * np.mean(inverse))


def test_absent_class_is_left_out_of_the_averages():
    y, predicted = [0, 0, 2, 2], [0, 1, 2, 2]
    metrics = classification_metrics(y, sure_of(predicted))
    assert absent_classes(y, 3) == [1]
    assert metrics["sensitivity"] == pytest.approx(100 * (1 / 2 + 1) / 2)
    assert metrics["specificity"] == pytest.approx(100)
    assert metrics["f1"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    # Class 0: its first sample wins both pairs, its second, of probability 0.1, ties both; class 2 wins all.
    assert metrics["auc"] == pytest.approx(100 * (3 / 4 + 1) / 2)


def test_one_class_determines_only_the_accuracy():
    metrics = classification_metrics([1, 1, 1, 1], sure_of([1, 1, 1, 0]))
    assert metrics.pop("accuracy") == 75
    assert np.isnan(list(metrics.values())).all()


def test_no_sample_determines_nothing():
    assert np.isnan(list(classification_metrics([], np.empty((0, 3))).values())).all()


@pytest.mark.parametrize(
    ("y", "probabilities"),
    [
        ([0, 1], [[0.5, 0.5], [np.nan, 0.5]]),
        ([0, np.nan], [[0.5, 0.5], [0.5, 0.5]]),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]]),
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]]),
        ([0, 0.5], [[0.5, 0.5], [0.5, 0.5]]),
        ([0, 1, 1], [[0.5, 0.5], [0.5, 0.5]]),
    ],
)
def test_unsound_classification_is_refused(y, probabilities):
    with pytest.raises(ValueError, match="must be"):
        classification_metrics(y, probabilities)


def test_hand_worked_c_index_with_ties_and_censoring():
    days, event, risk = [1, 2, 2, 3, 4], [1, 1, 0, 0, 1], [5, 3, 3, 1, 2]
    # Day 1 dies before the four others, all of lower risk: 4 of 4. The death of day 2 against the one censored that
    # day: tied risk, 1/2; against days 3 and 4: 2 of 2. The last death has no one after it.
    assert survival_metrics(days, event, risk) == {"c_index": pytest.approx(100 * 6.5 / 7)}


def test_c_index_agrees_with_scikit_survival():
    rng = np.random.default_rng(5)
    days, event, risk = rng.integers(1, 40, 80), rng.integers(0, 2, 80), rng.normal(size=80).round(1)
    expected = concordance_index_censored(event.astype(bool), days, risk)[0]
    assert survival_metrics(days, event, risk)["c_index"] == pytest.approx(100 * expected)


@pytest.mark.parametrize(
    ("days", "event"),
    [([1, 2, 3], [0, 0, 0]), ([5, 5, 5], [1, 1, 1]), ([1, 2, 3], [0, 0, 1]), ([4], [1]), ([], [])],
)
def test_without_a_comparable_pair_the_c_index_is_nan(days, event):
    assert np.isnan(survival_metrics(days, event, np.arange(len(days)))["c_index"])


@pytest.mark.parametrize(
    ("days", "event", "risk"),
    [
        ([1, np.nan], [1, 0], [1, 2]),
        ([1, 2], [1, 0], [1, np.inf]),
        ([1, 2], [1, 2], [1, 2]),
        ([-1, 2], [1, 0], [1, 2]),
        ([1, 2], [1, 0], [1]),
    ],
)
def test_unsound_survival_is_refused(days, event, risk):
    with pytest.raises(ValueError, match="must"):
        survival_metrics(days, event, risk)


def test_survival_curves_agree_with_scikit_survival():
    rng = np.random.default_rng(2)

    def follow(n):
        """Deaths and losses until the study's end on day 900."""
        days = rng.exponential(500, n).round() + 1
        return np.minimum(days, 900), (rng.random(n) < 0.7) & (days < 900)

    (days, event), (train_days, train_event) = follow(120), follow(300)
    rate = np.exp(rng.normal(size=120)) / 500
    times = np.array([100.0, 200.0, 400.0])
    survival = np.exp(-rate[:, None] * times)
    metrics = survival_metrics(days, event, rate, survival, times, (train_days, train_event))
    train, test = Surv.from_arrays(train_event, train_days), Surv.from_arrays(event, days)
    assert metrics["integrated_brier"] == pytest.approx(100 * integrated_brier_score(train, test, survival, times))
    assert metrics["time_dependent_auc"] == pytest.approx(100 * cumulative_dynamic_auc(train, test, rate, times)[1])


def test_times_beyond_the_follow_up_are_nan():
    days, event = np.array([10.0, 20, 30, 40]), np.array([1, 0, 1, 1])
    times = np.array([15.0, 90.0])
    metrics = survival_metrics(days, event, -days, np.full((4, 2), 0.5), times, (days, event))
    assert metrics["c_index"] == 100
    assert np.isnan(metrics["integrated_brier"])
    assert np.isnan(metrics["time_dependent_auc"])
