"""The further metrics of survival, of many draws of cases at once; with weights of one they are the metrics.

A model says how likely a case is alive at each cut of time; between cuts its curve is a step function, so that what is
integrated goes to the last cut. What censoring hides is weighted by the inverse probability of not being censored,
estimated by Kaplan-Meier on the cases that a follow-up names: those of training, or of an external cohort itself.

References
----------
.. [1] Uno et al., On the C-statistics for evaluating overall adequacy of risk prediction procedures with censored
       survival data, Statistics in Medicine 30, 1105-1117 (2011).
.. [2] Graf et al., Assessment and comparison of prognostic classification schemes for survival data, Statistics in
       Medicine 18, 2529-2545 (1999).
.. [3] Haider et al., Effective ways to build and evaluate individual survival distributions, JMLR 21 (2020).
.. [4] Rao and Scott, The analysis of categorical data from complex sample surveys, JASA 76, 221-230 (1981).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ksfusion.results.metrics.names import NAN, further_survival_metrics, metric_at
from ksfusion.results.metrics.survival import check_survival, comparable_pairs
from ksfusion.results.statistics import or_undefined
from ksfusion.terms.ties import TIED_RISK

# Of predicted survival, in D-calibration.
TENTHS = 10


@dataclass(frozen=True, eq=False)
class FollowUp:
    """The cases on which censoring is estimated.

    Attributes
    ----------
    days, event : numpy.ndarray, shape (n_cases,)
        Days to death or to the last contact, and whether the case died.
    """

    days: np.ndarray
    event: np.ndarray

    @cached_property
    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Times, and the probability of not being censored from each on; deaths come before censorings of a day."""
        from sksurv.nonparametric import kaplan_meier_estimator

        times, kept = kaplan_meier_estimator(self.event.astype(bool), self.days.astype(float), reverse=True)
        return np.r_[-np.inf, times], np.r_[1.0, kept]

    def uncensored(self, days: np.ndarray) -> np.ndarray:
        """Return the probability of not being censored until times, themselves included; NaN where it is not known.

        That is where it is 0, and beyond the last time of the cases.
        """
        if not len(self.days):
            return np.full(np.shape(days), NAN)
        times, kept = self._curve
        known = kept[np.searchsorted(times, days, side="right") - 1]
        return np.where((days <= times[-1]) & (known > 0), known, NAN)

    def reaches(self, days: float) -> bool:
        """Return whether censoring is known until a time."""
        return bool(np.isfinite(self.uncensored(np.array([days])))[0])


@dataclass(frozen=True, eq=False)
class Curves:
    """What a model says of survival.

    Attributes
    ----------
    risk : numpy.ndarray, shape (n_samples,)
        Higher means an earlier death.
    survival : numpy.ndarray, shape (n_samples, n_cuts)
        Probability of being alive at each cut.
    cuts : numpy.ndarray, shape (n_cuts,)
        Days, ascending.
    """

    risk: np.ndarray
    survival: np.ndarray
    cuts: np.ndarray


@dataclass(frozen=True, eq=False)
class Survivors:
    """The test samples: days, whether each died, its case and its cohort, each (n_samples,)."""

    days: np.ndarray
    event: np.ndarray
    cases: np.ndarray
    cohorts: np.ndarray


def further_survival(
    samples: Survivors,
    curves: Curves,
    weights: np.ndarray,
    *,
    censoring: FollowUp,
    times: Sequence[float],
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Compute the further metrics of each draw.

    Parameters
    ----------
    samples
        The test samples.
    curves
        Survival curves that a model predicts for them.
    weights : numpy.ndarray, shape (resamples, n_samples)
        Number of times that each sample is drawn.
    censoring
        The cases on which censoring is estimated.
    times
        Days at which the area under the time-dependent ROC curve is told.

    Returns
    -------
    values : dict
        Metric to values in percent, shape (resamples,). Of ``integrated_brier`` and ``d_calibration`` (the share of the
        samples that a calibrated model would have in other tenths of predicted survival) 0 is best;
        ``d_calibration_p`` is 100 times the p-value of the chi-square test, each case counting once.
    reasons : dict
        Metric to why the follow-up does not allow it, where it does not.
    """
    days, event, risk = check_survival(samples.days, samples.event, curves.risk)
    counts = weights.astype(float)
    values = dict.fromkeys(further_survival_metrics(times), np.full(len(weights), NAN))
    reasons: dict[str, str] = {}
    difference = risk[:, None] - risk
    concordant = np.where(np.abs(difference) <= TIED_RISK, 0.5, difference > 0)
    comparable = comparable_pairs(days, event)

    same = samples.cohorts[:, None] == samples.cohorts
    if (comparable & same).any():
        values["c_index_within"] = 100 * _concordance(concordant, (comparable & same).astype(float), counts)
    else:
        reasons["c_index_within"] = "no pair of test samples of one cohort can be compared"

    for at in times:
        name = metric_at(at)
        if reason := why_no_area(days, event, at, censoring):
            reasons[name] = reason
        else:
            values[name] = 100 * _area_at(days, event, concordant, counts, at, censoring)

    of_curves = ("uno_c", "integrated_brier", "d_calibration", "d_calibration_p")
    if reason := why_no_curve(days, curves.cuts, censoring):
        return values, reasons | dict.fromkeys(of_curves, reason)
    last = curves.cuts[-1]
    early = event & (days < last)
    inverse = np.where(early, 1 / np.where(early, censoring.uncensored(days), 1), 0)
    pairs = comparable * np.square(inverse)[:, None]
    if pairs.any():
        values["uno_c"] = 100 * _concordance(concordant, pairs, counts)
    else:
        reasons["uno_c"] = f"no pair of test samples can be compared before day {last:g}"
    errors = integrated_errors(days, event, curves, censoring)
    values["integrated_brier"] = 100 * (counts @ errors) / or_undefined(counts.sum(axis=1))
    tenths = in_tenths(days, event, curves)
    shares = counts @ tenths / or_undefined(counts.sum(axis=1))[:, None]
    values["d_calibration"] = 100 * np.abs(shares - 1 / TENTHS).sum(axis=1) / 2
    values["d_calibration_p"] = 100 * chi_square_p(tenths, samples.cases, counts)
    return values, reasons


def why_no_area(days: np.ndarray, event: np.ndarray, at: float, censoring: FollowUp) -> str:
    """Return why there is no time-dependent area at a time; empty where there is one."""
    if not (event & (days <= at)).any():
        return f"no test sample dies until day {at:g}"
    if not (days > at).any():
        return f"no test sample is followed beyond day {at:g}"
    return "" if censoring.reaches(at) else f"censoring is not known until day {at:g}: the follow-up ends before"


def why_no_curve(days: np.ndarray, cuts: np.ndarray, censoring: FollowUp) -> str:
    """Return why survival curves cannot be scored until their last cut; empty where they can."""
    if not len(cuts):
        return "the run has no survival curve"
    last = cuts[-1]
    if not (days >= last).any():
        return f"no test sample is followed until the last cut, day {last:g}"
    return "" if censoring.reaches(last) else f"censoring is not known until day {last:g}: the follow-up ends before"


def _concordance(concordant: np.ndarray, pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the share of concordant pairs of each draw, a pair weighing as ``pairs`` says: (resamples,)."""
    won, all_pairs = (np.einsum("rn,rn->r", counts @ table, counts) for table in (concordant * pairs, pairs))
    share: np.ndarray = won / or_undefined(all_pairs)
    return share


def _area_at(
    days: np.ndarray, event: np.ndarray, concordant: np.ndarray, counts: np.ndarray, at: float, censoring: FollowUp
) -> np.ndarray:
    """Return the area of those dead at a time against those alive then: (resamples,)."""
    dead, alive = event & (days <= at), days > at
    cases = counts[:, dead] / censoring.uncensored(days[dead])
    won = np.einsum("rn,rn->r", cases @ concordant[np.ix_(dead, alive)], counts[:, alive])
    area: np.ndarray = won / or_undefined(cases.sum(axis=1) * counts[:, alive].sum(axis=1))
    return area


def integrated_errors(days: np.ndarray, event: np.ndarray, curves: Curves, censoring: FollowUp) -> np.ndarray:
    """Return what each sample adds to the integrated Brier score, exactly: (n_samples,).

    The error of a sample changes at cuts, at its own time, and where the weight of those alive does.

    Parameters
    ----------
    days, event : numpy.ndarray, shape (n_samples,)
        Follow-up of the samples.
    curves
        Survival curves that a model predicts for them.
    censoring
        The cases on which censoring is estimated.
    """
    last = curves.cuts[-1]
    moments = np.unique(np.concatenate([[0.0], curves.cuts, days, censoring.days.astype(float)]))
    starts = moments[moments < last]
    lengths = np.diff(np.r_[starts, last])
    steps = np.column_stack([np.ones(len(days)), curves.survival])
    alive = steps[:, np.searchsorted(curves.cuts, starts, side="right")]  # (samples, pieces)
    inverse = 1 / censoring.uncensored(starts)
    dead = event & (days < last)
    own = np.where(dead, 1 / np.where(dead, censoring.uncensored(days), 1), 0)
    followed = days[:, None] > starts
    errors = np.where(followed, np.square(1 - alive) * inverse, np.square(alive) * own[:, None])
    integrated: np.ndarray = errors @ lengths / last
    return integrated


def in_tenths(days: np.ndarray, event: np.ndarray, curves: Curves) -> np.ndarray:
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
    edges = np.linspace(0, 1, TENTHS + 1)
    overlap = np.clip(np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1]), 0, None)
    # A curve that does not fall where the death was leaves a point.
    point = np.eye(TENTHS)[np.clip(np.ceil(high * TENTHS).astype(int) - 1, 0, TENTHS - 1)]
    width = overlap.sum(axis=1, keepdims=True)
    return np.where(width > 0, overlap / np.where(width > 0, width, 1), point)


def chi_square_p(tenths: np.ndarray, cases: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the p-value that all tenths have the same share, a case counting as one of its samples: (resamples,).

    A sample is spread over several tenths where its death is not known exactly, which makes Pearson's statistic smaller
    than that of whole counts. It is a sum of squares of normal variables all the same, whose first two moments are told
    from the cases (Satterthwaite's approximation, as Rao and Scott have it); of whole counts it is Pearson's test.

    Parameters
    ----------
    tenths : numpy.ndarray, shape (n_samples, 10)
        As `in_tenths` gives them.
    cases : numpy.ndarray, shape (n_samples,)
        The case of each sample.
    counts : numpy.ndarray, shape (resamples, n_samples)
        How often each sample is drawn, alike for those of a case.
    """
    from scipy.stats import chi2

    names, first, case, size = np.unique(cases.astype(str), return_index=True, return_inverse=True, return_counts=True)
    excess = np.zeros((len(names), TENTHS))
    np.add.at(excess, case, (tenths - 1 / TENTHS) / size[case][:, None])
    drawn = counts[:, first]
    total = or_undefined(drawn.sum(axis=1))
    statistic = TENTHS * np.square(drawn @ excess).sum(axis=1) / total
    # Of the covariance of a case's excess under the null: its trace, and the sum of its squares.
    products = np.einsum("cb,cd->cbd", excess, excess).reshape(len(names), -1)
    trace = TENTHS * (drawn @ np.square(excess).sum(axis=1)) / total
    squares = TENTHS**2 * np.square(drawn @ products / total[:, None]).sum(axis=1)
    known = np.where(squares > 0, squares, NAN)
    p: np.ndarray = chi2.sf(statistic * trace / known, trace**2 / known)
    return p
