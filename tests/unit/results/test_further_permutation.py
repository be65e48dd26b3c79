"""The permutation test of the further metrics: every way of swapping whole cases, scored one by one by libraries."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    matthews_corrcoef,
    precision_score,
)
from sksurv.metrics import brier_score, concordance_index_censored, concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.util import Surv

from ksfusion.results.further_permutation import (
    swapped_average_precision,
    swapped_further_classes,
    swapped_further_survival,
)
from ksfusion.results.metrics.further_classes import ClassScoring
from ksfusion.results.metrics.further_survival import CensoringDistribution, Curves, SurvivalSamples

CASES = np.array(["A", "A", "B", "C", "C", "C", "D", "E", "F", "F"])
# Every way to swap six cases, the first that of swapping none.
SWAPS = np.array(list(product([False, True], repeat=6)))[:, np.unique(CASES, return_inverse=True)[1]]
Y = np.array([0, 0, 1, 2, 2, 2, 1, 0, 1, 2])
COHORTS = np.array(list("aabbabbaba"))


def mixed(swap, ours, theirs):
    """What each of two methods has after a swap."""
    swap = swap.reshape(-1, *[1] * (ours.ndim - 1))
    return np.where(swap, theirs, ours), np.where(swap, ours, theirs)


def expected_of(score, ours, theirs):
    return [100 * (score(here) - score(there)) for here, there in (mixed(swap, ours, theirs) for swap in SWAPS)]


@pytest.fixture
def predicted():
    drawn = np.random.default_rng(2).dirichlet(np.ones(3), size=(2, len(Y))).round(1) + 0.01  # with ties
    return drawn / drawn.sum(axis=2, keepdims=True)


def calibration_error(probabilities, positive=None):
    """Bin by bin, as it is defined."""
    if positive is None:
        said, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == Y
    else:
        said, right = probabilities[:, positive], positive == Y
    bins = [(said >= low) & (said < low + 0.1) for low in np.arange(10) / 10]
    return sum(abs(said[own].sum() - right[own].sum()) for own in bins) / len(Y)


def within(ranked):
    """Of each class the share of pairs of one cohort in order, pair by pair."""
    areas = []
    for number in range(3):
        won = [
            (1 + np.sign(ranked[i, number] - ranked[j, number])) / 2
            for i, j in product(range(len(Y)), repeat=2)
            if Y[i] == number != Y[j] and COHORTS[i] == COHORTS[j]
        ]
        areas.append(np.mean(won))
    return np.mean(areas)


def test_swapped_classes_are_scored_as_if_predicted(predicted):
    found = swapped_further_classes(Y, *predicted, COHORTS, SWAPS, ClassScoring(["a", "b", "c"], ordered=True))
    truth = np.eye(3)[Y]
    by_call = {
        "precision": lambda called: precision_score(Y, called, average="macro", zero_division=0),
        "balanced_accuracy": lambda called: balanced_accuracy_score(Y, called),
        "mcc": lambda called: matthews_corrcoef(Y, called),
        "quadratic_kappa": lambda called: cohen_kappa_score(Y, called, weights="quadratic", labels=range(3)),
    }
    expected = {
        metric: expected_of(lambda p, score=score: score(p.argmax(axis=1)), *predicted)
        for metric, score in by_call.items()
    }
    expected["brier"] = expected_of(lambda p: np.square(p - truth).sum(axis=1).mean(), *predicted)
    expected["calibration_error"] = expected_of(calibration_error, *predicted)
    ranked = [rankdata(probabilities, "dense", axis=0) for probabilities in predicted]
    expected["auprc"] = expected_of(
        lambda p: np.mean([average_precision_score(c == Y, p[:, c]) for c in range(3)]), *ranked
    )
    expected["auc_within"] = expected_of(within, *ranked)
    assert found.keys() == expected.keys()
    for metric, values in expected.items():
        assert found[metric] == pytest.approx(values), metric


def test_of_two_classes_the_one_that_counts_is_scored(predicted):
    y = (Y == 2).astype(int)
    ours, theirs = [np.column_stack([1 - p[:, 2], p[:, 2]]) for p in predicted]
    found = swapped_further_classes(y, ours, theirs, COHORTS, SWAPS, ClassScoring(["no", "yes"], positive=1))
    assert found["brier"] == pytest.approx(expected_of(lambda p: np.square(p[:, 1] - y).mean(), ours, theirs))
    assert found["precision"] == pytest.approx(
        expected_of(lambda p: precision_score(y, p.argmax(axis=1), zero_division=0), ours, theirs)
    )
    first, second = (rankdata(p[:, 1], "dense") for p in (ours, theirs))
    assert found["auprc"] == pytest.approx(expected_of(lambda s: average_precision_score(y, s), first, second))
    assert "quadratic_kappa" not in found
    alone = swapped_further_classes(np.ones(10, int), ours, theirs, COHORTS, SWAPS, ClassScoring(["no", "yes"]))
    assert alone.keys() == {"brier", "calibration_error"}


def test_a_run_with_other_probabilities_is_compared_by_rank():
    """The second run has the order of the first, all but halved: whoever is swapped, nothing is lost."""
    positive = np.arange(10) < 4
    scores = np.random.default_rng(5).permutation(10) / 10
    assert swapped_average_precision(positive, *map(rankdata, (scores, scores / 2)), SWAPS) == pytest.approx(0)


def test_swapped_survival_is_scored_as_if_predicted():
    rng = np.random.default_rng(4)
    n, cuts = len(CASES), np.array([150.0, 300.0])
    days = np.array([1.0, 60, 120, 200, 200, 200, 260, 340, 400, 400])
    event = np.array([1, 1, 1, 0, 0, 0, 1, 0, 1, 1], bool)
    train = CensoringDistribution(np.arange(20.0, 520, 20), np.arange(25) % 3 > 0)
    samples = SurvivalSamples(days, event, CASES, COHORTS)
    curves = []
    for scale in (1, 1000):
        risk = scale * rng.normal(size=n).round(1)
        curves.append(Curves(risk, np.cumprod(rng.uniform(0.3, 1, (n, 2)), axis=1), cuts))
    found = swapped_further_survival(samples, *curves, SWAPS, censoring=train, times=[100.0, 250.0])
    ranked = [rankdata(own.risk, "dense") for own in curves]
    known, tested = (Surv.from_arrays(rows.event, rows.days) for rows in (train, samples))

    def within_cohorts(risk):
        right = [
            (1 + np.sign(risk[i] - risk[j])) / 2
            for i, j in product(range(n), repeat=2)
            if COHORTS[i] == COHORTS[j] and event[i] and (days[i] < days[j] or (days[i] == days[j] and not event[j]))
        ]
        return np.mean(right)

    assert within_cohorts(ranked[0]) != concordance_index_censored(event, days, ranked[0])[0]
    expected = {
        "uno_c": expected_of(lambda risk: concordance_index_ipcw(known, tested, risk, tau=300)[0], *ranked),
        "auc_at_100": expected_of(lambda risk: cumulative_dynamic_auc(known, tested, risk, [100])[0][0], *ranked),
        "auc_at_250": expected_of(lambda risk: cumulative_dynamic_auc(known, tested, risk, [250])[0][0], *ranked),
        "c_index_within": expected_of(within_cohorts, *ranked),
    }
    every_day = np.arange(1.0, 300)

    def integrated(survival):
        steps = np.column_stack([np.ones(n), survival])
        alive = steps[:, np.searchsorted(cuts, every_day, side="right")]
        return brier_score(known, tested, alive, every_day)[1].sum() / 300

    expected["integrated_brier"] = expected_of(integrated, *(own.survival for own in curves))
    for metric, values in expected.items():
        assert found[metric] == pytest.approx(values), metric
    assert found.keys() - expected.keys() == {"d_calibration"}


def test_swapped_deaths_are_spread_over_tenths_by_hand():
    """Of five samples four are in a tenth each by one method, all four in one by the other; the fifth in the lowest.

    A fifth in each of five tenths, of which a tenth is right: 5 x 0.1, and 5 x 0.1 for the empty ones. Four fifths in
    one: 0.7, 0.1 for the fifth, 8 x 0.1. If the second is swapped, one method has two in a tenth, the other three.
    """
    cuts = np.array([10.0, 20.0])
    # Dead between the cuts, where each curve is flat: a point. The fifth is followed beyond the last cut.
    days, event = np.array([15.0, 15, 15, 15, 25]), np.array([1, 1, 1, 1, 0], bool)
    samples = SurvivalSamples(days, event, np.array(list("ABCDE")), np.full(5, "a"))
    ours, theirs = np.array([0.95, 0.85, 0.75, 0.65, 0.05]), np.array([0.95] * 4 + [0.05])
    curves = [Curves(np.zeros(5), np.column_stack([alive, alive]), cuts) for alive in (ours, theirs)]
    swaps = np.array([[0, 0, 0, 0, 0], [1, 1, 1, 1, 0], [0, 1, 0, 0, 0]], bool)
    train = CensoringDistribution(np.arange(1.0, 40), np.zeros(39, bool))
    found = swapped_further_survival(samples, *curves, swaps, censoring=train, times=[])["d_calibration"]
    apart, together = 5 * 0.1 + 5 * 0.1, 0.7 + 0.1 + 8 * 0.1
    two, three = 0.3 + 3 * 0.1 + 6 * 0.1, 0.5 + 2 * 0.1 + 7 * 0.1
    assert found == pytest.approx([50 * (apart - together), 50 * (together - apart), 50 * (two - three)])
