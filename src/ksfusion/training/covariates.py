"""What a baseline reads of samples, and how that becomes numbers: imputed, one-hot and scaled on training cases."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from ksfusion.core.errors import UserError
from ksfusion.core.numbers import decimal_point, parse_number
from ksfusion.core.parquet import read_parquet
from ksfusion.methods.baselines import FEW_COLUMNS, PartName
from ksfusion.training.data import FoldData

COHORT = "cohort"


class Covariates(NamedTuple):
    """What is known of samples, or of cases, a row each.

    Attributes
    ----------
    texts : pandas.DataFrame (n, columns)
        Clinical columns and the cohort as text, empty where unknown.
    numbers : pandas.DataFrame (n, columns), float64
        Genes and mean features.
    """

    texts: pd.DataFrame
    numbers: pd.DataFrame

    def by_case(self, case_ids: pd.Series) -> Covariates:
        """Return a row for each case, in order of their first sample: its texts, and the mean of its numbers."""
        keys = case_ids.to_numpy()
        first = ~case_ids.duplicated().to_numpy()
        means = self.numbers.groupby(keys, sort=False).mean()
        return Covariates(self.texts[first].reset_index(drop=True), means.reset_index(drop=True))

    def rows(self, positions: np.ndarray) -> Covariates:
        """Return some of the rows, by their positions."""
        return Covariates(*(part.iloc[positions].reset_index(drop=True) for part in self))


def read_covariates(
    data: FoldData, cases: Path, *, parts: Sequence[PartName], clinical: Sequence[str] = ()
) -> Covariates:
    """Read what a baseline reads of the samples of a fold.

    Parameters
    ----------
    data
        The samples.
    cases
        Table of cases, of `check-cohort`.
    parts
        Parts of the data that are read.
    clinical
        The clinical columns.

    Raises
    ------
    UserError
        If the table of cases lacks a column, or features are no finite numbers.
    """
    texts = pd.DataFrame(index=data.samples.index)
    numbers = pd.DataFrame(index=data.samples.index)
    if "clinical" in parts:
        table = read_parquet(cases)
        if missing := [name for name in clinical if name not in table]:
            raise UserError(f"{cases}: lacks column {missing[0]} of cohort.clinical; check the cohort again")
        of_case = table.astype({"case_id": str}).set_index("case_id")[list(clinical)]
        texts = of_case.fillna("").astype(str).loc[data.samples["case_id"]].reset_index(drop=True)
    if "cohort" in parts:
        texts = texts.assign(**{COHORT: data.samples["cohort"].to_numpy()})
    if "genes" in parts:
        symbols = [symbol for niche in data.niches.values() for symbol in niche]
        values = np.concatenate([genes.numpy() for genes in data.genes.values()], axis=1)
        numbers = pd.DataFrame(values.astype(float), columns=symbols)
    if "patches" in parts:
        means = mean_patches(data)
        numbers = pd.DataFrame(means, columns=[f"feature {number}" for number in range(means.shape[1])])
    return Covariates(texts, numbers)


def mean_patches(data: FoldData) -> np.ndarray:
    """Return the mean feature vector of the map of each sample's slide, (samples, n_features).

    Raises
    ------
    UserError
        If the features of a slide are no finite numbers.
    """
    slides, first, inverse = np.unique(data.slides, return_index=True, return_inverse=True)
    means = np.empty((len(slides), data.n_features))
    for number, position in enumerate(first):
        patches, _ = data.gather(np.array([position]), torch.device("cpu"))
        assert patches is not None  # a method that reads patches
        means[number] = patches[0].mean(dim=0).numpy()
        if not np.isfinite(means[number]).all():
            sample = data.samples["sample_id"].iloc[position]
            raise UserError(f"sample {sample}: the features of its slide are no finite numbers; extract them again")
    return means[inverse]


class ColumnRule(NamedTuple):
    """How a column of text becomes numbers.

    Attributes
    ----------
    name
        The column.
    filling
        What stands for a value that is missing: the median, or the most frequent text.
    values
        Of texts, those that have an indicator each, in order; None for a column of numbers.
    """

    name: str
    filling: float | str
    values: tuple[str, ...] | None

    @classmethod
    def of(cls, name: str, texts: Iterable[str]) -> ColumnRule:
        """Return the rule for a column of training cases: numbers where each value is one, else texts."""
        known = [text for text in texts if text]
        numbers = [number for text in known if (number := _number(text)) is not None]
        if known and len(numbers) == len(known):
            return cls(name, float(np.median(numbers)), None)
        counts = Counter(sorted(known))
        # Of equally frequent ones the first of the alphabet.
        return cls(name, counts.most_common(1)[0][0] if known else "", tuple(counts))

    def labels(self) -> list[str]:
        """Return what the numbers are called."""
        return [self.name] if self.values is None else [f"{self.name}={value}" for value in self.values]

    def numbers(self, texts: pd.Series) -> np.ndarray:
        """Return the numbers of a column, (n, 1) or (n, values); a text that training cases lack has no indicator."""
        if self.values is None:
            found = [self.filling if (number := _number(text)) is None else number for text in texts]
            return np.array(found, dtype=float)[:, None]
        filled = texts.where(texts != "", self.filling).to_numpy(dtype=object)
        return np.stack([filled == value for value in self.values], axis=1).astype(float).reshape(len(texts), -1)


def _number(text: str) -> float | None:
    number = parse_number(decimal_point(text))
    return number if number is not None and math.isfinite(number) else None


@dataclass(frozen=True)
class Coding:
    """How covariates become a matrix; fitted on training cases.

    Attributes
    ----------
    rules
        Of the columns of text.
    names
        Of the columns of numbers.
    mean, scale : numpy.ndarray (columns of the matrix,)
        Subtracted from, and divided by: 0 and 1 for indicators, and for what does not vary.
    """

    rules: tuple[ColumnRule, ...]
    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, cases: Covariates) -> Coding:
        """Fit it on training cases, a row each."""
        rules = [ColumnRule.of(name, cases.texts[name]) for name in cases.texts]
        rules = [rule for rule in rules if rule.values != ()]
        names = tuple(cases.numbers)
        raw = _raw(cases, rules, names)
        indicator = np.array([rule.values is not None for rule in rules for _ in rule.labels()] + [False] * len(names))
        scale = raw.std(axis=0)
        mean, constant = raw.mean(axis=0), scale == 0
        return cls(tuple(rules), names, np.where(indicator, 0, mean), np.where(indicator | constant, 1, scale))

    def matrix(self, covariates: Covariates) -> np.ndarray:
        """Return covariates as numbers, (n, columns)."""
        return (_raw(covariates, self.rules, self.names) - self.mean) / self.scale

    def labels(self) -> list[str]:
        """Return what the columns of the matrix are called."""
        return [label for rule in self.rules for label in rule.labels()] + list(self.names)

    def penalties(self, chosen: float, fixed: float) -> np.ndarray:
        """Return the penalty of each column: a fixed one of texts, the chosen one of numbers."""
        n_fixed = len(self.mean) - len(self.names)
        return np.concatenate([np.full(n_fixed, fixed), np.full(len(self.names), chosen)])

    def describe(self) -> dict[str, Any]:
        """Return what JSON holds of it; `mean` and `scale` stand with the coefficients."""
        return {"rules": [rule._asdict() for rule in self.rules], "names": list(self.names)}

    @classmethod
    def of(cls, described: Mapping[str, Any], mean: np.ndarray, scale: np.ndarray) -> Coding:
        """Return the coding that was described."""
        rules = tuple(
            ColumnRule(rule["name"], rule["filling"], None if rule["values"] is None else tuple(rule["values"]))
            for rule in described["rules"]
        )
        return cls(rules, tuple(described["names"]), mean, scale)


def _raw(covariates: Covariates, rules: Sequence[ColumnRule], names: Sequence[str]) -> np.ndarray:
    """Return the columns of a matrix before they are scaled."""
    parts = [rule.numbers(covariates.texts[rule.name]) for rule in rules]
    return np.concatenate([*parts, covariates.numbers[list(names)].to_numpy(dtype=float)], axis=1)


def has_chosen_penalty(parts: Sequence[PartName]) -> bool:
    """Return whether a part has so many columns that its penalty is chosen on validation cases."""
    return any(part not in FEW_COLUMNS for part in parts)
