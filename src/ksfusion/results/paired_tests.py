"""Whether a method and the reference differ: DeLong's test of an area under a curve, else a permutation test.

DeLong's is of `ksfusion.results.delong`, the permutations are of `ksfusion.results.permutation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ksfusion.results.config import ShownTask
from ksfusion.results.delong import AreaDifference, area_difference, delong_p_value
from ksfusion.results.further_measures import censoring_distribution, class_scoring, predicted_curves, survival_samples
from ksfusion.results.further_permutation import swapped_further_classes, swapped_further_survival
from ksfusion.results.metrics import NAN, comparable_pairs
from ksfusion.results.permutation import (
    draw_swaps,
    permutation_p_value,
    swapped_classification,
    swapped_regression,
    swapped_survival,
)
from ksfusion.results.runs import Run, RunCurves, outcome_columns
from ksfusion.results.statistics import LEAST_CASES, CaseDraws, all_cases
from ksfusion.results.tables.folds import FoldTables, cases_by_fold
from ksfusion.terms.tasks import PREDICTED

DELONG, PERMUTATION = "delong", "permutation"
OTHER_CURVES = "no p: the two predict survival at other times, or from other training cases"


@dataclass(frozen=True)
class Tested:
    """What a fold gives to the tests of a pair of methods.

    Attributes
    ----------
    areas
        The difference of the areas under curves, where there are any.
    swapped
        Of any other metric the difference, the mean over seeds, for each permutation.
    untested
        Why a metric that is not among these cannot be tested.
    """

    areas: AreaDifference | None = None
    swapped: Mapping[str, np.ndarray] = field(default_factory=dict)
    untested: str = ""


def prepare_tests(
    our_runs: Sequence[Run],
    their_runs: Sequence[Run],
    ours: FoldTables,
    theirs: FoldTables,
    *,
    task: ShownTask,
    times: Sequence[float],
) -> dict[int, Tested]:
    """Return what each fold gives to the tests; a case is swapped in all folds, or in none.

    Parameters
    ----------
    our_runs, their_runs
        Runs of the two methods, of the same folds and seeds.
    ours, theirs
        Their test samples, or cases, the same of both.
    task
        The task.
    times
        Of survival, days at which time-dependent AUC is evaluated.
    """
    cases = all_cases(np.array(sorted(ids), dtype=str) for ids in cases_by_fold(ours).values())
    swaps = CaseDraws(cases, draw_swaps(len(cases)))
    curves = [{(run.fold, run.seed): run.curves for run in runs} for runs in (our_runs, their_runs)]
    found = {}
    for fold, by_seed in ours.items():
        seeds = [
            Seed(table, theirs[fold][seed], *(known[fold, seed] for known in curves)) for seed, table in by_seed.items()
        ]
        swapped = [_swapped(seed, swaps.of_samples(seed.ours["case_id"]), task, times) for seed in seeds]
        untested = "" if all(seed.same_curves for seed in seeds) else OTHER_CURVES
        found[fold] = Tested(_areas(seeds, task), _mean_over_seeds(swapped), untested)
    return found


@dataclass(frozen=True, eq=False)
class Seed:
    """What two methods predict of the same samples, by one seed."""

    ours: pd.DataFrame
    theirs: pd.DataFrame
    our_curves: RunCurves
    their_curves: RunCurves

    @property
    def same_follow_up(self) -> bool:
        """Whether censoring is estimated on the same cases."""
        return all(
            np.array_equal(getattr(self.our_curves, name), getattr(self.their_curves, name))
            for name in ("days", "event")
        )

    @property
    def same_curves(self) -> bool:
        """Whether survival is predicted at the same times, and censoring estimated on the same cases."""
        return self.same_follow_up and np.array_equal(self.our_curves.cuts, self.their_curves.cuts)


def _swapped(seed: Seed, swap: np.ndarray, task: ShownTask, times: Sequence[float]) -> dict[str, np.ndarray]:
    """Return the difference of each metric but the area under the ROC curve, for each permutation."""
    _, prediction = outcome_columns(task)
    if task.kind == "survival":
        return _swapped_survival(seed, swap, times)
    truth = seed.ours["y"].to_numpy()
    if task.kind == "regression":
        return swapped_regression(truth, seed.ours[PREDICTED].to_numpy(), seed.theirs[PREDICTED].to_numpy(), swap)
    ours, theirs = (table[prediction].to_numpy() for table in (seed.ours, seed.theirs))
    scoring, cohorts = class_scoring(task, by_class=False), seed.ours["cohort"].to_numpy(str)
    return {
        **swapped_classification(truth, ours, theirs, swap, positive=task.positive_number),
        **swapped_further_classes(truth, ours, theirs, cohorts, swap, scoring),
    }


def _swapped_survival(seed: Seed, swap: np.ndarray, times: Sequence[float]) -> dict[str, np.ndarray]:
    samples = survival_samples(seed.ours)
    if not comparable_pairs(samples.days, samples.event > 0).any():
        return {}
    known = [(seed.ours, seed.our_curves), (seed.theirs, seed.their_curves)]
    # Where times differ, only what the risks tell is compared.
    ours, theirs = (predicted_curves(table, curves if seed.same_curves else RunCurves()) for table, curves in known)
    return {
        **swapped_survival(samples.days, samples.event, ours.risk, theirs.risk, swap),
        **swapped_further_survival(
            samples,
            ours,
            theirs,
            swap,
            censoring=censoring_distribution(seed.our_curves),
            times=times if seed.same_follow_up else (),
        ),
    }


def _areas(seeds: Sequence[Seed], task: ShownTask) -> AreaDifference | None:
    if task.kind != "classification" or not seeds:
        return None
    table, (_, prediction) = seeds[0].ours, outcome_columns(task)
    labels = table["y"].to_numpy().astype(int)
    if len(np.unique(labels)) < 2:
        return None
    return area_difference(
        labels,
        np.stack([seed.ours[prediction].to_numpy() for seed in seeds]),
        np.stack([seed.theirs[prediction].to_numpy() for seed in seeds]),
        table["case_id"].to_numpy(),
    )


def _mean_over_seeds(by_seed: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the mean over seeds of the metrics that all of them have."""
    first = by_seed[0] if by_seed else {}
    metrics = [metric for metric in first if all(metric in seed for seed in by_seed)]
    return {metric: np.mean([seed[metric] for seed in by_seed], axis=0) for metric in metrics}


def p_of_difference(metric: str, folds: Sequence[Tested], task: ShownTask) -> tuple[float, str, str]:
    """Return the p-value of the mean difference over folds, the test that gave it, and why there is none.

    Parameters
    ----------
    metric
        Its name.
    folds
        What the folds in which it is defined give to the tests.
    task
        The task.
    """
    if not folds:
        return NAN, "", ""
    if metric != "auc":
        if lacking := [fold for fold in folds if metric not in fold.swapped]:
            return NAN, "", lacking[0].untested
        return permutation_p_value(np.mean([fold.swapped[metric] for fold in folds], axis=0)), PERMUTATION, ""
    areas = [fold.areas for fold in folds if fold.areas]
    if len(all_cases(fold.cases for fold in areas)) < LEAST_CASES:
        return NAN, "", ""  # said of the interval already
    if alone := sorted({number for fold in areas for number in fold.alone}):
        labels = task.class_labels()
        return NAN, "", f"no p: fewer than two test cases of, or beside, {', '.join(labels[n] for n in alone)}"
    p = delong_p_value(areas)
    return (NAN, "", "no p: the areas have no variance") if np.isnan(p) else (p, DELONG, "")
