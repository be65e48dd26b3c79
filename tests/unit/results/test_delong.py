"""DeLong's test in Obuchowski's form: by hand, from its definition sample by sample, and against another package."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from ksfusion.results.delong import area_difference, delong_p_value, placements

Y = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
FIRST = np.array([0.1, 0.2, 0.35, 0.4, 0.4, 0.6, 0.7, 0.3, 0.55, 0.6, 0.8, 0.9])
SECOND = np.array([0.5, 0.1, 0.3, 0.6, 0.2, 0.45, 0.7, 0.2, 0.4, 0.8, 0.45, 0.65])


def two_classes(*scores):
    """Probabilities of both classes by each seed: (seeds, samples, 2)."""
    return np.stack([np.stack([1 - np.asarray(score), score], axis=1) for score in scores])


def each_its_own(y):
    return np.array([f"C{number}" for number in range(len(y))])


def variance_of(difference):
    return float(np.square(difference.contributions).sum()) + difference.mixed


def by_definition(y, scores, cases):
    """Return Obuchowski's covariance matrix of the areas of (tests, samples), term by term as it is published."""
    up = [[j for j in range(len(y)) if y[j] and cases[j] == case] for case in np.unique(cases)]
    down = [[j for j in range(len(y)) if not y[j] and cases[j] == case] for case in np.unique(cases)]
    m, n = sum(map(len, up)), sum(map(len, down))

    def psi(x, z):
        return 1.0 if x > z else 0.5 if x == z else 0.0

    areas, v10, v01 = [], [], []
    for score in scores:
        negatives, positives = [score[j] for group in down for j in group], [score[j] for group in up for j in group]
        area = sum(psi(x, z) for x in positives for z in negatives) / (m * n)
        areas.append(area)
        v10.append(
            [sum(sum(psi(score[j], z) for z in negatives) / n for j in group) - len(group) * area for group in up]
        )
        v01.append(
            [sum(sum(psi(x, score[j]) for x in positives) / m for j in group) - len(group) * area for group in down]
        )
    i10, i01, i = sum(map(bool, up)), sum(map(bool, down)), len(up)
    covariance = np.zeros((len(scores), len(scores)))
    for r in range(len(scores)):
        for s in range(len(scores)):
            s10 = i10 / ((i10 - 1) * m) * sum(a * b for a, b in zip(v10[r], v10[s], strict=True))
            s01 = i01 / ((i01 - 1) * n) * sum(a * b for a, b in zip(v01[r], v01[s], strict=True))
            s11 = i / (i - 1) * sum(a * b for a, b in zip(v10[r], v01[s], strict=True))
            s11_turned = i / (i - 1) * sum(a * b for a, b in zip(v10[s], v01[r], strict=True))
            covariance[r, s] = s10 / m + s01 / n + (s11 + s11_turned) / (m * n)
    return areas, covariance


def test_placements_by_hand():
    # Of the two positives one is above both negatives, the other above one and level with the other.
    scores = np.array([[0.9, 0.5, 0.5, 0.1], [0.1, 0.9, 0.5, 0.2]])
    positive = np.array([True, True, False, False])
    assert placements(positive, scores[:1]) == pytest.approx([1, 0.75, 0.75, 1])
    # The second seed: one positive below both negatives, the other above both.
    assert placements(positive, scores) == pytest.approx([0.5, 0.875, 0.625, 0.75])


def test_variance_by_hand():
    """Two positives, two negatives, a second method that ranks all alike: its placements are one half."""
    y, score = np.array([1, 1, 0, 0]), np.array([0.9, 0.5, 0.6, 0.1])
    found = area_difference(y, two_classes(score), two_classes([0.5] * 4), each_its_own(y))
    assert found.value == pytest.approx(0.75 - 0.5)
    # Placements 1 and 0.5, and 0.5 and 1: the variance of each pair is 0.125, over two samples each.
    assert variance_of(found) == pytest.approx(0.125 / 2 + 0.125 / 2)
    assert delong_p_value([found]) == pytest.approx(2 * norm.sf(0.25 / math.sqrt(0.125)))


def test_without_clusters_it_is_what_another_package_says():
    """MLstatkit 0.1.91: ``Delong_test(Y, FIRST, SECOND)``."""
    found = area_difference(Y, two_classes(FIRST), two_classes(SECOND), each_its_own(Y))
    assert found.value == pytest.approx(0.7571428571428571 - 0.6)
    assert variance_of(found) == pytest.approx(0.02343537414965986, rel=1e-9)
    assert delong_p_value([found]) == pytest.approx(0.30465624680830783, rel=1e-9)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_clusters_are_as_the_definition_has_them(mixed, n_seeds):
    """Seeds are tests of their own in the definition: the difference of means is a contrast of their areas."""
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 5, 25)
    cases = np.repeat([f"C{number:02d}" for number in range(25)], sizes)
    y = rng.integers(0, 2, len(cases)) if mixed else np.repeat(rng.integers(0, 2, 25), sizes)
    own = np.repeat(rng.normal(size=25), sizes)  # what samples of a case share
    scores = (own + y + rng.normal(size=(2 * n_seeds, len(y)))).round(1)
    areas, covariance = by_definition(y, scores, cases)
    contrast = np.repeat([1, -1], n_seeds) / n_seeds
    found = area_difference(y, two_classes(*scores[:n_seeds]), two_classes(*scores[n_seeds:]), cases)
    assert found.value == pytest.approx(contrast @ areas)
    assert variance_of(found) == pytest.approx(contrast @ covariance @ contrast)
    z = contrast @ areas / math.sqrt(contrast @ covariance @ contrast)
    assert delong_p_value([found]) == pytest.approx(2 * norm.sf(abs(z)))
    assert (found.mixed == 0) is not mixed


def three_classes(seed, n_cases):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, n_cases)
    y = np.repeat(rng.integers(0, 3, n_cases), sizes)
    own = np.repeat(rng.normal(size=(n_cases, 3)), sizes, axis=0)

    def predict(noise):
        logits = 1.2 * np.eye(3)[y] + 0.7 * own + noise * rng.normal(size=(2, len(y), 3))
        return np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)

    return y, predict(0.7), predict(1.5), np.repeat([f"C{number:03d}" for number in range(n_cases)], sizes)


def mean_area(y, predictions):
    return np.mean([roc_auc_score(y == c, seed[:, c]) for seed in predictions for c in range(3)])


def test_the_mean_over_classes_has_the_variance_of_the_jackknife_over_cases():
    y, ours, theirs, cases = three_classes(5, 150)
    found = area_difference(y, ours, theirs, cases)
    assert found.value == pytest.approx(mean_area(y, ours) - mean_area(y, theirs))
    left_out = []
    for case in np.unique(cases):
        kept = cases != case
        left_out.append(mean_area(y[kept], ours[:, kept]) - mean_area(y[kept], theirs[:, kept]))
    jackknife = (len(left_out) - 1) * np.var(left_out)
    assert variance_of(found) == pytest.approx(jackknife, rel=0.03)
    # Classes as if they were of different cases would miss how they go together.
    per_class = [
        variance_of(
            area_difference((y == c).astype(int), two_classes(*ours[:, :, c]), two_classes(*theirs[:, :, c]), cases)
        )
        for c in range(3)
    ]
    assert abs(sum(per_class) / 9 / jackknife - 1) > 0.1


def test_a_case_in_two_folds_is_one_case():
    """The same fold twice tells no more than once; of other cases it does."""
    once = area_difference(Y, two_classes(FIRST), two_classes(SECOND), each_its_own(Y))
    assert delong_p_value([once, once]) == pytest.approx(delong_p_value([once]))
    others = area_difference(Y, two_classes(FIRST), two_classes(SECOND), np.array([f"D{i}" for i in range(len(Y))]))
    z = once.value / math.sqrt(variance_of(once) / 2)
    assert delong_p_value([once, others]) == pytest.approx(2 * norm.sf(z))


def test_what_cannot_be_told():
    same = area_difference(Y, two_classes(FIRST), two_classes(FIRST), each_its_own(Y))
    assert (same.value, delong_p_value([same])) == (0, 1)
    # One is always right, the other says nothing: no variance, and yet they differ.
    never = area_difference(Y, two_classes(Y * 0.9), two_classes(Y * 0.0), each_its_own(Y))
    assert never.value == 0.5 and math.isnan(delong_p_value([never]))
    # All positives are of one case.
    one = area_difference(Y, two_classes(FIRST), two_classes(SECOND), np.where(Y == 1, "C", each_its_own(Y)))
    assert one.alone == (0, 1) and math.isnan(delong_p_value([one]))
