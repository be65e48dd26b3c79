"""The result tables: every method on the test samples and cases, with intervals and the paper's values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_text, write_tsv
from ksfusion.results.metrics import (
    MACRO_METRICS,
    METRICS,
    NAN,
    absent_classes,
    classification_metrics,
    survival_metrics,
)
from ksfusion.results.runs import Run, average_by_case, outcome_columns, read_runs
from ksfusion.results.statistics import interval, resampled_classification, resampled_survival, sample_weights
from ksfusion.results.tables.layout import PAPER_NOTE, alpha_of, lay_out, to_latex, to_markdown

COLUMNS = [
    "method",
    "task",
    "metric",
    "level",
    "cohort",
    "fold",
    "mean",
    "sd",
    "ci_low",
    "ci_high",
    "paper",
    "n",
    "reason",
]
NUMBERS = ["mean", "sd", "ci_low", "ci_high", "paper"]
LEVELS = ("sample", "case")
ALL = "all"
FULL_METHOD = "ksfusion"
WITHOUT_COMPONENT = re.compile(r"ksfusion-no-.+")
WITH_ALPHA = re.compile(r"ksfusion-alpha(\d+)")
PAPER_ALPHA = 0.5
TITLES = {"table1": "Methods compared on the test samples", "table2": "KS-Fusion without one of its components"}


def make_tables(
    run_dirs: Iterable[Path],
    output_dir: Path,
    *,
    tasks: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    paper: Path,
    caveats: Sequence[str] = (),
    names: Sequence[str] = ("table1", "table2", "alpha"),
    shared: Mapping[str, str] | None = None,
) -> None:
    """Write ``table1``, ``table2`` (.tsv, .md, .tex) and ``alpha.tsv``, or some of them.

    Table 1 holds all methods but the ablations, Table 2 ksfusion and its variants without a component, ``alpha.tsv``
    ksfusion and its variants with another alpha. Each is a long table of `COLUMNS`; a method or task without a result
    has rows with the reason.

    Parameters
    ----------
    run_dirs
        Folders of runs, each with ``predictions.parquet`` and ``metrics.json``.
    output_dir
        Folder of the tables.
    tasks
        ``name``, ``kind`` and ``classes`` of each task, in the order of the tables.
    methods
        Names, in the order of the tables.
    paper
        Table of the published values: method, task, metric, percent.
    caveats
        Sentences that must stand under every table.
    names
        Which tables.
    shared
        Methods without runs of their own, see `ksfusion.results.runs.read_runs`.
    """
    results = result_table(
        read_runs(run_dirs, tasks, shared=shared), tasks=tasks, methods=methods, paper=read_tsv(paper)
    )
    settings = {"tasks": [dict(task) for task in tasks], "methods": list(methods), "caveats": list(caveats)}
    settings["shared"] = dict(shared or {})
    made_by = provenance("ksfusion.results.tables.scores", settings)
    of_table = choose_methods(methods)
    for name in names:
        long = results[results["method"].isin(of_table[name])]
        write_tsv(as_text(long), output_dir / f"{name}.tsv", made_by)
        if name in TITLES:
            layout = lay_out(long, caveats=caveats)
            write_text(to_markdown(layout, title=TITLES[name], note=PAPER_NOTE), output_dir / f"{name}.md", made_by)
            write_text(
                to_latex(layout, title=TITLES[name], label=f"tab:{name}", note=PAPER_NOTE),
                output_dir / f"{name}.tex",
                made_by,
            )


def choose_methods(methods: Iterable[str]) -> dict[str, list[str]]:
    """Return the methods of ``table1``, ``table2`` and ``alpha``."""
    methods = list(methods)
    ablations = [name for name in methods if WITHOUT_COMPONENT.fullmatch(name)]
    alphas = [name for name in methods if WITH_ALPHA.fullmatch(name)]
    full = [name for name in methods if name == FULL_METHOD]
    return {
        "table1": [name for name in methods if name not in {*ablations, *alphas}],
        "table2": full + ablations if ablations else [],
        "alpha": full + alphas if alphas else [],
    }


def as_text(long: pd.DataFrame) -> pd.DataFrame:
    """Return a long table with its numbers as text of four decimals, empty where missing."""
    text = long[COLUMNS].copy()
    for column in NUMBERS:
        text[column] = long[column].map(lambda value: "" if np.isnan(value) else f"{value:.4f}").astype(object)
    return text


def read_table(path: Path) -> pd.DataFrame:
    """Read a long table that `make_tables` wrote."""
    table = read_tsv(path, dtype={"fold": str, "cohort": str, "reason": str})
    return table.astype(dict.fromkeys(NUMBERS, float)).fillna({"reason": ""})


def result_table(
    runs: Sequence[Run], *, tasks: Sequence[Mapping[str, Any]], methods: Sequence[str], paper: pd.DataFrame
) -> pd.DataFrame:
    """Score all runs: the long table of `COLUMNS`, in order of method, task, metric, level, cohort and fold."""
    published = {(row.method, row.task, row.metric): row.percent for row in paper.itertuples()}
    folds = sorted({run.fold for run in runs})
    rows = []
    for method in methods:
        for task in tasks:
            own = [run for run in runs if (run.task, run.method) == (task["name"], method)]
            found = [row for level in LEVELS for row in _score_level(own, task, level, folds)]
            order = {metric: position for position, metric in enumerate(METRICS[task["kind"]])}
            for row in sorted(found, key=lambda row: order[row["metric"]]):
                is_published = (row["level"], row["cohort"], row["fold"]) == ("sample", ALL, ALL)
                key = (_published_as(method), task["name"], row["metric"])
                paper_value = published.get(key, NAN) if is_published else NAN
                rows.append({"method": method, "task": task["name"], "paper": paper_value, **row})
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({**dict.fromkeys(NUMBERS, float), "n": int})


def _published_as(method: str) -> str:
    """Return the row of the paper that a method is compared with: its KS-Fusion had the alpha of one variant."""
    return FULL_METHOD if WITH_ALPHA.fullmatch(method) and alpha_of(method) == PAPER_ALPHA else method


def _score_level(runs: Sequence[Run], task: Mapping[str, Any], level: str, folds: Sequence[int]) -> list[dict]:
    """Return the rows of one method, task and level: all samples, then each cohort; all folds, then each."""
    good = [run for run in runs if not run.reason]
    skipped = _skipped_text(runs)
    cohorts = sorted({cohort for run in good for cohort in run.test["cohort"]})
    rows = []
    for cohort in (ALL, *cohorts):
        tables: dict[int, dict[int, pd.DataFrame]] = {fold: {} for fold in folds}
        for run in good:
            samples = run.test if cohort == ALL else run.test[run.test["cohort"] == cohort]
            tables[run.fold][run.seed] = samples if level == "sample" else average_by_case(samples, task)
        by_fold = {fold: _score_fold(by_seed, task, fold) for fold, by_seed in tables.items()}
        place = {"level": level, "cohort": cohort}
        for metric in METRICS[task["kind"]]:
            rows.append({**place, "fold": ALL, **_row(by_fold, metric, skipped)})
            if good:
                rows += [
                    {**place, "fold": str(fold), **_row({fold: scores}, metric, skipped)}
                    for fold, scores in by_fold.items()
                ]
    return rows


def _skipped_text(runs: Sequence[Run]) -> str:
    """Say why runs gave nothing."""
    reasons = sorted({run.reason for run in runs if run.reason})
    if not runs:
        return "no run"
    if not reasons:
        return ""
    skipped = sum(bool(run.reason) for run in runs)
    text = "; ".join(reasons)
    return text if skipped == len(runs) else f"{skipped} of {len(runs)} runs skipped: {text}"


def _score_fold(tables: Mapping[int, pd.DataFrame], task: Mapping[str, Any], fold: int) -> dict[str, Any]:
    """Score the seeds of a fold.

    Returns
    -------
    dict
        ``n``; ``values``: metric to {seed: value}; ``draws``: metric to (resamples,), the mean over seeds of each
        bootstrap draw; ``reasons``: metric to text.
    """
    metrics = METRICS[task["kind"]]
    tables = {seed: table for seed, table in tables.items() if len(table)}
    if not tables:
        reasons = dict.fromkeys(metrics, "no test sample")
        return {"n": 0, "values": {metric: {} for metric in metrics}, "draws": {}, "reasons": reasons}
    truth, prediction = outcome_columns(task)
    values: dict[str, dict[int, float]] = {metric: {} for metric in metrics}
    draws: dict[str, list[np.ndarray]] = {metric: [] for metric in metrics}
    for seed, table in tables.items():
        weights = sample_weights(table["case_id"], seed=fold)
        if task["kind"] == "survival":
            outcome = [table[column].to_numpy() for column in truth + prediction]
            scores, resampled = survival_metrics(*outcome), resampled_survival(*outcome, weights)
        else:
            outcome = [table["y"].to_numpy(), table[prediction].to_numpy()]
            scores, resampled = classification_metrics(*outcome), resampled_classification(*outcome, weights)
        one_case = table["case_id"].nunique() == 1
        for metric in metrics:
            values[metric][seed] = scores[metric]
            draws[metric].append(np.full(len(weights), NAN) if one_case else resampled[metric])
    first = next(iter(tables.values()))
    return {
        "n": len(first),
        "values": values,
        "draws": {metric: np.mean(draws[metric], axis=0) for metric in metrics},
        "reasons": {metric: _why_limited(metric, values[metric], first, task) for metric in metrics},
    }


def _why_limited(metric: str, values: Mapping[int, float], table: pd.DataFrame, task: Mapping[str, Any]) -> str:
    """Say what the test samples lack for a metric, or nothing."""
    if task["kind"] == "survival":
        return "no pair of test samples can be compared" if np.isnan(list(values.values())).all() else ""
    absent = [task["classes"][number] for number in absent_classes(table["y"], len(task["classes"]))]
    if not absent or metric not in MACRO_METRICS:
        return ""
    if len(absent) == len(task["classes"]) - 1:
        return "one class only among the test samples"
    return f"no test sample of {', '.join(absent)}: average over the other classes"


def _row(by_fold: Mapping[int, dict[str, Any]], metric: str, skipped: str) -> dict[str, Any]:
    """Average a metric over folds, then over seeds.

    Folds are averaged rather than pooled: risks and probabilities of different models have no common scale.
    """
    values = pd.DataFrame({fold: pd.Series(scores["values"][metric], dtype=float) for fold, scores in by_fold.items()})
    per_seed = values.mean(axis=1).dropna()
    defined = [fold for fold in by_fold if fold in values and values[fold].notna().any()]
    low, high = NAN, NAN
    if defined:
        low, high = interval(np.mean([by_fold[fold]["draws"][metric] for fold in defined], axis=0))
    reasons = [skipped] if skipped else []
    # A task that was skipped lacks test predictions for that reason, not for want of samples.
    if any(scores["n"] for scores in by_fold.values()) or not skipped:
        told = {fold: scores["reasons"][metric] for fold, scores in by_fold.items() if scores["reasons"][metric]}
        reasons += [f"fold {fold}: {text}" if len(by_fold) > 1 else text for fold, text in told.items()]
    if defined and np.isnan(low):
        reasons.append("too few test cases for an interval")
    return {
        "metric": metric,
        "mean": per_seed.mean() if len(per_seed) else NAN,
        "sd": per_seed.std(ddof=1) if len(per_seed) > 1 else NAN,
        "ci_low": low,
        "ci_high": high,
        "n": sum(scores["n"] for scores in by_fold.values()),
        "reason": "; ".join(reasons),
    }
