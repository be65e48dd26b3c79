"""What is measured of a table of test samples: the metrics of the paper's tables.

The further ones are in `ksfusion.results.further_measures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from ksfusion.results.config import ShownTask
from ksfusion.results.metrics import (
    MACRO_METRICS,
    METRICS,
    absent_classes,
    classification_metrics,
    survival_metrics,
)
from ksfusion.results.metrics.regression import regression_metrics, resampled_regression
from ksfusion.results.runs import Run, outcome_columns
from ksfusion.results.statistics import resampled_classification, resampled_survival
from ksfusion.terms.tasks import PREDICTED

ONE_CLASS = "one class only among the test samples"
# Of a metric that is not defined, by the kind of task.
WHY_UNKNOWN = {
    "survival": "no pair of test samples can be compared",
    "regression": "all test samples have the same value, or the same prediction",
}


@dataclass(frozen=True, eq=False)
class Measured:
    """What is measured of the samples of one run.

    Attributes
    ----------
    values
        Metric to value; NaN where not known.
    draws : mapping of metric to numpy.ndarray (resamples,)
        The same of each draw of cases.
    reasons
        Metric to what the samples lack for it; those that lack nothing may be left out.
    """

    values: Mapping[str, float]
    draws: Mapping[str, np.ndarray]
    reasons: Mapping[str, str]


class Measure(Protocol):
    """What is measured of a task."""

    @property
    def metrics(self) -> Sequence[str]:
        """The names of the metrics, in the order of the table."""
        ...

    def __call__(self, table: pd.DataFrame, weights: np.ndarray, *, fold: int, seed: int) -> Measured:
        """Measure a table as `ksfusion.results.runs.Run.test` of a fold and seed.

        Parameters
        ----------
        table
            The samples, or cases; one at least.
        weights : numpy.ndarray, shape (resamples, n_samples)
            Number of times that each sample is drawn.
        fold, seed
            Fold and seed of the run.
        """
        ...


@dataclass(frozen=True)
class PaperMeasure:
    """The metrics of the paper's tables.

    Attributes
    ----------
    task
        The task.
    quick
        Compute the metrics themselves as those of the draws are, which takes less time than scikit-learn and
        scikit-survival do.
    """

    task: ShownTask
    quick: bool = False

    @property
    def metrics(self) -> Sequence[str]:
        """Those of the kind of task."""
        return METRICS[self.task.kind]

    def __call__(self, table: pd.DataFrame, weights: np.ndarray, *, fold: int, seed: int) -> Measured:
        """See `Measure`."""
        if self.quick:
            values, draws = apart(self._draw(table, with_all(weights)))
        else:
            values, draws = self._score(table), self._draw(table, weights)
        if self.task.kind == "classification":
            return Measured(values, draws, of_absent_classes(MACRO_METRICS, table, self.task))
        unknown = [metric for metric, value in values.items() if np.isnan(value)]
        return Measured(values, draws, dict.fromkeys(unknown, WHY_UNKNOWN[self.task.kind]))

    def _score(self, table: pd.DataFrame) -> dict[str, float]:
        if self.task.kind == "survival":
            return survival_metrics(table["days"], table["event"], table["risk"])
        if self.task.kind == "regression":
            return regression_metrics(table["y"], table[PREDICTED])
        return classification_metrics(table["y"], table[self._probabilities], positive=self.task.positive_number)

    def _draw(self, table: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
        if self.task.kind == "survival":
            return resampled_survival(table["days"], table["event"], table["risk"], weights)
        if self.task.kind == "regression":
            return resampled_regression(table["y"], table[PREDICTED], weights)
        positive = self.task.positive_number
        return resampled_classification(table["y"], table[self._probabilities], weights, positive=positive)

    @property
    def _probabilities(self) -> list[str]:
        return outcome_columns(self.task)[1]


def paper_measure(task: ShownTask, runs: Sequence[Run]) -> Measure:
    """Return the metrics of the paper's tables for a task."""
    return PaperMeasure(task)


def with_all(weights: np.ndarray) -> np.ndarray:
    """Return draws with one before them that has each sample once: the metrics themselves."""
    return np.concatenate([np.ones((1, weights.shape[1])), weights])


def apart(both: Mapping[str, np.ndarray]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the metrics themselves, and those of the draws; see `with_all`."""
    values = {metric: float(found[0]) for metric, found in both.items()}
    return values, {metric: found[1:] for metric, found in both.items()}


def of_absent_classes(metrics: Sequence[str], table: pd.DataFrame, task: ShownTask) -> dict[str, str]:
    """Return what averages over classes lack: metric to reason."""
    absent = [task.class_labels()[number] for number in absent_classes(table["y"], len(task.classes))]
    if not absent:
        return {}
    if len(absent) == len(task.classes) - 1:
        return dict.fromkeys(metrics, ONE_CLASS)
    return dict.fromkeys(metrics, f"no test sample of {', '.join(absent)}: average over the other classes")
