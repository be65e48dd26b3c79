"""The metrics of predicted risks, and of survival curves at given times."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ksfusion.results.metrics.checks import check_finite
from ksfusion.results.metrics.names import NAN
from ksfusion.terms.ties import TIED_RISK


def survival_metrics(
    days: ArrayLike,
    event: ArrayLike,
    risk: ArrayLike,
    survival: ArrayLike | None = None,
    times: ArrayLike | None = None,
    train: tuple[ArrayLike, ArrayLike] | None = None,
) -> dict[str, float]:
    """Score predicted risks and, where given, survival curves.

    Parameters
    ----------
    days : array-like, shape (n_samples,)
        Days to death or to the last contact.
    event : array-like, shape (n_samples,)
        1 where the case died, 0 where it was censored.
    risk : array-like, shape (n_samples,)
        Higher means an earlier death.
    survival : array-like, shape (n_samples, n_times), optional
        Predicted probability of being alive at ``times``.
    times : array-like, shape (n_times,), optional
        Days, ascending.
    train : (days, event), optional
        Follow-up of the training samples, from which censoring is estimated.

    Returns
    -------
    dict
        ``c_index`` (Harrell's, a tie in risk counts one half), in percent, NaN where no pair can be compared. With
        ``survival``, ``times`` and ``train`` also ``integrated_brier`` and ``time_dependent_auc`` (mean over
        ``times``), in percent, NaN where the follow-up does not cover ``times``.

    Raises
    ------
    ValueError
        If shapes do not agree, a value is not finite, a time is negative, or an event is neither 0 nor 1.
    """
    from sksurv.metrics import concordance_index_censored

    followed, died, risks = check_survival(days, event, risk)
    concordance = NAN
    if comparable_pairs(followed, died).any():
        concordance = concordance_index_censored(died, followed, risks, tied_tol=TIED_RISK)[0]
    metrics = {"c_index": 100 * float(concordance)}
    if survival is not None and times is not None and train is not None:
        metrics.update(_curve_metrics(followed, died, risks, np.asarray(survival), np.asarray(times), train))
    return metrics


def comparable_pairs(days: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return of each pair (row i, column j) whether i is known to have died before j.

    Who is censored on the day another dies outlived the other.

    Parameters
    ----------
    days : numpy.ndarray, shape (n_samples,)
        Days to death or to the last contact.
    event : numpy.ndarray of bool, shape (n_samples,)
        Whether the case died.

    Returns
    -------
    numpy.ndarray of bool, shape (n_samples, n_samples)
    """
    earlier: np.ndarray = event[:, None] & ((days[:, None] < days) | ((days[:, None] == days) & ~event))
    return earlier


def _curve_metrics(
    days: np.ndarray,
    event: np.ndarray,
    risk: np.ndarray,
    survival: np.ndarray,
    times: np.ndarray,
    train: tuple[ArrayLike, ArrayLike],
) -> dict[str, float]:
    from sksurv.metrics import cumulative_dynamic_auc, integrated_brier_score
    from sksurv.util import Surv

    train_days, train_event, _ = check_survival(*train, np.zeros_like(train[0], dtype=float))
    if survival.shape != (len(days), len(times)) or not np.isfinite(survival).all():
        raise ValueError("survival must be finite, one row per sample and one column per time")
    if len(times) < 2 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError("times must be at least two, finite and ascending")
    known, test = Surv.from_arrays(train_event, train_days), Surv.from_arrays(event, days)

    def in_percent(estimate: Callable[[], float]) -> float:
        # The inputs are sound; what scikit-survival still refuses are times that the follow-up does not cover.
        try:
            with np.errstate(invalid="ignore", divide="ignore"):
                return 100 * float(estimate())
        except ValueError:
            return NAN

    return {
        "integrated_brier": in_percent(lambda: integrated_brier_score(known, test, survival, times)),
        "time_dependent_auc": in_percent(lambda: cumulative_dynamic_auc(known, test, risk, times)[1]),
    }


def check_survival(days: ArrayLike, event: ArrayLike, risk: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return days, event (bool) and risk, each (n,), as arrays, or raise ValueError."""
    given = {"days": days, "event": event, "risk": risk}
    values = {name: np.asarray(value, dtype=float) for name, value in given.items()}
    if len({value.shape for value in values.values()}) != 1 or values["days"].ndim != 1:
        raise ValueError("days, event and risk must have one value per sample")
    check_finite(**values)
    if (values["days"] < 0).any():
        raise ValueError("days must not be negative")
    if not np.isin(values["event"], (0, 1)).all():
        raise ValueError("event must be 0 or 1")
    return values["days"], values["event"].astype(bool), values["risk"]
