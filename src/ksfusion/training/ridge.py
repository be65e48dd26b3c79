"""Ridge regressions by scikit-learn and scikit-survival: of classes, of survival with Breslow's curve, of numbers.

A penalty counts in observations: what is minimised is the sum of the losses of the training cases, and half of the
penalty times the square of each coefficient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as LinearRegression
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

# Far below what any training case teaches: a class without one has probability 0.
NO_CASE = -1e4
ITERATIONS = 10_000


@dataclass(frozen=True)
class ClassRidge:
    """Logistic regression over classes.

    Attributes
    ----------
    coefficients : numpy.ndarray (classes, columns)
    intercepts : numpy.ndarray (classes,)
    """

    coefficients: np.ndarray
    intercepts: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, class_weights: Sequence[float], penalties: np.ndarray) -> ClassRidge:
        """Fit it on training cases, each counting as its class weighs.

        Parameters
        ----------
        x : numpy.ndarray (n, columns)
            Covariates.
        y : numpy.ndarray (n,), int
            Numbers of at least two classes.
        class_weights
            Weight of each class.
        penalties : numpy.ndarray (columns,)
            Penalty of each column.
        """
        narrow = Narrow.of(x, penalties)
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=ITERATIONS)
        model.fit(narrow.x, y, sample_weight=np.asarray(class_weights)[y])
        found, intercepts = narrow.widen(model.coef_), model.intercept_
        if len(model.classes_) == 2:
            found, intercepts = np.stack([np.zeros_like(found[0]), found[0]]), np.array([0.0, intercepts[0]])
        coefficients = np.zeros((len(class_weights), x.shape[1]))
        coefficients[model.classes_] = found
        of_all = np.full(len(class_weights), NO_CASE)
        of_all[model.classes_] = intercepts
        return cls(coefficients, of_all)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return the log odds of the classes, (n, classes)."""
        return x @ self.coefficients.T + self.intercepts

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what is kept of it."""
        return {"coefficients": self.coefficients, "intercepts": self.intercepts}

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray], cuts: Sequence[float]) -> ClassRidge:
        """Return the regression of which this is kept."""
        return cls(tensors["coefficients"], tensors["intercepts"])


@dataclass(frozen=True)
class CoxRidge:
    """Cox regression.

    Attributes
    ----------
    coefficients : numpy.ndarray (columns,)
    times : numpy.ndarray (m,)
        Days of the training cases, in order.
    hazard : numpy.ndarray (m,)
        Breslow's cumulative hazard of a case whose covariates are 0, from each of these days on.
    cuts
        Days that divide time into intervals.
    """

    coefficients: np.ndarray
    times: np.ndarray
    hazard: np.ndarray
    cuts: Sequence[float]

    @classmethod
    def fit(
        cls, x: np.ndarray, days: np.ndarray, event: np.ndarray, cuts: Sequence[float], penalties: np.ndarray
    ) -> CoxRidge:
        """Fit it on training cases.

        Parameters
        ----------
        x : numpy.ndarray (n, columns)
            Covariates.
        days, event : numpy.ndarray (n,)
            Time, and whether it ended in death, as that of one case at least did.
        cuts
            Days that divide time into intervals.
        penalties : numpy.ndarray (columns,)
            Penalty of each column.

        Raises
        ------
        ValueError
            If no coefficients are found.
        """
        narrow = Narrow.of(x, penalties)
        model = CoxPHSurvivalAnalysis(alpha=1.0, ties="breslow", n_iter=ITERATIONS)
        # A step that is too long has an infinite loss, and is halved.
        with np.errstate(over="ignore", invalid="ignore"):
            model.fit(narrow.x, Surv.from_arrays(event.astype(bool), days))
        curve = model.cum_baseline_hazard_
        return cls(narrow.widen(model.coef_[None])[0], np.asarray(curve.x), np.asarray(curve.y), tuple(cuts))

    def log_hazard_ratio(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm of the hazard, relative to a case whose covariates are 0, (n,)."""
        return x @ self.coefficients

    def cumulative_hazard(self, days: Sequence[float]) -> np.ndarray:
        """Return Breslow's cumulative hazard at some days, of a case whose covariates are 0; a step function."""
        steps = np.concatenate([[0.0], self.hazard])
        return steps[np.searchsorted(self.times, np.asarray(days, dtype=float), side="right")]

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return the log odds of dying in each interval when alive at its start, (n, intervals).

        The last interval ends with the training cases' follow-up. An interval in which none of them died has minus
        infinity.
        """
        ends = self.cumulative_hazard([*self.cuts, self.times[-1]])
        with np.errstate(divide="ignore"):
            log_steps = np.log(np.diff(ends, prepend=0.0))
        log_hazard = self.log_hazard_ratio(x)[:, None] + log_steps
        # The odds of 1 - exp(-h) are exp(h) - 1; of a large h its logarithm is h itself.
        hazard = np.exp(np.minimum(log_hazard, 700.0))
        with np.errstate(divide="ignore"):
            small = np.log(np.expm1(np.minimum(hazard, 30.0)))
        return np.where(hazard > 30.0, hazard, small)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what is kept of it."""
        return {"coefficients": self.coefficients, "times": self.times, "hazard": self.hazard}

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray], cuts: Sequence[float]) -> CoxRidge:
        """Return the regression of which this is kept."""
        return cls(tensors["coefficients"], tensors["times"], tensors["hazard"], tuple(cuts))


@dataclass(frozen=True)
class NumberRidge:
    """Linear regression of a number.

    Attributes
    ----------
    coefficients : numpy.ndarray (columns,)
    intercepts : numpy.ndarray (1,)
    """

    coefficients: np.ndarray
    intercepts: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, values: np.ndarray, penalties: np.ndarray) -> NumberRidge:
        """Fit it on training cases: covariates (n, columns), values (n,), and the penalty of each column."""
        narrow = Narrow.of(x, penalties)
        # Half of the penalty is that of half of the squared errors.
        model = LinearRegression(alpha=1.0).fit(narrow.x, values)
        return cls(narrow.widen(model.coef_[None])[0], np.array([model.intercept_]))

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return the values, (n, 1)."""
        return (x @ self.coefficients + self.intercepts)[:, None]

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what is kept of it."""
        return {"coefficients": self.coefficients, "intercepts": self.intercepts}

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray], cuts: Sequence[float]) -> NumberRidge:
        """Return the regression of which this is kept."""
        return cls(tensors["coefficients"], tensors["intercepts"])


Ridge: TypeAlias = ClassRidge | CoxRidge | NumberRidge


@dataclass(frozen=True)
class Narrow:
    """Covariates for a penalty of one, with no more columns of a penalty than rows.

    A ridge's coefficients lie in the space that its rows span, and a rotation changes neither its losses nor its
    penalty: many columns of few cases are as well given by their coordinates in that space.

    Attributes
    ----------
    x : numpy.ndarray (n, narrow columns)
    back : numpy.ndarray (narrow columns, columns)
        Brings coefficients back.
    """

    x: np.ndarray
    back: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, penalties: np.ndarray) -> Narrow:
        """Return covariates (n, columns) for a penalty of one instead of their own."""
        scores, backs = [], []
        for penalty in np.unique(penalties):
            own = np.flatnonzero(penalties == penalty)
            part, axes = x[:, own] / np.sqrt(penalty), np.eye(len(own))
            if len(own) > len(x):
                left, lengths, axes = np.linalg.svd(part, full_matrices=False)
                part = left * lengths
            back = np.zeros((len(axes), x.shape[1]))
            back[:, own] = axes / np.sqrt(penalty)
            scores.append(part)
            backs.append(back)
        return cls(np.concatenate(scores, axis=1), np.concatenate(backs))

    def widen(self, coefficients: np.ndarray) -> np.ndarray:
        """Return coefficients (k, narrow columns) of the columns that were given, (k, columns)."""
        return coefficients @ self.back
