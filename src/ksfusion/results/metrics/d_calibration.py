"""D-calibration: whether predicted survival at the times of death is spread evenly, as that of a calibrated model is.

References
----------
.. [1] Haider et al., Effective ways to build and evaluate individual survival distributions, JMLR 21 (2020).
.. [2] Rao and Scott, The analysis of categorical data from complex sample surveys, JASA 76, 221-230 (1981).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ksfusion.results.metrics.areas import or_undefined
from ksfusion.results.metrics.names import NAN

if TYPE_CHECKING:
    from ksfusion.results.metrics.further_survival import Curves

# Of predicted survival.
DECILES = 10


def decile_deviation(sums: np.ndarray) -> np.ndarray:
    """Return the share of the samples that a calibrated model would have in other tenths, in percent: (draws,).

    Parameters
    ----------
    sums : numpy.ndarray, shape (draws, 10)
        Of `decile_shares`, over the samples of each draw.
    """
    shares = sums / or_undefined(sums.sum(axis=1))[:, None]
    apart: np.ndarray = 100 * np.abs(shares - 1 / DECILES).sum(axis=1) / 2
    return apart


def decile_shares(days: np.ndarray, event: np.ndarray, curves: Curves) -> np.ndarray:
    """Return how each sample is spread over tenths of the survival that was predicted at its death: (n_samples, 10).

    Of a calibrated model each tenth gets a tenth of the samples. A death between two cuts lies anywhere between the
    predictions at these; one that was not seen, for censoring or beyond the last cut, anywhere below the prediction at
    the last cut before.

    Parameters
    ----------
    days, event : numpy.ndarray, shape (n_samples,)
        Follow-up of the samples.
    curves
        Survival curves that a model predicts for them.
    """
    steps = np.column_stack([np.ones(len(days)), curves.survival, np.zeros(len(days))])
    interval = np.searchsorted(curves.cuts, days, side="right")
    rows = np.arange(len(days))
    high = steps[rows, interval]
    low = np.where(event, steps[rows, interval + 1], 0.0)
    edges = np.linspace(0, 1, DECILES + 1)
    overlap = np.clip(np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1]), 0, None)
    # A curve that does not fall where the death was leaves a point.
    point = np.eye(DECILES)[np.clip(np.ceil(high * DECILES).astype(int) - 1, 0, DECILES - 1)]
    width = overlap.sum(axis=1, keepdims=True)
    return np.where(width > 0, overlap / np.where(width > 0, width, 1), point)


def chi_square_p(deciles: np.ndarray, cases: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the p-value that all deciles have the same share, a case counting as one of its samples: (resamples,).

    A sample is spread over several tenths where its death is not known exactly, which makes Pearson's statistic smaller
    than that of whole counts. It is a sum of squares of normal variables all the same, whose first two moments are told
    from the cases (Satterthwaite's approximation, as Rao and Scott have it); of whole counts it is Pearson's test.

    Parameters
    ----------
    deciles : numpy.ndarray, shape (n_samples, 10)
        As `decile_shares` gives them.
    cases : numpy.ndarray, shape (n_samples,)
        The case of each sample.
    counts : numpy.ndarray, shape (resamples, n_samples)
        How often each sample is drawn, alike for those of a case.
    """
    from scipy.stats import chi2

    names, first, case, size = np.unique(cases.astype(str), return_index=True, return_inverse=True, return_counts=True)
    excess = np.zeros((len(names), DECILES))
    np.add.at(excess, case, (deciles - 1 / DECILES) / size[case][:, None])
    drawn = counts[:, first]
    total = or_undefined(drawn.sum(axis=1))
    statistic = DECILES * np.square(drawn @ excess).sum(axis=1) / total
    # Of the covariance of a case's excess under the null: its trace, and the sum of its squares.
    products = np.einsum("cb,cd->cbd", excess, excess).reshape(len(names), -1)
    trace = DECILES * (drawn @ np.square(excess).sum(axis=1)) / total
    squares = DECILES**2 * np.square(drawn @ products / total[:, None]).sum(axis=1)
    known = np.where(squares > 0, squares, NAN)
    p: np.ndarray = chi2.sf(statistic * trace / known, trace**2 / known)
    return p
