"""Every method compared with the reference: the paired difference of each metric, its interval and its p-value.

The difference is that of the means over seeds, fold by fold, on the samples that both methods have. Its interval comes
from the same draws of cases for both. The p-value is DeLong's for an area under a curve (`ksfusion.results.delong`),
and that of a permutation test for any other metric (`ksfusion.results.permutation`). Both take the trained models as
they are; how much these differ from seed to seed is told apart, by ``sd_seeds``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ksfusion.results.config import ALL, Correction, ShownTask
from ksfusion.results.correction import correct
from ksfusion.results.delong import AreaDifference, area_difference, delong_p_value
from ksfusion.results.measures import PaperMeasure
from ksfusion.results.metrics import METRICS, NAN, comparable_pairs
from ksfusion.results.permutation import (
    draw_swaps,
    permutation_p_value,
    swapped_classification,
    swapped_regression,
    swapped_survival,
)
from ksfusion.results.runs import Run, outcome_columns
from ksfusion.results.statistics import LEAST_CASES, RESAMPLES, CaseDraws, all_cases
from ksfusion.results.tables.differences import COLUMNS, FAMILY, NUMBERS, Difference
from ksfusion.results.tables.folds import (
    LEVELS,
    FoldScores,
    FoldTables,
    Level,
    average,
    cases_by_fold,
    cohorts_of,
    score_folds,
    skipped_text,
    tables_by_fold,
)
from ksfusion.results.tables.scores import TEST
from ksfusion.terms.splits import EXTERNAL
from ksfusion.terms.tasks import PREDICTED

DELONG, PERMUTATION = "delong", "permutation"


@dataclass(frozen=True)
class Scope:
    """What is scored, and how often cases are drawn; ``external``: the external cohort that the runs are of."""

    task: ShownTask
    level: Level
    cohort: str
    folds: Sequence[int]
    resamples: int
    external: str = ""


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


@dataclass(frozen=True)
class Tested:
    """What a fold gives to the tests of a pair of methods.

    Attributes
    ----------
    areas
        The difference of the areas under curves, where there are any.
    swapped
        Of any other metric the difference, the mean over seeds, for each permutation.
    """

    areas: AreaDifference | None
    swapped: Mapping[str, np.ndarray]


def comparison_table(
    runs: Sequence[Run],
    *,
    tasks: Sequence[ShownTask],
    methods: Sequence[str],
    reference: str,
    correction: Correction,
    resamples: int = RESAMPLES,
    external: str = "",
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
                scope = Scope(task, level, cohort, folds, resamples, external)
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
    return Scored(tables, score_folds(tables, PaperMeasure(scope.task), scope.resamples))


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
        tested = _prepare_tests(ours.tables, theirs.tables, scope.task)
    elif scope.cohort != ALL:
        return
    folds: list[tuple[str, Sequence[int]]] = [(ALL, list(differences)), *((str(fold), [fold]) for fold in differences)]
    for metric in METRICS[scope.task.kind]:
        rows = []
        for fold, numbers in folds:
            by_fold = {number: differences[number] for number in numbers}
            repeated = bool(scope.external)
            score = average(by_fold, metric, scope.level, scope.cohort, fold, pair.reason, repeated=repeated)
            defined = [number for number in numbers if np.isfinite(list(by_fold[number].values[metric].values())).any()]
            p, test, untested = _test(metric, [tested[number] for number in defined], scope.task)
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


def _prepare_tests(ours: FoldTables, theirs: FoldTables, task: ShownTask) -> dict[int, Tested]:
    """Return what each fold gives to the tests; a case is swapped in all folds, or in none."""
    cases = all_cases(np.array(sorted(ids), dtype=str) for ids in cases_by_fold(ours).values())
    swaps = CaseDraws(cases, draw_swaps(len(cases)))
    return {fold: _prepare_fold(by_seed, theirs[fold], task, swaps) for fold, by_seed in ours.items()}


def _prepare_fold(
    ours: Mapping[int, pd.DataFrame], theirs: Mapping[int, pd.DataFrame], task: ShownTask, swaps: CaseDraws
) -> Tested:
    truth, prediction = outcome_columns(task)
    swapped: list[dict[str, np.ndarray]] = []
    for seed, table in ours.items():
        other, swap = theirs[seed], swaps.of_samples(table["case_id"])
        if task.kind == "survival":
            days, event = (table[column].to_numpy() for column in truth)
            (risk,) = prediction
            if comparable_pairs(days, event > 0).any():
                swapped.append(swapped_survival(days, event, table[risk].to_numpy(), other[risk].to_numpy(), swap))
        elif task.kind == "regression":
            mine, his = table[PREDICTED].to_numpy(), other[PREDICTED].to_numpy()
            swapped.append(swapped_regression(table["y"].to_numpy(), mine, his, swap))
        else:
            mine, his = table[prediction].to_numpy(), other[prediction].to_numpy()
            swapped.append(
                swapped_classification(table["y"].to_numpy(), mine, his, swap, positive=task.positive_number)
            )
    areas = None
    if task.kind == "classification" and ours:
        table = next(iter(ours.values()))
        labels = table["y"].to_numpy().astype(int)
        if len(np.unique(labels)) > 1:
            areas = area_difference(
                labels,
                np.stack([by_seed[prediction].to_numpy() for by_seed in ours.values()]),
                np.stack([by_seed[prediction].to_numpy() for by_seed in theirs.values()]),
                table["case_id"].to_numpy(),
            )
    metrics = swapped[0] if swapped else ()
    return Tested(areas, {metric: np.mean([seed[metric] for seed in swapped], axis=0) for metric in metrics})


def _test(metric: str, folds: Sequence[Tested], task: ShownTask) -> tuple[float, str, str]:
    """Return the p-value of the mean difference over folds, the test that gave it, and why there is none."""
    if not folds:
        return NAN, "", ""
    if metric != "auc":
        return permutation_p_value(np.mean([fold.swapped[metric] for fold in folds], axis=0)), PERMUTATION, ""
    areas = [fold.areas for fold in folds if fold.areas]
    if len(all_cases(fold.cases for fold in areas)) < LEAST_CASES:
        return NAN, "", ""  # said of the interval already
    if alone := sorted({number for fold in areas for number in fold.alone}):
        labels = task.class_labels()
        return NAN, "", f"no p: fewer than two test cases of, or beside, {', '.join(labels[n] for n in alone)}"
    p = delong_p_value(areas)
    return (NAN, "", "no p: the areas have no variance") if np.isnan(p) else (p, DELONG, "")
