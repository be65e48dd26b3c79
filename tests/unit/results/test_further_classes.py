"""Further metrics of classes against scikit-learn and tables worked by hand; with weights as of repeated samples."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ksfusion.results import classification_metrics
from ksfusion.results.metrics.further_classes import ClassScoring, area_within, further_classification
from ksfusion.results.statistics import resampled_classification

ONE = "one"


def drawn(n_classes, n=80, seed=0):
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(n_classes), rng.integers(0, n_classes, n)]
    probabilities = rng.dirichlet(np.ones(n_classes), len(y)).round(2) + 0.01  # with ties
    return y, probabilities / probabilities.sum(axis=1, keepdims=True), rng.choice(["a", "b"], len(y))


def metrics_of(y, probabilities, cohorts=None, **scoring):
    """The metrics themselves: each sample once."""
    classes = scoring.pop("classes", [f"c{number}" for number in range(probabilities.shape[1])])
    cohorts = np.full(len(y), ONE) if cohorts is None else cohorts
    found = further_classification(
        np.asarray(y), np.asarray(probabilities), cohorts, np.ones((1, len(y))), ClassScoring(classes, **scoring)
    )
    return {metric: values[0] for metric, values in found.items()}


def test_several_classes_agree_with_scikit_learn():
    y, probabilities, _ = drawn(4)
    predicted = probabilities.argmax(axis=1)
    metrics = metrics_of(y, probabilities, ordered=True)
    expected = {
        "auprc": np.mean([average_precision_score(y == c, probabilities[:, c]) for c in range(4)]),
        "precision": precision_score(y, predicted, average="macro", zero_division=0),
        "balanced_accuracy": balanced_accuracy_score(y, predicted),
        "mcc": matthews_corrcoef(y, predicted),
        "quadratic_kappa": cohen_kappa_score(y, predicted, weights="quadratic"),
        "brier": brier_score_loss(y, probabilities),
    }
    for number in range(4):
        is_class, is_called = y == number, predicted == number
        expected |= {
            f"auc:c{number}": roc_auc_score(is_class, probabilities[:, number]),
            f"auprc:c{number}": average_precision_score(is_class, probabilities[:, number]),
            f"sensitivity:c{number}": recall_score(is_class, is_called),
            f"specificity:c{number}": recall_score(~is_class, ~is_called),
            f"precision:c{number}": precision_score(is_class, is_called),
            f"f1:c{number}": f1_score(is_class, is_called),
        }
    assert {name: metrics[name] for name in expected} == pytest.approx({k: 100 * v for k, v in expected.items()})
    assert set(metrics) - set(expected) == {"calibration_error", "auc_within"}


@pytest.mark.parametrize("positive", [0, 1])
def test_two_classes_are_scored_about_the_one_that_counts(positive):
    y, probabilities, _ = drawn(2)
    is_class, is_called, score = y == positive, probabilities.argmax(axis=1) == positive, probabilities[:, positive]
    further = metrics_of(y, probabilities, positive=positive)
    assert further["auprc"] == pytest.approx(100 * average_precision_score(is_class, score))
    assert further["precision"] == pytest.approx(100 * precision_score(is_class, is_called))
    assert further["brier"] == pytest.approx(100 * brier_score_loss(is_class, score))
    assert not [name for name in further if ":" in name]
    paper = classification_metrics(y, probabilities, positive=positive)
    assert paper["sensitivity"] == pytest.approx(100 * recall_score(is_class, is_called))
    assert paper["specificity"] == pytest.approx(100 * recall_score(~is_class, ~is_called))
    assert paper["f1"] == pytest.approx(100 * f1_score(is_class, is_called))
    assert paper["auc"] == pytest.approx(100 * roc_auc_score(is_class, score))


def test_hand_worked_binary_confusion_matrix():
    # true \ predicted   no  yes
    #              no     3    1
    #             yes     2    4      sensitivity 4/6, specificity 3/4: no longer the same
    y = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    p_yes = np.array([0.1, 0.2, 0.3, 0.7, 0.4, 0.2, 0.6, 0.8, 0.9, 0.6])
    probabilities = np.column_stack([1 - p_yes, p_yes])
    paper = classification_metrics(y, probabilities, positive=1)
    assert (paper["sensitivity"], paper["specificity"]) == pytest.approx((100 * 4 / 6, 75))
    assert paper["f1"] == pytest.approx(100 * 8 / 11)
    assert metrics_of(y, probabilities, positive=1)["precision"] == pytest.approx(80)


def test_hand_worked_calibration_error():
    # Predicted class: two samples of 0.95, both right; two of 0.55, one right: gaps of 0.05 and 0.05, half each.
    probabilities = np.array([[0.95, 0.05], [0.05, 0.95], [0.55, 0.45], [0.55, 0.45]])
    y = [0, 1, 0, 1]
    assert metrics_of(y, probabilities)["calibration_error"] == pytest.approx(5)
    # Class 1 by itself: bins of 0.05 (none of one), 0.45 (one of two) and 0.95 (one of one).
    about_one = metrics_of(y, probabilities, positive=1)["calibration_error"]
    assert about_one == pytest.approx(100 * (0.05 / 4 + 0.05 * 2 / 4 + 0.05 / 4))


def test_hand_worked_area_within_cohorts():
    # The cohort decides the class nearly alone: the whole area is high, within cohorts one of two pairs is right.
    positive = np.array([True, True, True, False, False, False])
    score = np.array([0.9, 0.8, 0.3, 0.85, 0.1, 0.35])
    cohorts = np.array(["a", "a", "b", "a", "b", "b"])
    # Cohort a: 0.9 > 0.85, 0.8 < 0.85. Cohort b: 0.3 > 0.1, 0.3 < 0.35.
    assert area_within(positive, score, cohorts, np.ones((1, 6)))[0] == pytest.approx(0.5)
    assert roc_auc_score(positive, score) == pytest.approx((3 + 2 + 1) / 9)


def test_cohorts_of_one_class_each_leave_no_pair_within():
    y, probabilities, _ = drawn(2)
    assert np.isnan(metrics_of(y, probabilities, y.astype(str), positive=1)["auc_within"])


@pytest.mark.parametrize(("n_classes", "positive"), [(3, None), (2, 1), (2, None)])
def test_weights_are_repeated_samples(n_classes, positive):
    y, probabilities, cohorts = drawn(n_classes, n=40, seed=3)
    weights = np.random.default_rng(1).multinomial(len(y), np.full(len(y), 1 / len(y)), size=20)
    scoring = ClassScoring([f"c{number}" for number in range(n_classes)], ordered=True, positive=positive)
    resampled = further_classification(y, probabilities, cohorts, weights, scoring)
    assert tuple(resampled) == scoring.metrics
    paper = resampled_classification(y, probabilities, weights, positive=positive)
    for draw, weight in enumerate(weights):
        rows = np.repeat(np.arange(len(y)), weight)
        once = metrics_of(y[rows], probabilities[rows], cohorts[rows], ordered=True, positive=positive)
        assert {name: values[draw] for name, values in resampled.items()} == pytest.approx(once)
        expected = classification_metrics(y[rows], probabilities[rows], positive=positive)
        assert {name: values[draw] for name, values in paper.items()} == pytest.approx(expected)


def test_one_class_alone_leaves_brier_and_calibration():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.7, 0.2, 0.1]])
    metrics = metrics_of([0, 0], probabilities)
    assert metrics.pop("brier") == pytest.approx(100 * (0.01 + 0.01 + 0.09 + 0.04 + 0.01) / 2)
    assert metrics.pop("calibration_error") == pytest.approx(20)
    assert np.isnan(list(metrics.values())).all()


def test_a_draw_without_a_class_is_undefined():
    y, probabilities = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    weights = np.array([[1, 1, 1], [2, 1, 0]])
    found = further_classification(y, probabilities, np.full(3, ONE), weights, ClassScoring(["no", "yes"], positive=1))
    for metric in ("auprc", "precision", "balanced_accuracy", "mcc", "auc_within"):
        assert found[metric][0] == pytest.approx(100)
        assert np.isnan(found[metric][1])
