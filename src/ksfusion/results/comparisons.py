"""Every method compared with the reference: the paired difference of each metric, its interval and its p-value.

The difference is that of the means over seeds, fold by fold, on the samples that both methods have, of the metrics of
the paper's tables and of Table S1, but for those of single classes. Its interval comes from the same draws of cases for
both, its p-value from a test of `ksfusion.results.paired_tests`. Both take the trained models as they are; how much
these differ from seed to seed is told apart, by ``sd_seeds``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ksfusion.results.config import ALL, Correction, ShownTask
from ksfusion.results.correction import correct
from ksfusion.results.further_measures import AllMeasures
from ksfusion.results.measures import Measure
from ksfusion.results.metrics.names import UNORDERED
from ksfusion.results.paired_tests import Tested, p_of_difference, prepare_tests
from ksfusion.results.runs import Run
from ksfusion.results.statistics import RESAMPLES
from ksfusion.results.tables.differences import COLUMNS, FAMILY, NUMBERS, Difference
from ksfusion.results.tables.folds import (
    LEVELS,
    FoldScores,
    FoldTables,
    Level,
    average,
    cohorts_of,
    score_folds,
    skipped_text,
    tables_by_fold,
)
from ksfusion.results.tables.scores import TEST
from ksfusion.terms.splits import EXTERNAL


@dataclass(frozen=True)
class Scope:
    """What is scored, and how often cases are drawn; ``external``: the external cohort that the runs are of."""

    task: ShownTask
    level: Level
    cohort: str
    folds: Sequence[int]
    resamples: int
    times: Sequence[float] = ()
    external: str = ""

    def measure(self, runs: Sequence[Run]) -> Measure:
        """Return what is measured of the runs of a method."""
        return AllMeasures(self.times)(self.task, runs)


@dataclass(frozen=True)
class Pair:
    """A method and the reference: their runs of a task that can be compared.

    Attributes
    ----------
    method, reference
        Their names.
    ours, theirs
        Runs of the same folds and seeds, with the test samples that both have; none where nothing can be compared.
    reason
        What is missing, and why; empty where nothing is.
    """

    method: str
    reference: str
    ours: Sequence[Run]
    theirs: Sequence[Run]
    reason: str


@dataclass(frozen=True)
class Scored:
    """The test samples, or cases, of runs, and their scores."""

    tables: FoldTables
    scores: Mapping[int, FoldScores]


def comparison_table(
    runs: Sequence[Run],
    *,
    tasks: Sequence[ShownTask],
    methods: Sequence[str],
    reference: str,
    correction: Correction,
    resamples: int = RESAMPLES,
    external: str = "",
    times: Sequence[float] = (),
) -> pd.DataFrame:
    """Compare all methods with the reference.

    Parameters
    ----------
    runs
        The runs, as `ksfusion.results.runs.read_runs` returns them.
    tasks, methods
        Tasks and methods to compare, in the order of the table.
    reference
        The method that the others are compared with.
    correction
        Correction of the p-values of one task, metric, level, cohort and fold.
    resamples
        Number of bootstrap resamples of the cases for an interval.
    external
        The external cohort that the runs are of (`ksfusion.results.runs.Run.on_external`); empty for the test samples.
    times
        Of survival, days at which time-dependent AUC is evaluated.

    Returns
    -------
    pandas.DataFrame
        With `COLUMNS`, in order of method, task, metric, level, cohort and fold. What cannot be compared has a row with
        the reason. Empty where there are not two methods.
    """
    folds = sorted({run.fold for run in runs})
    others = [method for method in methods if method != reference] if len(methods) > 1 else []
    found: dict[tuple[int, int, int, int, int], list[Difference]] = {}
    for task_number, task in enumerate(tasks):
        own = {
            method: [run for run in runs if (run.task, run.method) == (task.name, method)]
            for method in (reference, *others)
        }
        pairs = [pair_runs(method, own[method], reference, own[reference]) for method in others]
        for level_number, level in enumerate(LEVELS):
            cohorts = () if external else cohorts_of(own[reference])
            for cohort_number, cohort in enumerate((ALL, *cohorts)):
                scope = Scope(task, level, cohort, folds, resamples, times, external)
                whole = score_runs(own[reference], scope)
                for number, pair in enumerate(pairs):
                    theirs = whole if set(map(id, pair.theirs)) == set(map(id, own[reference])) else None
                    for metric_number, rows in enumerate(compare_pair(pair, scope, theirs=theirs)):
                        found[number, task_number, metric_number, level_number, cohort_number] = rows
    table = pd.DataFrame([row for key in sorted(found) for row in found[key]], columns=COLUMNS)
    table = table.astype({**dict.fromkeys(NUMBERS, float), "n": int})
    families = table.groupby(FAMILY).indices.values()
    return table.assign(p_corrected=correct(table["p"].to_numpy(), families, correction))


def pair_runs(method: str, ours: Sequence[Run], reference: str, theirs: Sequence[Run]) -> Pair:
    """Return what the runs of a method and of the reference have in common: folds and seeds, and samples in these.

    Parameters
    ----------
    method, ours
        A method, and its runs of a task.
    reference, theirs
        The reference, and its runs of that task.
    """
    reasons = [skipped_text(ours)] if skipped_text(ours) else []
    reasons += [f"{reference}: {skipped_text(theirs)}"] if skipped_text(theirs) else []
    first, second = ({(run.fold, run.seed): run for run in runs if not run.reason} for runs in (ours, theirs))
    if not (first and second):
        return Pair(method, reference, [], [], "; ".join(reasons))
    if {run.folder for run in ours} == {run.folder for run in theirs}:
        return Pair(method, reference, [], [], f"the same runs as those of {reference}")
    twins = [(first[key], second[key]) for key in sorted(first.keys() & second.keys())]
    kept = [pair for run, other in twins if len((pair := _on_common_samples(run, other))[0].test)]
    if not kept:
        told = ["no sample in two runs of one fold and seed"]
    else:
        told = [] if len(kept) == len(first) == len(second) else [f"{len(kept)} pairs of runs of one fold and seed"]
        told += [] if all(pair in twins for pair in kept) else ["samples that both have"]
        told = [f"compared on {' and '.join(told)}"] if told else []
    return Pair(method, reference, [run for run, _ in kept], [run for _, run in kept], "; ".join([*reasons, *told]))


def _on_common_samples(run: Run, other: Run) -> tuple[Run, Run]:
    """Return two runs with the test samples that both have: themselves where they have the same."""
    known = run.test["sample_id"].isin(other.test["sample_id"]), other.test["sample_id"].isin(run.test["sample_id"])
    if known[0].all() and known[1].all():
        return run, other
    return replace(run, test=run.test[known[0]]), replace(other, test=other.test[known[1]])


def score_runs(runs: Sequence[Run], scope: Scope) -> Scored:
    """Score the runs of a method and task."""
    tables = tables_by_fold(runs, scope.task, scope.level, scope.cohort, scope.folds)
    return Scored(tables, score_folds(tables, scope.measure(runs), scope.resamples))


def compare_pair(pair: Pair, scope: Scope, *, theirs: Scored | None = None) -> Iterator[list[Difference]]:
    """Yield of each metric the differences of a method from the reference: over all folds, then of each.

    Parameters
    ----------
    pair
        Their runs.
    scope
        Task, level and cohort. Of one cohort nothing is yielded where nothing can be compared.
    theirs
        The scores of the reference's runs, where they are known.
    """
    differences: dict[int, FoldScores] = {}
    tested: dict[int, Tested] = {}
    if pair.ours:
        ours, theirs = score_runs(pair.ours, scope), theirs or score_runs(pair.theirs, scope)
        differences = _subtract(ours.scores, theirs.scores)
        tested = prepare_tests(pair.ours, pair.theirs, ours.tables, theirs.tables, task=scope.task, times=scope.times)
    elif scope.cohort != ALL:
        return
    folds: list[tuple[str, Sequence[int]]] = [(ALL, list(differences)), *((str(fold), [fold]) for fold in differences)]
    for metric in scope.measure(pair.ours).metrics:
        if metric in UNORDERED:
            continue
        rows = []
        for fold, numbers in folds:
            by_fold = {number: differences[number] for number in numbers}
            repeated = bool(scope.external)
            score = average(by_fold, metric, scope.level, scope.cohort, fold, pair.reason, repeated=repeated)
            defined = [number for number in numbers if np.isfinite(list(by_fold[number].values[metric].values())).any()]
            p, test, untested = p_of_difference(metric, [tested[number] for number in defined], scope.task)
            rows.append(
                Difference(
                    method=pair.method,
                    reference=pair.reference,
                    task=scope.task.name,
                    metric=metric,
                    level=scope.level,
                    cohort=scope.external or scope.cohort,
                    fold=fold,
                    difference=score.mean,
                    ci_low=score.ci_low,
                    ci_high=score.ci_high,
                    p=p,
                    p_corrected=p,
                    reason="; ".join(text for text in (score.reason, untested) if text),
                    test=test,
                    sd_seeds=score.sd,
                    n=score.n,
                    split=EXTERNAL if scope.external else TEST,
                )
            )
        yield rows


def _subtract(ours: Mapping[int, FoldScores], theirs: Mapping[int, FoldScores]) -> dict[int, FoldScores]:
    """Return the differences of scores of the same samples, by the same draws of their cases."""
    return {
        fold: FoldScores(
            n=scores.n,
            cases=scores.cases,
            values={
                metric: {seed: value - theirs[fold].values[metric][seed] for seed, value in by_seed.items()}
                for metric, by_seed in scores.values.items()
            },
            draws={metric: draws - theirs[fold].draws[metric] for metric, draws in scores.draws.items()},
            reasons=scores.reasons,
        )
        for fold, scores in ours.items()
    }
