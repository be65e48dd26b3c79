"""The answer for each new patient: one, whatever the number of slides, profiles and models, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.bundles.calibration import calibrated, hazards_in, mean_by_case
from ksfusion.bundles.conformal import conformal_set
from ksfusion.bundles.members import Fold, Member
from ksfusion.terms.tasks import TaskOutcome, prediction_columns

# Of what is told of a case by its mean percentile among the training cases of each model.
HALF = 50.0
# Sides of a case that taught a model nothing: neither weights nor epoch, temperature or conformal scores.
UNSEEN = ("test", "external")


@dataclass(frozen=True)
class Spread:
    """A number of a case: the mean over models, and how far these lie apart.

    Attributes
    ----------
    mean, sd, low, high
        Over models; the sd is NaN of one.
    """

    mean: float
    sd: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of the values of all models."""
        own = np.asarray(values, dtype=float)
        sd = float(own.std(ddof=1)) if len(own) > 1 else float("nan")
        return cls(float(own.mean()), sd, float(own.min()), float(own.max()))


@dataclass(frozen=True)
class Curve:
    """A survival curve: the probability of being alive at each of some days."""

    days: list[float]
    alive: list[float]


@dataclass(frozen=True)
class Answer:
    """What is predicted of a case.

    Attributes
    ----------
    values
        The probability of each class, the risk, or the number, by its column in ``predictions.parquet``.
    calibrated
        Of classes: each after temperature scaling; empty without a temperature.
    no_temperature
        Why there is none.
    members
        What each model says: fold, seed, the split of the case in it (empty for a new one), its values, and of survival
        its percentile and curve.
    percentile
        Of risk, or number: the share of training cases of a model that have a lower one, mean over models, in percent.
    group
        Of survival: ``low`` or ``high``, on which side of the median of training cases.
    curve, calibrated_curve
        Of survival: the mean over models.
    conformal
        Of classes: the set's classes, its level, and why there is none.
    """

    values: dict[str, Spread]
    calibrated: dict[str, float] = field(default_factory=dict)
    no_temperature: str = ""
    members: list[dict[str, Any]] = field(default_factory=list)
    percentile: Spread | None = None
    group: str = ""
    curve: Curve | None = None
    calibrated_curve: Curve | None = None
    conformal: dict[str, Any] | None = None

    def record(self) -> dict[str, Any]:
        """Return the answer as JSON can hold it."""
        return _without_nan(asdict(self))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def counting_folds(splits: Mapping[int, str], folds: Sequence[Fold]) -> list[Fold]:
    """Return the folds whose models answer for a case: those that it taught nothing, or all where it taught each.

    Parameters
    ----------
    splits
        Of the case in the folds of the study; empty for a new case, which taught none.
    folds
        Of the bundle.
    """
    untaught = [fold for fold in folds if splits.get(fold.number, UNSEEN[0]) in UNSEEN]
    return untaught or list(folds)


def answer_of(
    case_id: str,
    tables: Mapping[Member, pd.DataFrame],
    folds: Sequence[Fold],
    splits: Mapping[int, str],
    task: TaskOutcome,
    *,
    level: float,
) -> Answer:
    """Return what the models of a bundle say of a case.

    Parameters
    ----------
    case_id
        The case.
    tables
        What each member predicts of the samples (`ksfusion.bundles.predict.member_predictions`).
    folds
        Of the bundle.
    splits
        Split of the case in the folds of the study; empty for a new one.
    task
        What is predicted.
    level
        Of the conformal set.
    """
    counting = counting_folds(splits, folds)
    own = {member: table[table["case_id"] == case_id] for member, table in tables.items()}
    by_member = {member: mean_by_case([own[member]], task).iloc[0] for fold in counting for member in fold.members}
    by_fold = {fold.number: mean_by_case([own[member] for member in fold.members], task) for fold in counting}
    scaled = {fold.number: calibrated(by_fold[fold.number], fold.calibration, task) for fold in counting}
    columns = prediction_columns(task)
    answer: dict[str, Any] = {
        "values": {name: Spread.of([row[name] for row in by_member.values()]) for name in columns},
        "members": [_said(member, row, splits, task) for member, row in by_member.items()],
        "no_temperature": next((fold.calibration.no_temperature for fold in counting), ""),
    }
    complete = {number: table for number, table in scaled.items() if table is not None}
    if len(complete) == len(counting):
        answer["no_temperature"] = ""
    else:
        complete = {}
    if task.kind == "classification":
        answer |= _of_classes(complete, counting, task, level)
    else:
        percentiles = [entry["percentile"] for entry in answer["members"]]
        answer["percentile"] = Spread.of(percentiles)
    if task.kind == "survival":
        cuts = {fold.number: fold.members[0].cuts for fold in counting}
        answer["group"] = "high" if answer["percentile"].mean > HALF else "low"
        answer["curve"] = _mean_curve(by_fold, cuts)
        answer["calibrated_curve"] = _mean_curve(complete, cuts) if complete else None
    return Answer(**answer)


def _said(member: Member, row: pd.Series, splits: Mapping[int, str], task: TaskOutcome) -> dict[str, Any]:
    """Return what a model says of a case."""
    columns = prediction_columns(task)
    said: dict[str, Any] = {"fold": member.fold, "seed": member.seed, "side": splits.get(member.fold, "")}
    said["values"] = {name: float(row[name]) for name in columns}
    if task.kind != "classification":
        said["percentile"] = percentile(float(row[columns[0]]), member.reference)
    if task.kind == "survival":
        said["curve"] = asdict(_curve(row, member.cuts))
    return said


def percentile(value: float, reference: np.ndarray) -> float:
    """Return the share of training values that lie below a value, equal ones counting half, in percent.

    Parameters
    ----------
    value
        The risk or number of a case.
    reference : numpy.ndarray (cases,)
        Those of the training cases, ascending.
    """
    below, not_above = (np.searchsorted(reference, value, side=side) for side in ("left", "right"))
    return 100 * float(below + not_above) / 2 / len(reference) if len(reference) else float("nan")


def _of_classes(
    scaled: Mapping[int, pd.DataFrame], folds: Sequence[Fold], task: TaskOutcome, level: float
) -> dict[str, Any]:
    """Return the calibrated probabilities, mean over folds, and the conformal set."""
    if not scaled:
        return {}
    columns = prediction_columns(task)
    probabilities = [table[columns].to_numpy(float)[0] for table in scaled.values()]
    mean = dict(zip(columns, np.mean(probabilities, axis=0).tolist(), strict=True))
    without = next((fold.calibration.no_scores for fold in folds if not fold.calibration.scores), "")
    if without:
        return {"calibrated": mean, "conformal": {"classes": [], "level": level, "reason": without}}
    found = conformal_set(probabilities, [fold.calibration.scores for fold in folds], task.classes, level=level)
    return {"calibrated": mean, "conformal": {**found._asdict(), "classes": list(found.classes)}}


def _curve(row: pd.Series, cuts: Sequence[float]) -> Curve:
    """Return the survival curve of a row of hazards: the probability of being alive at the end of each interval."""
    hazards = row[hazards_in(row.to_frame().T)].to_numpy(float)
    return Curve(list(map(float, cuts)), np.cumprod(1 - hazards)[: len(cuts)].tolist())


def _mean_curve(by_fold: Mapping[int, pd.DataFrame], cuts: Mapping[int, Sequence[float]]) -> Curve:
    """Return the mean of the folds' curves, at the days of all of them as far as each reaches."""
    curves = [_curve(table.iloc[0], cuts[number]) for number, table in by_fold.items()]
    last = min(curve.days[-1] for curve in curves)
    days = sorted({day for curve in curves for day in curve.days if day <= last})
    return Curve(days, np.mean([[alive_at(curve, day) for day in days] for curve in curves], axis=0).tolist())


def alive_at(curve: Curve, day: float) -> float:
    """Return the probability of being alive at a day, the curve falling at its days alone; NaN beyond its last."""
    if day > curve.days[-1]:
        return float("nan")
    return float([1.0, *curve.alive][int(np.searchsorted(curve.days, day, side="right"))])
