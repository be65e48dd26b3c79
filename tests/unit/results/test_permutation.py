"""The permutation test: every way of swapping whole cases, computed one by one by other libraries."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.metrics import accuracy_score, f1_score, recall_score
from sksurv.metrics import concordance_index_censored

from ksfusion.results.permutation import (
    draw_swaps,
    permutation_p_value,
    ranks,
    swapped_classification,
    swapped_survival,
)

CASES = np.array(["A", "A", "B", "C", "C", "C", "D", "E"])
# Every way to swap five cases, the first that of swapping none.
SWAPS = np.array(list(product([False, True], repeat=5)))


def of_samples(swaps):
    return swaps[:, np.unique(CASES, return_inverse=True)[1]]


def test_swapped_classes_are_scored_as_if_predicted():
    rng = np.random.default_rng(2)
    y = np.array([0, 0, 1, 2, 2, 2, 1, 0])
    ours, theirs = rng.dirichlet(np.ones(3), size=(2, len(y)))
    found = swapped_classification(y, ours, theirs, of_samples(SWAPS))
    assert "auc" not in found
    for number, swap in enumerate(of_samples(SWAPS)):
        first = np.where(swap[:, None], theirs, ours).argmax(axis=1)
        second = np.where(swap[:, None], ours, theirs).argmax(axis=1)
        for metric, score in {
            "accuracy": accuracy_score,
            "sensitivity": lambda y, called: recall_score(y, called, average="macro"),
            "f1": lambda y, called: f1_score(y, called, average="macro", zero_division=0),
            "specificity": lambda y, called: np.mean([recall_score(y != c, called != c) for c in range(3)]),
        }.items():
            assert found[metric][number] == pytest.approx(100 * (score(y, first) - score(y, second)))


def test_swapped_risks_are_scored_by_their_ranks():
    """The risks of the second run are a thousand times as large: without ranks the swaps would compare runs."""
    rng = np.random.default_rng(4)
    days, event = np.array([5, 5, 3, 8, 8, 8, 3, 9.0]), np.array([1, 1, 1, 0, 0, 0, 0, 1])
    ours, theirs = rng.normal(size=8).round(1), 1000 * rng.normal(size=8).round(1)
    found = swapped_survival(days, event, ours, theirs, of_samples(SWAPS))["c_index"]
    first, second = (rankdata(risks, "dense") for risks in (ours, theirs))

    def concordance(risks):
        return 100 * concordance_index_censored(event > 0, days, risks)[0]

    expected = [
        concordance(np.where(swap, second, first)) - concordance(np.where(swap, first, second))
        for swap in of_samples(SWAPS)
    ]
    assert found == pytest.approx(expected)
    assert found[0] == pytest.approx(concordance(ours) - concordance(theirs))
    as_they_are = [
        concordance(np.where(swap, theirs, ours)) - concordance(np.where(swap, ours, theirs))
        for swap in of_samples(SWAPS)
    ]
    assert np.abs(found - as_they_are).max() > 1


def test_risks_that_are_nearly_equal_share_a_rank():
    assert list(ranks(np.array([3.0, 1.0, 1.0 + 1e-9, -2.0, 3.0]))) == [2, 1, 1, 0, 2]


def test_p_is_the_share_of_swaps_that_are_as_far_apart():
    """Three cases, right by one method alone: of the eight swaps two put all on one side."""
    y, ours, theirs = [0, 0, 0], np.array([[1, 0]] * 3), np.array([[0, 1]] * 3)
    swaps = np.array(list(product([False, True], repeat=3)))
    differences = swapped_classification(y, ours, theirs, swaps)["accuracy"]
    assert sorted(differences) == pytest.approx([-100] + 3 * [-100 / 3] + 3 * [100 / 3] + [100])
    assert permutation_p_value(differences) == 2 / 8
    assert permutation_p_value(np.zeros(8)) == 1


def test_swaps_are_fair_many_and_the_first_is_none():
    swaps = draw_swaps(30)
    assert swaps.shape == (10_001, 30) and not swaps[0].any()
    assert np.abs(swaps[1:].mean(axis=0) - 0.5).max() < 5 * 0.5 / 100  # five standard errors
    assert len(pd.DataFrame(swaps).drop_duplicates()) > 9_990
    assert (swaps == draw_swaps.__wrapped__(30)).all()
