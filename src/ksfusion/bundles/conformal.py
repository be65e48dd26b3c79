"""Conformal sets of classes: with a stated level, the class of a new case is in its set that often.

Split conformal prediction [1]_ with the score 1 minus the calibrated probability of the true class: a set holds every
class whose score is no larger than the quantile of the scores of held-out cases. The level holds on average over cases
that are exchangeable with the held-out ones, one score a case; for other cohorts nothing is claimed. A set may hold
several classes, all, or none. Of several folds each has its own quantile, and a class is in the set of the bundle where
it is in more than half of the folds' sets, of which the level is 1 - 2 alpha [2]_.

References
----------
.. [1] Vovk, Gammerman and Shafer, Algorithmic learning in a random world, Springer (2005).
.. [2] Gasparin and Ramdas, Merging uncertainty sets via majority vote (2024), arXiv:2401.09379.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ksfusion.terms.tasks import TaskOutcome, prediction_columns


class ConformalSet(NamedTuple):
    """The classes of a case at a level, or why there is no such set.

    Attributes
    ----------
    classes
        In the order of their numbers; empty where no class is likely enough, or there is no set.
    level
        The share of exchangeable cases whose class is in their set, at least.
    reason
        Why there is no set; empty where there is one.
    """

    classes: tuple[str, ...]
    level: float
    reason: str = ""


def fewest_cases(alpha: float) -> int:
    """Return the fewest held-out cases that a level of 1 - alpha needs: 1 / alpha - 1, rounded up."""
    return math.ceil(round(1 / alpha - 1, 9))


def quantile_of(scores: Sequence[float], alpha: float) -> float:
    """Return the largest score that a class of the set may have.

    Raises
    ------
    ValueError
        If there are fewer than 1 / alpha - 1 scores.
    """
    rank = math.ceil(round((1 - alpha) * (len(scores) + 1), 9))
    if rank > len(scores):
        raise ValueError(f"{len(scores)} held-out cases; level {1 - alpha:g} needs {fewest_cases(alpha)}")
    return float(np.sort(scores)[rank - 1])


def conformal_scores(cases: pd.DataFrame, task: TaskOutcome) -> list[float]:
    """Return the scores of held-out cases, ascending.

    Parameters
    ----------
    cases : pandas.DataFrame
        A row for each case, with calibrated probabilities and ``y``.
    task
        A task of classes.
    """
    probabilities = cases[prediction_columns(task)].to_numpy(float)
    own = probabilities[np.arange(len(cases)), cases["y"].to_numpy(int)]
    scores: list[float] = np.sort(np.clip(1 - own, 0, 1)).tolist()
    return scores


def conformal_set(
    probabilities: Sequence[np.ndarray], scores: Sequence[Sequence[float]], classes: Sequence[str], *, level: float
) -> ConformalSet:
    """Return the set of a case.

    Parameters
    ----------
    probabilities : sequence of numpy.ndarray (classes,)
        Calibrated probabilities of the classes by each fold.
    scores
        Conformal scores of each fold.
    classes
        In the order of their numbers.
    level
        Such as 0.9; of several folds the set's level is 2 x level - 1.
    """
    alpha, votes = 1 - level, np.zeros(len(classes))
    told = level if len(scores) == 1 else 2 * level - 1
    try:
        for own, of_fold in zip(probabilities, scores, strict=True):
            votes += (1 - own) <= quantile_of(of_fold, alpha)
    except ValueError as error:
        return ConformalSet((), told, str(error))
    return ConformalSet(tuple(name for name, vote in zip(classes, votes, strict=True) if vote > len(scores) / 2), told)
