"""How well the patches that a model reads are those that show a target: areas under the ROC curve, in percent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ksfusion.core.ids import stable_hash
from ksfusion.core.storage import read_tsv
from ksfusion.results.metrics.areas import or_undefined
from ksfusion.results.statistics import LEAST_CASES, draw_cases, interval

NAN = float("nan")
BY_SLIDE, POOLED = "slide", "pooled"
# In the place of a method and of a measure: what is taught the targets, and what knows nothing.
ORACLE, CHANCE = "oracle", "chance"


# Of the table; ``stream`` is ``attention`` where a method has no streams.
COLUMNS = ["method", "task", "fold", "seed", "stream", "target", "measure"]
COLUMNS += ["over", "auc", "ci_low", "ci_high", "n_slides", "n_cases"]


class Located(NamedTuple):
    """How well a score of patches finds a target.

    Attributes
    ----------
    over
        ``slide``: mean over slides that have patches of both kinds; ``pooled``: the patches of all slides together.
    auc, ci_low, ci_high
        In percent, with the 95 % interval by bootstrap over cases; NaN where not defined.
    n_slides, n_cases
        How many slides, one for each sample, and cases it is of.
    """

    over: str
    auc: float
    ci_low: float
    ci_high: float
    n_slides: int
    n_cases: int


def pairs_won(score: np.ndarray, target: np.ndarray, group: np.ndarray, n_groups: int) -> tuple[np.ndarray, ...]:
    """Return of each pair of groups how many patches with the target score above those without; ties count one half.

    Parameters
    ----------
    score, target, group : numpy.ndarray, shape (patches,)
        Scores, whether a patch shows the target (bool), and the number of its group.
    n_groups
        How many groups there are.

    Returns
    -------
    won : numpy.ndarray, shape (n_groups, n_groups)
        Row: the group of the patch with the target; column: that of the one without.
    positives, negatives : numpy.ndarray, shape (n_groups,)
        Patches of each group with and without the target.
    """
    up, down = np.flatnonzero(target), np.flatnonzero(~target)
    positives, negatives = (np.bincount(group[rows], minlength=n_groups) for rows in (up, down))
    won = np.zeros((n_groups, n_groups))
    for number in range(n_groups):
        against = np.sort(score[down[group[down] == number]])
        below = np.searchsorted(against, score[up], side="left")
        not_above = np.searchsorted(against, score[up], side="right")
        won[:, number] = np.bincount(group[up], weights=(below + not_above) / 2, minlength=n_groups)
    return won, positives, negatives


def locate(patches: pd.DataFrame, score: str, target: str, *, resamples: int) -> Iterator[Located]:
    """Yield how well a score finds a target: over slides, and pooled.

    Parameters
    ----------
    patches : pandas.DataFrame
        One row for each patch of each sample: sample_id, case_id, the score and the target.
    score, target
        Their columns.
    resamples
        Number of bootstrap resamples of the cases for the interval.
    """
    known = patches[np.isfinite(patches[score])]
    cases, case = np.unique(known["case_id"].to_numpy(str), return_inverse=True)
    samples, sample = np.unique(known["sample_id"].to_numpy(str), return_inverse=True)
    scores, targets = known[score].to_numpy(float), known[target].to_numpy(bool)
    case_of = np.zeros(len(samples), dtype=int)
    case_of[sample] = case
    draws = draw_cases(len(cases), resamples=resamples).astype(float) if len(cases) else np.zeros((resamples, 0))

    won, positives, negatives = pairs_won(scores, targets, sample, len(samples))
    both = (positives > 0) & (negatives > 0)
    areas = np.diag(won)[both] / (positives * negatives)[both]
    weights = draws[:, case_of[both]]
    drawn = (weights @ areas) / or_undefined(weights.sum(axis=1))
    yield _located(BY_SLIDE, areas.mean() if both.any() else NAN, drawn, both.sum(), len(set(case_of[both])))

    merge = np.zeros((len(cases), len(samples)))
    merge[case_of, np.arange(len(samples))] = 1
    won, positives, negatives = merge @ won @ merge.T, merge @ positives, merge @ negatives
    total = positives.sum() * negatives.sum()
    pooled = ((draws @ won) * draws).sum(axis=1)
    drawn = pooled / or_undefined((draws @ positives) * (draws @ negatives))
    yield _located(POOLED, won.sum() / total if total else NAN, drawn, len(samples), len(cases))


def _located(over: str, area: float, drawn: np.ndarray, n_slides: int, n_cases: int) -> Located:
    """Return the area in percent; no interval from fewer than ten cases."""
    low, high = interval(100 * drawn) if n_cases >= LEAST_CASES else (NAN, NAN)
    return Located(over, 100 * float(area), low, high, int(n_slides), int(n_cases))


def locate_all(
    patches: pd.DataFrame, scores: Sequence[str], targets: Sequence[str], *, resamples: int
) -> Iterator[tuple[str, str, Located]]:
    """Yield score, target and how well that finds this, for all of them; see `locate`."""
    for score in scores:
        for target in targets:
            for located in locate(patches, score, target, resamples=resamples):
                yield score, target, located


def patch_means(cells: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the mean of each patch over the cells in which it stands: one that is repeated counts no more for it.

    Parameters
    ----------
    cells : numpy.ndarray (n_patches,)
        Values of the cells of one map.
    index : numpy.ndarray (n_patches,)
        Which of the slide's patches stands in each cell.
    """
    means: np.ndarray = np.bincount(index, weights=cells) / np.bincount(index)
    return means


def random_scores(samples: pd.Series[str]) -> np.ndarray:
    """Return a number for each patch that says nothing, the same whenever its sample is scored.

    Parameters
    ----------
    samples : pandas.Series (patches,)
        The sample of each patch; those of a sample stand together, always in one order.
    """
    counts = samples.groupby(samples, sort=False).size()
    drawn = [np.random.default_rng(stable_hash(str(name))).random(count) for name, count in counts.items()]
    return np.concatenate([np.empty(0), *drawn])


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its areas as text, four decimals; empty where not defined."""
    text = table[COLUMNS].copy()
    for column in ("auc", "ci_low", "ci_high"):
        text[column] = ["" if np.isnan(value) else f"{value:.4f}" for value in table[column].astype(float)]
    return text


def read_localisation(path: Path) -> pd.DataFrame:
    """Read a table as `as_text` makes it."""
    text = {name: str for name in ("method", "task", "seed", "stream", "target", "measure", "over")}
    table = read_tsv(path, dtype=text)
    return table.fillna({name: "" for name in text})
