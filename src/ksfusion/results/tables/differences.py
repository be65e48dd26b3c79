"""The table of comparisons: what stands in it, which differences survive, and the words for that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL, Comparing, Correction
from ksfusion.results.statistics import COVERAGE, PERMUTATIONS
from ksfusion.results.tables.folds import Level
from ksfusion.results.tables.scores import TEST, number_texts, with_split

NUMBERS = ["difference", "ci_low", "ci_high", "p", "p_corrected", "sd_seeds"]
P_VALUES = ("p", "p_corrected")
# Of the p-values that are corrected together.
FAMILY = ["task", "metric", "level", "cohort", "fold"]
SIGNIFICANCE = (100 - COVERAGE) / 100
# Behind a value that differs from the reference's.
MARK = "\N{DAGGER}"
CORRECTED: dict[Correction, str] = {
    "holm": "after Holm's correction for the number of methods compared",
    "bh": "after Benjamini and Hochberg's correction for the number of methods compared",
    "none": "not corrected for the number of methods compared",
}


class Difference(NamedTuple):
    """A row of the table of comparisons.

    Attributes
    ----------
    method, reference, task, metric, level, cohort, fold
        What is compared.
    difference
        The method's mean over seeds less the reference's, in percentage points; NaN where not known.
    ci_low, ci_high
        Its interval over cases; NaN where there is none.
    p, p_corrected
        Of the null that the two do not differ; NaN where it cannot be tested.
    reason
        What is missing, and why; empty where nothing is.
    test
        Where ``p`` comes from: ``delong`` or ``permutation``; empty without one.
    sd_seeds
        Of the seeds' own differences; NaN with one seed.
    n
        How many samples or cases both have.
    split
        ``test``, or ``external`` for an external cohort.
    """

    method: str
    reference: str
    task: str
    metric: str
    level: Level
    cohort: str
    fold: str
    difference: float
    ci_low: float
    ci_high: float
    p: float
    p_corrected: float
    reason: str
    test: str
    sd_seeds: float
    n: int
    split: str = TEST


COLUMNS = list(Difference._fields)


@dataclass(frozen=True, eq=False)
class Comparisons:
    """A table of comparisons, the method they are with, and how the p-values were corrected."""

    table: pd.DataFrame
    reference: str
    correction: Correction

    def shown(self, methods: Iterable[str], *, level: Level = "sample", cohort: str = ALL) -> pd.DataFrame:
        """Return the comparisons of methods over all folds, at a level and of a cohort."""
        table = self.table[self.table["method"].isin(set(methods))]
        return table[(table["level"] == level) & (table["cohort"] == cohort) & (table["fold"] == ALL)]

    def printed_reference(self) -> str:
        """Return what the reference is called in print."""
        return METHODS[self.reference].label

    def threshold(self) -> str:
        """Return how small a p-value must be, in words."""
        return f"p < {SIGNIFICANCE:g}, {CORRECTED[self.correction]}"

    def footnotes(self, shown: pd.DataFrame) -> Iterator[str]:
        """Yield what must stand below a table with marks; nothing where nothing could be tested.

        Parameters
        ----------
        shown
            The comparisons of the methods in the table.
        """
        if not shown["p"].notna().any():
            return
        if survives(shown).any():
            yield f"{MARK}: differs from {self.printed_reference()} ({self.threshold()})."
        else:
            yield f"No difference from {self.printed_reference()} is shown by a test ({self.threshold()})."


NULLS = (
    "The p-values are of these nulls: of the AUC, that the two are equal (DeLong's test in Obuchowski's form, samples "
    "clustered in cases, placements averaged over seeds); of any other metric, areas within cohorts or at a time among "
    "them, that it does not matter for a case which of its two sets of predictions is whose "
    f"({PERMUTATIONS:,} permutations that swap whole cases; for metrics of ranks, ranked within each run)."
)
SPREADS = (
    f"Spread over cases: the {COVERAGE} % interval, by bootstrap over the test cases, the same draws for both methods, "
    "the trained models as they are. Spread over seeds: the standard deviation of the seeds' own differences, the test "
    "cases as they are. Neither holds the other."
)


def survives(table: pd.DataFrame) -> pd.Series:
    """Return of each comparison whether its difference survives the correction."""
    return table["p_corrected"] < SIGNIFICANCE


def marked_cells(shown: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Return method, task and metric of the differences that survive."""
    found = shown[survives(shown)]
    return set(zip(found["method"], found["task"], found["metric"], strict=True))


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of comparisons with its numbers as text, empty where missing: four decimals, or digits of a p."""
    text = table[COLUMNS].copy()
    for column in NUMBERS:
        if column in P_VALUES:
            text[column] = ["" if np.isnan(value) else format(value, ".4g") for value in table[column]]
        else:
            text[column] = number_texts(table[column], table["metric"])
    return text


def read_comparisons(path: Path | None, settings: Comparing) -> Comparisons | None:
    """Read a table as `ksfusion.stages.make_comparisons` writes it.

    Parameters
    ----------
    path
        The table; None where nothing was compared.
    settings
        With which it was made.
    """
    if path is None:
        return None
    table = read_tsv(path, dtype={"fold": str, "cohort": str, "reason": str, "test": str})
    table = table.astype(dict.fromkeys(NUMBERS, float)).fillna({"reason": "", "test": ""})
    return Comparisons(with_split(table), settings.reference, settings.correction)
