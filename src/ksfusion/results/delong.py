"""DeLong's test of two areas under ROC curves, in Obuchowski's form for samples that come in clusters, the cases.

The placement of a sample is the share of the samples of the other kind against which it is ranked rightly, ties one
half. The area is the mean placement, and what a case contributes to its variance is the sum of the deviations of its
samples' placements: samples of one case resemble each other. Placements are averaged over seeds, so that the area is
the mean over seeds; with one sample for each case and one seed this is DeLong's test.

An area averaged over classes, each against the rest, is a mean of such areas over the same cases. A case contributes
the mean of its contributions, which takes the covariances of the classes along.

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

# Of an area between 0 and 1; a variance below is none.
NO_VARIANCE = 1e-18


@dataclass(frozen=True, eq=False)
class AreaDifference:
    """The difference of two areas over the same cases, and what its variance is made of.

    Attributes
    ----------
    value
        The difference, in parts of one.
    cases : numpy.ndarray of str, shape (n_cases,)
        The cases.
    contributions : numpy.ndarray, shape (n_cases,)
        What each contributes; the variance is the sum of their squares, and ``mixed``. NaN where it is not determined.
    mixed
        What cases with samples of both kinds add.
    alone
        The classes that have no more than one case, or all but one: of them no variance can be told.
    """

    value: float
    cases: np.ndarray
    contributions: np.ndarray
    mixed: float
    alone: tuple[int, ...]


def area_difference(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, case_ids: np.ndarray) -> AreaDifference:
    """Compare the areas of two methods on the same samples.

    Parameters
    ----------
    labels : numpy.ndarray of int, shape (n_samples,)
        Class numbers, two or more among them.
    ours, theirs : numpy.ndarray, shape (n_seeds, n_samples, n_classes)
        Probability of each class by each of two methods. Classes without a sample are left out of the mean.
    case_ids : numpy.ndarray, shape (n_samples,)
        The case of each sample.
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
    """Return the placement of each sample, averaged over seeds: (n_samples,).

    Parameters
    ----------
    positive : numpy.ndarray of bool, shape (n_samples,)
        Whether each sample is of the class.
    scores : numpy.ndarray, shape (n_seeds, n_samples)
        Higher where the class is more likely.
    """
    total = np.zeros(len(positive))
    for score in scores:
        up, down = score[positive], score[~positive]
        total[positive] += _share_below(up, down)
        total[~positive] += 1 - _share_below(down, up)
    return total / len(scores)


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return of each value the share of others below it, ties one half."""
    ordered = np.sort(others)
    share: np.ndarray = (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, "right")) / 2 / len(others)
    return share


class _Part(NamedTuple):
    """What the samples of one kind (``kind``) add to each case's contribution.

    ``factor`` is n / (n - 1) of the cases that have any; NaN where one case has them all.
    """

    kind: np.ndarray
    sums: np.ndarray
    factor: float


def _part(deviations: np.ndarray, kind: np.ndarray, case_of_sample: np.ndarray) -> _Part:
    sums = np.bincount(case_of_sample, weights=np.where(kind, deviations, 0), minlength=case_of_sample.max() + 1)
    n_cases = len(np.unique(case_of_sample[kind]))
    return _Part(kind, sums / kind.sum(), n_cases / (n_cases - 1) if n_cases > 1 else NAN)


def _mixed(first: _Part, second: _Part, n_cases: int) -> float:
    """Return what is missing of a covariance between samples of two kinds, where cases have both."""
    covariance = float(first.sums @ second.sums)
    if not covariance or n_cases < 2 or (first.kind & second.kind).any():
        return 0.0
    return 2 * (n_cases / (n_cases - 1) - math.sqrt(first.factor * second.factor)) * covariance


def delong_p_value(differences: Sequence[AreaDifference]) -> float:
    """Return the p-value of the mean difference over folds, two-sided: that the two areas are equal.

    A case that is tested in several folds contributes the sum of its contributions.

    Parameters
    ----------
    differences
        Of each fold.

    Returns
    -------
    float
        1 where the methods rank all samples alike; NaN where the variance is not determined, or is nil although the
        areas differ.
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
