"""Temperatures, fitted on validation cases, and the mean of members that they calibrate.

The members of a fold are averaged first, a case's samples with them, and the mean is calibrated [1]_: of classes the
logarithms of the mean probabilities are divided by the temperature [2]_; of survival the logits of the hazards of the
mean curve, about the mean logit of each interval over the training cases, so that a temperature above 1 brings every
curve closer to their mean curve and one of 1 changes nothing. Ranks of classes stay as they are; risks and percentiles
are told without it. A number (regression) has no confidence that could be too high, and gets none.

Where the few validation cases are all told right, the likeliest temperature would be 0. So the truth of classes is
taken as Platt's targets [3]_, of n cases of a class (n + 1) / (n + 2) in the place of 1.

References
----------
.. [1] Rahaman and Thiery, Uncertainty quantification and deep ensembles, NeurIPS 34 (2021), arXiv:2007.08792.
.. [2] Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 34 (2017), arXiv:1706.04599.
.. [3] Platt, Probabilistic outputs for support vector machines, in: Advances in large margin classifiers, MIT Press
   (1999).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit

from ksfusion.bundles.config import FoldCalibration, Temperature
from ksfusion.terms.tasks import HAZARD, RISK, TaskOutcome, hazard_columns, prediction_columns
from ksfusion.training.losses import interval_of

# A probability is taken as no smaller: the logarithm of 0 has no place on any scale.
SMALLEST = 1e-12
# Of the temperature. At the upper end the models say no more than the mean; at the lower, that one always knows.
BOUNDS = (0.05, 20.0)
AT_THE_END = 1.01
CERTAIN = "the {} validation cases are too few to tell one: the smaller it is, the likelier they are"
# Fewer cases tell no temperature.
FEWEST_CASES = 5


def hazards_in(table: pd.DataFrame) -> list[str]:
    """Return the columns of the hazards of a table of predictions, in the order of the intervals."""
    return hazard_columns(sum(name.startswith(HAZARD) for name in table))


def mean_by_case(tables: Sequence[pd.DataFrame], task: TaskOutcome) -> pd.DataFrame:
    """Return a row for each case: the mean over the members of one fold and over the case's samples.

    Parameters
    ----------
    tables : sequence of pandas.DataFrame
        What each member of a fold predicts of the same samples (`ksfusion.bundles.predict.member_predictions`, or
        ``predictions.parquet``).
    task
        What is predicted.

    Returns
    -------
    pandas.DataFrame
        case_id, cohort, split, the truth where the tables have it, and the predictions; sorted by case_id. Hazards are
        those of the mean survival curve.
    """
    rows = pd.concat(tables, ignore_index=True)
    kept = [name for name in ("cohort", "split", "y", "days", "event") if name in rows]
    if task.kind == "survival":
        hazards = hazards_in(rows)
        alive = (1 - rows[hazards]).cumprod(axis=1)
        predicted = alive.join(rows[RISK])
    else:
        predicted = rows[prediction_columns(task)]
    groups = rows["case_id"]
    means = predicted.groupby(groups, sort=True).mean()
    if task.kind == "survival":
        means[hazards] = _hazards(means[hazards].to_numpy())
    return rows.groupby("case_id", sort=True)[kept].first().join(means).reset_index()


def _hazards(alive: np.ndarray) -> np.ndarray:
    """Return the hazards of survival curves, (n, intervals)."""
    before = np.column_stack([np.ones(len(alive)), alive[:, :-1]])
    return 1 - np.divide(alive, before, out=np.zeros_like(alive), where=before > 0)


def calibrated(cases: pd.DataFrame, calibration: FoldCalibration, task: TaskOutcome) -> pd.DataFrame | None:
    """Return the cases of `mean_by_case` with calibrated probabilities, or hazards; None without a temperature."""
    temperature = calibration.temperature
    if temperature is None or task.kind == "regression":
        return None
    if task.kind == "classification":
        columns = prediction_columns(task)
        values = np.exp(_log_probabilities(cases[columns].to_numpy(float), temperature.value))
    else:
        columns = hazards_in(cases)
        values = expit(_hazard_logits(cases[columns].to_numpy(float), temperature.value, np.array(temperature.centre)))
    return cases.assign(**dict(zip(columns, values.T, strict=True)))


def _log_probabilities(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the logarithms of calibrated probabilities, (n, classes)."""
    logarithms: np.ndarray = log_softmax(np.log(np.maximum(probabilities, SMALLEST)) / temperature, axis=1)
    return logarithms


def _hazard_logits(hazards: np.ndarray, temperature: float, centre: np.ndarray | float) -> np.ndarray:
    """Return the logits of calibrated hazards, (n, intervals)."""
    logits: np.ndarray = centre + (logit(np.clip(hazards, SMALLEST, 1 - SMALLEST)) - centre) / temperature
    return logits


def fit_temperature(
    val: pd.DataFrame, train: pd.DataFrame, task: TaskOutcome, cuts: Sequence[float]
) -> FoldCalibration:
    """Fit the temperature of a fold: that with the highest likelihood of the validation cases.

    Parameters
    ----------
    val, train : pandas.DataFrame
        Validation and training cases of `mean_by_case`; those without truth are left out.
    task
        What is predicted.
    cuts
        Of survival, the days at which intervals end.

    Returns
    -------
    FoldCalibration
        Without conformal scores.
    """
    if task.kind == "regression":
        return FoldCalibration(no_temperature="a predicted number has no probability that could be calibrated")
    truth = ["y"] if task.kind == "classification" else ["days", "event"]
    val, train = (cases.dropna(subset=truth) for cases in (val, train))
    if len(val) < FEWEST_CASES:
        return FoldCalibration(no_temperature=f"{len(val)} validation cases; {FEWEST_CASES} are the fewest")
    centre = np.empty(0)
    if task.kind == "survival":
        hazards = train[hazards_in(train)].to_numpy(float)
        centre = logit(np.clip(hazards, SMALLEST, 1 - SMALLEST)).mean(axis=0)

    def loss(temperature: float) -> float:
        return log_loss(val, task, cuts, temperature=temperature, centre=centre)

    fitted = _smoothed_loss(val, task) if task.kind == "classification" else loss
    found = minimize_scalar(lambda log: fitted(float(np.exp(log))), bounds=np.log(BOUNDS), method="bounded")
    value = float(np.exp(found.x))
    if value < BOUNDS[0] * AT_THE_END:
        return FoldCalibration(no_temperature=CERTAIN.format(len(val)))
    return FoldCalibration(
        temperature=Temperature(
            value=value, centre=centre.tolist(), cases=len(val), loss_raw=loss(1.0), loss_calibrated=loss(value)
        )
    )


def _smoothed_loss(cases: pd.DataFrame, task: TaskOutcome) -> Callable[[float], float]:
    """Return the cross-entropy of cases with Platt's targets, by temperature."""
    labels, classes = cases["y"].to_numpy(int), len(task.classes)
    counts = np.bincount(labels, minlength=classes)
    own = ((counts + 1) / (counts + 2))[labels]
    targets = np.repeat((1 - own)[:, None] / (classes - 1), classes, axis=1)
    targets[np.arange(len(cases)), labels] = own
    probabilities = cases[prediction_columns(task)].to_numpy(float)
    return lambda temperature: float(-(targets * _log_probabilities(probabilities, temperature)).sum(axis=1).mean())


def log_loss(
    cases: pd.DataFrame,
    task: TaskOutcome,
    cuts: Sequence[float],
    *,
    temperature: float = 1.0,
    centre: np.ndarray | float = 0.0,
) -> float:
    """Return the mean negative log-likelihood of cases of `mean_by_case`, all with their truth, at a temperature.

    Parameters
    ----------
    cases : pandas.DataFrame
        The cases.
    task
        What is predicted: classes, or survival.
    cuts
        Of survival, the days at which intervals end.
    temperature, centre
        See `ksfusion.bundles.config.Temperature`.
    """
    rows = np.arange(len(cases))
    if task.kind == "classification":
        logarithms = _log_probabilities(cases[prediction_columns(task)].to_numpy(float), temperature)
        return float(-logarithms[rows, cases["y"].to_numpy(int)].mean())
    logits = _hazard_logits(cases[hazards_in(cases)].to_numpy(float), temperature, centre)
    log_hazard, log_survival = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    interval = interval_of(cases["days"].to_numpy(float), cuts)
    lived = np.where(np.arange(logits.shape[1]) < interval[:, None], log_survival, 0).sum(axis=1)
    died = cases["event"].to_numpy(float) > 0
    last = np.where(died, log_hazard[rows, interval], log_survival[rows, interval])
    return float(-(lived + last).mean())
