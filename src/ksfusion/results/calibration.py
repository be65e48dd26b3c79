"""Whether predicted probabilities are what happens: groups of equal size by their prediction, and what became of them.

The interval of a frequency is Wilson's, in which each case counts as one however many samples and runs it has in the
group; that of a survival is Kaplan-Meier's.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ksfusion.results.runs import Run, survival_columns
from ksfusion.results.statistics import COVERAGE

GROUPS = 5
ALPHA = (100 - COVERAGE) / 100
# Of a group: the mean prediction, what happened, its interval, and the number of cases.
COLUMNS = ["predicted", "observed", "low", "high", "cases"]


def equal_groups(values: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the number of the group of each value: groups of equal size, from the lowest; equal values stay together.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
        Such as predictions.
    n_groups
        Largest number of groups.
    """
    edges = np.quantile(values, np.linspace(0, 1, n_groups + 1)[1:-1])
    return np.searchsorted(edges, values)


def class_calibration(probability: np.ndarray, happened: np.ndarray, cases: np.ndarray) -> pd.DataFrame:
    """Return of each group how often a class was what it was predicted to be.

    Parameters
    ----------
    probability : numpy.ndarray, shape (n_samples,)
        Predicted for the class.
    happened : numpy.ndarray of bool, shape (n_samples,)
        Whether a sample is of the class.
    cases : numpy.ndarray, shape (n_samples,)
        The case of each sample.

    Returns
    -------
    pandas.DataFrame
        With `COLUMNS`, ascending.
    """
    from statsmodels.stats.proportion import proportion_confint

    table = pd.DataFrame({"predicted": probability, "observed": happened.astype(float), "cases": cases})
    groups = table.groupby(equal_groups(probability, GROUPS))
    found = groups.agg({"predicted": "mean", "observed": "mean", "cases": "nunique"})
    size = found["cases"].to_numpy()
    low, high = proportion_confint(found["observed"].to_numpy() * size, size, alpha=ALPHA, method="wilson")
    return found.assign(low=low, high=high)[COLUMNS]


def survival_calibration(predicted: np.ndarray, days: np.ndarray, event: np.ndarray, at: float) -> pd.DataFrame:
    """Return of each group how many are alive at a time, by Kaplan-Meier, beside how many were predicted to be.

    Parameters
    ----------
    predicted : numpy.ndarray, shape (n_cases,)
        Predicted probability of being alive at the time.
    days, event : numpy.ndarray, shape (n_cases,)
        Days to death or to the last contact, and whether the case died.
    at
        The time, in days.

    Returns
    -------
    pandas.DataFrame
        With `COLUMNS`, ascending; a group that is not followed so long is left out.
    """
    from sksurv.nonparametric import kaplan_meier_estimator

    rows = []
    groups = equal_groups(predicted, GROUPS)
    for group in np.unique(groups):
        own = groups == group
        with np.errstate(divide="ignore", invalid="ignore"):
            times, alive, (low, high) = kaplan_meier_estimator(event[own], days[own], conf_type="log-log")
        if times[-1] < at and alive[-1] > 0:
            continue
        known = np.searchsorted(times, at, side="right") - 1
        told = (alive[known], low[known], high[known]) if known >= 0 else (1.0, 1.0, 1.0)
        rows.append((predicted[own].mean(), *told, int(own.sum())))
    return pd.DataFrame(rows, columns=COLUMNS)


def alive_at(run: Run, days: float) -> np.ndarray:
    """Return the probability of being alive at a time that a run predicts for its test samples: (n_samples,).

    The curve falls at its cuts alone; NaN beyond the last of them, and without any.

    Parameters
    ----------
    run
        With its curves.
    days
        The time.
    """
    cuts = np.array(run.curves.cuts)
    if not len(cuts) or days > cuts[-1]:
        return np.full(len(run.test), np.nan)
    steps = run.test[survival_columns(len(cuts))].to_numpy(float)
    return np.column_stack([np.ones(len(steps)), steps])[:, np.searchsorted(cuts, days, side="right")]
