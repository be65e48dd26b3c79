"""What is measured of a table of test samples: the further metrics of Table S1, and all metrics together."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ksfusion.results.config import ShownTask
from ksfusion.results.measures import ONE_CLASS, Measure, Measured, PaperMeasure, apart, of_absent_classes, with_all
from ksfusion.results.metrics.further_classes import ClassScoring, further_classification
from ksfusion.results.metrics.further_survival import CensoringDistribution, Curves, SurvivalSamples, further_survival
from ksfusion.results.metrics.names import FURTHER_MACRO_METRICS, OF_CLASS, further_survival_metrics
from ksfusion.results.runs import Run, RunCurves, outcome_columns, survival_columns


@dataclass(frozen=True)
class FurtherMeasure:
    """The further metrics of a task of classification.

    Attributes
    ----------
    task
        The task.
    by_class
        Score each class by itself too.
    """

    task: ShownTask
    by_class: bool = True

    @property
    def metrics(self) -> Sequence[str]:
        """Those of the task's classes."""
        return self._scoring.metrics

    @property
    def _scoring(self) -> ClassScoring:
        return class_scoring(self.task, by_class=self.by_class)

    def __call__(self, table: pd.DataFrame, weights: np.ndarray, *, fold: int, seed: int) -> Measured:
        """See `Measure`."""
        _, prediction = outcome_columns(self.task)
        labels, probabilities = table["y"].to_numpy(), table[prediction].to_numpy()
        both = further_classification(
            labels, probabilities, table["cohort"].to_numpy(str), with_all(weights), self._scoring
        )
        values, draws = apart(both)
        reasons = of_absent_classes(FURTHER_MACRO_METRICS, table, self.task)
        several = labels.min() < labels.max()
        for metric, value in values.items():
            if np.isnan(value) and not several:
                reasons[metric] = ONE_CLASS
            elif np.isnan(value) and metric == "auc_within":
                reasons[metric] = "no two test samples of one cohort and different classes"
            elif np.isnan(value) and OF_CLASS in metric:
                reasons[metric] = "no test sample of this class"
        return Measured(values, draws, reasons)


@dataclass(frozen=True, eq=False)
class FurtherSurvivalMeasure:
    """The further metrics of a task of survival.

    Attributes
    ----------
    task
        The task.
    curves
        Of each fold and seed, the cuts of its curves and the cases on which censoring is estimated.
    times
        Days at which time-dependent AUC is evaluated.
    """

    task: ShownTask
    curves: Mapping[tuple[int, int], RunCurves]
    times: Sequence[float]

    @property
    def metrics(self) -> Sequence[str]:
        """Those of survival, with an area for each time."""
        return further_survival_metrics(self.times)

    def __call__(self, table: pd.DataFrame, weights: np.ndarray, *, fold: int, seed: int) -> Measured:
        """See `Measure`."""
        known = self.curves[fold, seed]
        both, reasons = further_survival(
            survival_samples(table),
            predicted_curves(table, known),
            with_all(weights),
            censoring=censoring_distribution(known),
            times=self.times,
        )
        values, draws = apart(both)
        return Measured(values, draws, reasons)


@dataclass(frozen=True)
class NoMeasure:
    """Nothing: regression has no further metrics."""

    metrics: Sequence[str] = ()

    def __call__(self, table: pd.DataFrame, weights: np.ndarray, *, fold: int, seed: int) -> Measured:
        """See `Measure`."""
        return Measured({}, {}, {})


@dataclass(frozen=True)
class FurtherMeasures:
    """The further metrics of every task.

    Attributes
    ----------
    times
        Of survival, days at which time-dependent AUC is evaluated.
    by_class
        Score each class by itself too.
    """

    times: Sequence[float] = ()
    by_class: bool = True

    def __call__(self, task: ShownTask, runs: Sequence[Run]) -> Measure:
        """Return what is measured of a task, given the runs of a method."""
        if task.kind == "regression":
            return NoMeasure()
        if task.kind == "survival":
            return FurtherSurvivalMeasure(task, {(run.fold, run.seed): run.curves for run in runs}, self.times)
        return FurtherMeasure(task, self.by_class)


@dataclass(frozen=True)
class JoinedMeasure:
    """Several measures, one after the other."""

    parts: Sequence[Measure]

    @property
    def metrics(self) -> Sequence[str]:
        """Those of each."""
        return [metric for part in self.parts for metric in part.metrics]

    def __call__(self, table: pd.DataFrame, weights: np.ndarray, *, fold: int, seed: int) -> Measured:
        """See `Measure`."""
        values: dict[str, float] = {}
        draws: dict[str, np.ndarray] = {}
        reasons: dict[str, str] = {}
        for part in self.parts:
            found = part(table, weights, fold=fold, seed=seed)
            values.update(found.values), draws.update(found.draws), reasons.update(found.reasons)
        return Measured(values, draws, reasons)


@dataclass(frozen=True)
class AllMeasures:
    """The metrics of the paper's tables, then those of Table S1 but for single classes.

    Attributes
    ----------
    times
        Of survival, days at which time-dependent AUC is evaluated.
    """

    times: Sequence[float] = ()

    def __call__(self, task: ShownTask, runs: Sequence[Run]) -> JoinedMeasure:
        """Return what is measured of a task, given the runs of a method."""
        further = FurtherMeasures(self.times, by_class=False)
        return JoinedMeasure((PaperMeasure(task, quick=True), further(task, runs)))


def class_scoring(task: ShownTask, *, by_class: bool) -> ClassScoring:
    """Return what is asked of the classes of a task, and whether each is scored by itself too."""
    return ClassScoring(task.classes, ordered=task.ordered, positive=task.positive_number, by_class=by_class)


def survival_samples(table: pd.DataFrame) -> SurvivalSamples:
    """Return the samples of a table as the metrics of survival know them."""
    return SurvivalSamples(
        *(table[column].to_numpy(float) for column in ("days", "event")),
        *(table[column].to_numpy(str) for column in ("case_id", "cohort")),
    )


@functools.lru_cache(maxsize=1024)
def censoring_distribution(known: RunCurves) -> CensoringDistribution:
    """Return the cases on which censoring is estimated for a run."""
    return CensoringDistribution(known.days, known.event)


def predicted_curves(table: pd.DataFrame, known: RunCurves) -> Curves:
    """Return what a run predicts of the survival of the samples of a table."""
    survival = table[survival_columns(len(known.cuts))].to_numpy(float)
    return Curves(table["risk"].to_numpy(float), survival, np.array(known.cuts))
