"""Conformal sets: quantiles by hand, and their coverage by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from ksfusion.bundles.conformal import conformal_scores, conformal_set, fewest_cases, quantile_of
from ksfusion.terms.tasks import TaskOutcome

TASK = TaskOutcome(name="grade", kind="classification", classes=["a", "b", "c"])
COLUMNS = ["prob_a", "prob_b", "prob_c"]


@pytest.mark.parametrize(("alpha", "fewest"), [(0.1, 9), (0.2, 4), (0.05, 19), (0.3, 3), (0.5, 1), (0.01, 99)])
def test_fewer_cases_than_one_over_alpha_less_one_are_refused(alpha, fewest):
    assert fewest_cases(alpha) == fewest
    assert quantile_of(np.linspace(0, 1, fewest), alpha) <= 1
    with pytest.raises(ValueError, match=f"{fewest - 1} held-out cases; level .* needs {fewest}"):
        quantile_of(np.linspace(0, 1, fewest - 1), alpha)
    refused = conformal_set([np.ones(3) / 3], [[0.5] * (fewest - 1)], TASK.classes, level=1 - alpha)
    assert refused.classes == () and f"needs {fewest}" in refused.reason


@pytest.mark.parametrize(
    ("n", "alpha", "rank"), [(9, 0.1, 9), (19, 0.1, 18), (20, 0.1, 19), (99, 0.1, 90), (4, 0.2, 4)]
)
def test_the_quantile_is_the_score_of_that_rank(n, alpha, rank):
    """The rank is (1 - alpha) (n + 1), rounded up."""
    scores = np.arange(1, n + 1) / 100
    assert quantile_of(np.random.default_rng(0).permutation(scores), alpha) == rank / 100


def test_scores_are_one_minus_the_probability_of_the_class_one_a_case():
    cases = pd.DataFrame([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], columns=COLUMNS).assign(y=[0, 2])
    assert conformal_scores(cases, TASK) == pytest.approx([0.3, 0.7])


def test_a_set_holds_the_classes_that_are_likely_enough():
    scores = [[0.1] * 8 + [0.75]]  # of nine at level 0.9 the largest counts
    found = conformal_set([np.array([0.6, 0.3, 0.1])], scores, TASK.classes, level=0.9)
    assert found == (("a", "b"), 0.9, "")
    assert conformal_set([np.ones(3) * 0.2], scores, TASK.classes, level=0.9).classes == ()


def test_several_folds_vote():
    scores = [[0.5] * 9] * 3
    by_fold = [np.array([0.6, 0.5, 0.0]), np.array([0.6, 0.4, 0.0]), np.array([0.1, 0.5, 0.9])]
    found = conformal_set(by_fold, scores, TASK.classes, level=0.9)
    assert found.classes == ("a", "b") and found.level == pytest.approx(0.8)


def drawn(random, n):
    """Draw exchangeable cases of a model that is wrong: too sharp, and blind to one class."""
    logits = random.normal(0, 1.5, (n, 3))
    true = softmax(logits, axis=1)
    y = (true.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    stated = softmax(3 * logits - [0, 0, 2], axis=1)
    return pd.DataFrame(stated, columns=COLUMNS).assign(y=y)


@pytest.mark.parametrize(("n", "level"), [(9, 0.9), (25, 0.9), (60, 0.8)])
def test_coverage_by_simulation(n, level):
    """Of exchangeable cases at least the level is covered on average, and at most 1 / (n + 1) more.

    1,500 calibrations, each with 50 new cases. The coverage of one calibration is a Beta variable with the parameters
    k and n + 1 - k, k the rank of the quantile; the error of the mean over calibrations follows from it, and from the
    75,000 new cases. Four of them are allowed for: a false alarm in 30,000, and the draws are seeded.
    """
    random, covered = np.random.default_rng(7), []
    for _ in range(1500):
        limit = quantile_of(conformal_scores(drawn(random, n), TASK), 1 - level)
        new = drawn(random, 50)
        own = new[COLUMNS].to_numpy()[np.arange(50), new["y"]]
        covered.append((1 - own <= limit).mean())
    rank = int(np.ceil(level * (n + 1) - 1e-9))
    expected = rank / (n + 1)
    of_beta = expected * (1 - expected) / (n + 2)
    error = np.sqrt((of_beta + expected * (1 - expected) / 50) / 1500)
    assert level <= expected <= level + 1 / (n + 1) + 1e-9
    assert np.mean(covered) == pytest.approx(expected, abs=4 * error)
    assert np.mean(covered) >= level - 4 * error
    assert error < 0.003
