"""The further metrics of survival, of many draws of cases at once; with weights of one they are the metrics.

A model says how likely a case is alive at each cut of time; between cuts its curve is a step function, so that what is
integrated goes to the last cut. What censoring hides is weighted by the inverse probability of not being censored,
estimated by Kaplan-Meier on the cases of training, or on those of an external cohort itself.

References
----------
.. [1] Uno et al., On the C-statistics for evaluating overall adequacy of risk prediction procedures with censored
       survival data, Statistics in Medicine 30, 1105-1117 (2011).
.. [2] Graf et al., Assessment and comparison of prognostic classification schemes for survival data, Statistics in
       Medicine 18, 2529-2545 (1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ksfusion.results.metrics.areas import or_undefined
from ksfusion.results.metrics.d_calibration import chi_square_p, decile_deviation, decile_shares
from ksfusion.results.metrics.names import NAN, further_survival_metrics, metric_at
from ksfusion.results.metrics.survival import check_survival, comparable_pairs
from ksfusion.terms.ties import TIED_RISK

# Metrics that need survival curves, and a follow-up until their last cut.
OF_CURVES = ("uno_c", "integrated_brier", "d_calibration", "d_calibration_p")


@dataclass(frozen=True, eq=False)
class CensoringDistribution:
    """The probability of not being censored, by Kaplan-Meier on some cases.

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

    def ipc_weights(self, days: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return the inverse-probability-of-censoring weights where chosen, else 0."""
        return np.where(chosen, 1 / np.where(chosen, self.uncensored(days), 1), 0)

    def covers(self, days: float) -> bool:
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
class SurvivalSamples:
    """The test samples: days, whether each died, its case and its cohort, each (n_samples,)."""

    days: np.ndarray
    event: np.ndarray
    cases: np.ndarray
    cohorts: np.ndarray


def further_survival(
    samples: SurvivalSamples,
    curves: Curves,
    weights: np.ndarray,
    *,
    censoring: CensoringDistribution,
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
        The censoring of the cases of training, or of the external cohort.
    times
        Days at which the time-dependent AUC is evaluated.

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
    difference = risk[:, None] - risk
    concordant = np.where(np.abs(difference) <= TIED_RISK, 0.5, difference > 0)
    pairs, reasons = scored_pairs(samples, curves.cuts, censoring=censoring, times=times)
    values |= {metric: 100 * _concordance(concordant, table, counts) for metric, table in pairs.items()}
    if why_no_curve(days, curves.cuts, censoring):
        return values, reasons
    errors = integrated_errors(days, event, curves, censoring)
    values["integrated_brier"] = 100 * (counts @ errors) / or_undefined(counts.sum(axis=1))
    deciles = decile_shares(days, event, curves)
    values["d_calibration"] = decile_deviation(counts @ deciles)
    values["d_calibration_p"] = 100 * chi_square_p(deciles, samples.cases, counts)
    return values, reasons


def scored_pairs(
    samples: SurvivalSamples, cuts: np.ndarray, *, censoring: CensoringDistribution, times: Sequence[float]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return of each metric that compares pairs of samples how much each pair weighs in it.

    Parameters
    ----------
    samples
        The test samples.
    cuts : numpy.ndarray, shape (n_cuts,)
        Days at which survival is predicted, ascending.
    censoring
        The censoring of the cases of training, or of the external cohort.
    times
        Days at which the time-dependent AUC is evaluated.

    Returns
    -------
    pairs : dict
        Metric to weights, shape (n_samples, n_samples): the sample of the row should have the higher risk.
    reasons : dict
        Metric to why the follow-up does not allow it, where it does not; those of survival curves too.
    """
    days, event = samples.days, samples.event.astype(bool)
    comparable = comparable_pairs(days, event)
    pairs = {"c_index_within": comparable & (samples.cohorts[:, None] == samples.cohorts)}
    reasons: dict[str, str] = {}
    for at in times:
        if reason := why_no_area(days, event, at, censoring):
            reasons[metric_at(at)] = reason
        else:
            pairs[metric_at(at)] = np.outer(censoring.ipc_weights(days, event & (days <= at)), days > at)
    if reason := why_no_curve(days, cuts, censoring):
        reasons |= dict.fromkeys(OF_CURVES, reason)
    else:
        early = event & (days < cuts[-1])
        pairs["uno_c"] = comparable * np.square(censoring.ipc_weights(days, early))[:, None]
    for metric in [metric for metric, table in pairs.items() if not table.any()]:
        within = metric == "c_index_within"
        reasons[metric] = (
            "no pair of test samples of one cohort can be compared"
            if within
            else f"no pair of test samples can be compared before day {cuts[-1]:g}"
        )
        del pairs[metric]
    return pairs, reasons


def why_no_area(days: np.ndarray, event: np.ndarray, at: float, censoring: CensoringDistribution) -> str:
    """Return why there is no time-dependent area at a time; empty where there is one."""
    if not (event & (days <= at)).any():
        return f"no test sample dies until day {at:g}"
    if not (days > at).any():
        return f"no test sample is followed beyond day {at:g}"
    return "" if censoring.covers(at) else f"censoring is not known until day {at:g}: the follow-up ends before"


def why_no_curve(days: np.ndarray, cuts: np.ndarray, censoring: CensoringDistribution) -> str:
    """Return why survival curves cannot be scored until their last cut; empty where they can."""
    if not len(cuts):
        return "the run has no survival curve"
    last = cuts[-1]
    if not (days >= last).any():
        return f"no test sample is followed until the last cut, day {last:g}"
    return "" if censoring.covers(last) else f"censoring is not known until day {last:g}: the follow-up ends before"


def _concordance(concordant: np.ndarray, pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the share of concordant pairs of each draw, a pair weighing as ``pairs`` says: (resamples,)."""
    tables = (concordant * pairs, pairs.astype(float))
    won, all_pairs = (np.einsum("rn,rn->r", counts @ table, counts) for table in tables)
    share: np.ndarray = won / or_undefined(all_pairs)
    return share


def integrated_errors(
    days: np.ndarray, event: np.ndarray, curves: Curves, censoring: CensoringDistribution
) -> np.ndarray:
    """Return what each sample adds to the integrated Brier score, exactly: (n_samples,).

    The error of a sample changes at cuts, at its own time, and where the weight of those alive does.

    Parameters
    ----------
    days, event : numpy.ndarray, shape (n_samples,)
        Follow-up of the samples.
    curves
        Survival curves that a model predicts for them.
    censoring
        The censoring of the cases of training, or of the external cohort.
    """
    last = curves.cuts[-1]
    moments = np.unique(np.concatenate([[0.0], curves.cuts, days, censoring.days.astype(float)]))
    starts = moments[moments < last]
    lengths = np.diff(np.r_[starts, last])
    steps = np.column_stack([np.ones(len(days)), curves.survival])
    alive = steps[:, np.searchsorted(curves.cuts, starts, side="right")]  # (samples, pieces)
    inverse = 1 / censoring.uncensored(starts)
    own = censoring.ipc_weights(days, event & (days < last))
    followed = days[:, None] > starts
    errors = np.where(followed, np.square(1 - alive) * inverse, np.square(alive) * own[:, None])
    integrated: np.ndarray = errors @ lengths / last
    return integrated
