"""DeLong's test of two areas under ROC curves (AUC), in Obuchowski's form for samples clustered in cases.

The placement of a positive sample is the fraction of negative samples ranked below it, that of a negative sample the
fraction of positive samples ranked above it, ties counting one half. The AUC is the mean placement. The contribution of
a case to its variance is the sum of the deviations of its samples' placements from the AUC: samples of one case are not
independent. Placements are averaged over seeds, so that the AUC is the mean over seeds; with one sample for each case
and one seed this is DeLong's test.

A macro AUC (each class against the rest) is a mean of such areas over the same cases. The contribution of a case is the
mean of its contributions to these, which includes the covariances between classes.

References
----------
.. [1] DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver operating
       characteristic curves: a nonparametric approach, Biometrics 44, 837-845 (1988).
.. [2] Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics 53, 567-578 (1997).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ksfusion.results.metrics import NAN

# A variance of an AUC (from 0 to 1) below this is rounding error and counts as 0.
NO_VARIANCE = 1e-18


@dataclass(frozen=True, eq=False)
class AreaDifference:
    """Difference of two AUCs over the same cases, and the terms of its variance.

    Attributes
    ----------
    value
        Difference of the AUCs, from -1 to 1.
    cases : numpy.ndarray of str, shape (n_cases,)
        case_id of each case.
    contributions : numpy.ndarray, shape (n_cases,)
        Contribution of each case; the variance is the sum of their squares, plus ``mixed``. NaN where it is not
        determined.
    mixed
        Correction for cases that have samples both of a class and of the rest.
    alone
        Numbers of the classes for which the variance is not determined: one case has all samples of the class, or all
        of the rest.
    """

    value: float
    cases: np.ndarray
    contributions: np.ndarray
    mixed: float
    alone: tuple[int, ...]


def area_difference(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, case_ids: np.ndarray) -> AreaDifference:
    """Compare the macro AUCs of two methods on the same samples.

    Parameters
    ----------
    labels : numpy.ndarray of int, shape (n_samples,)
        Number of the class of each sample; two or more classes occur.
    ours, theirs : numpy.ndarray, shape (n_seeds, n_samples, n_classes)
        Probability of each class by each of two methods. Classes without a sample are left out of the mean.
    case_ids : numpy.ndarray, shape (n_samples,)
        case_id of each sample.

    Returns
    -------
    AreaDifference
        AUC of ``ours`` less that of ``theirs``.
    """
    cases, case_of_sample = np.unique(case_ids.astype(str), return_inverse=True)
    classes = np.unique(labels)
    value = 0.0
    parts: list[_Part] = []
    alone: list[int] = []
    for number in classes:
        positive = labels == number
        places = placements(positive, ours[:, :, number]) - placements(positive, theirs[:, :, number])
        difference = float(places[positive].mean())
        value += difference / len(classes)
        deviations = (places - difference) / len(classes)
        parts += [_part(deviations, kind, case_of_sample) for kind in (positive, ~positive)]
        if math.isnan(parts[-2].factor + parts[-1].factor):
            alone.append(int(number))
    contributions = np.sum([math.sqrt(part.factor) * part.sums for part in parts], axis=0)
    mixed = sum(_mixed(first, second, len(cases)) for first, second in combinations(parts, 2))
    return AreaDifference(value, cases, contributions, mixed, tuple(alone))


def placements(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the placement of each sample, averaged over seeds: (n_samples,), from 0 to 1.

    Parameters
    ----------
    positive : numpy.ndarray of bool, shape (n_samples,)
        Whether each sample is of the class.
    scores : numpy.ndarray, shape (n_seeds, n_samples)
        Scores, such as probabilities, that are higher where the class is more likely.
    """
    total = np.zeros(len(positive))
    for score in scores:
        up, down = score[positive], score[~positive]
        total[positive] += _share_below(up, down)
        total[~positive] += 1 - _share_below(down, up)
    return total / len(scores)


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return, for each value, the fraction of the others below it, ties counting one half."""
    ordered = np.sort(others)
    share: np.ndarray = (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, "right")) / 2 / len(others)
    return share


class _Part(NamedTuple):
    """What the positive, or the negative, samples of a class add to each case's contribution.

    Attributes
    ----------
    kind : numpy.ndarray of bool, shape (n_samples,)
        Whether a sample is one of them.
    sums : numpy.ndarray, shape (n_cases,)
        Sum of the deviations of a case's placements, divided by the number of samples of this kind.
    factor
        n / (n - 1), where n cases have such samples; NaN where one case has them all.
    """

    kind: np.ndarray
    sums: np.ndarray
    factor: float


def _part(deviations: np.ndarray, kind: np.ndarray, case_of_sample: np.ndarray) -> _Part:
    sums = np.bincount(case_of_sample, weights=np.where(kind, deviations, 0), minlength=case_of_sample.max() + 1)
    n_cases = len(np.unique(case_of_sample[kind]))
    return _Part(kind, sums / kind.sum(), n_cases / (n_cases - 1) if n_cases > 1 else NAN)


def _mixed(first: _Part, second: _Part, n_cases: int) -> float:
    """Return what the squared contributions lack of the covariance of two kinds of samples, where cases have both.

    Obuchowski has 2 n / (n - 1) sum(s1 s2) over all n cases; the squares of sqrt(f1) s1 + sqrt(f2) s2 have
    2 sqrt(f1 f2) sum(s1 s2). Kinds of two classes that share samples get no correction.
    """
    covariance = float(first.sums @ second.sums)
    if not covariance or n_cases < 2 or (first.kind & second.kind).any():
        return 0.0
    return 2 * (n_cases / (n_cases - 1) - math.sqrt(first.factor * second.factor)) * covariance


def delong_p_value(differences: Sequence[AreaDifference]) -> float:
    """Return the two-sided p-value, by the normal distribution, for equal AUCs, from the mean difference over folds.

    A case that is tested in several folds contributes the sum of its contributions.

    Parameters
    ----------
    differences
        Difference of the AUCs in each fold.

    Returns
    -------
    float
        1 where the methods rank all samples alike; NaN where the variance is not determined, or is 0 although the AUCs
        differ.
    """
    n_folds = len(differences)
    cases = np.concatenate([fold.cases for fold in differences])
    contributions = np.concatenate([fold.contributions for fold in differences])
    _, case = np.unique(cases, return_inverse=True)
    variance = float(np.square(np.bincount(case, weights=contributions)).sum())
    variance = (variance + sum(fold.mixed for fold in differences)) / n_folds**2
    mean = sum(fold.value for fold in differences) / n_folds
    if variance > NO_VARIANCE:
        return math.erfc(abs(mean) / math.sqrt(2 * variance))
    return 1.0 if variance >= 0 and abs(mean) < math.sqrt(NO_VARIANCE) else NAN
