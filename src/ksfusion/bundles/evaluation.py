"""A bundle on cases whose truth is known: the runs that results are told of, and what is left out of them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ksfusion.bundles.calibration import calibrated, log_loss, mean_by_case
from ksfusion.bundles.conformal import conformal_set
from ksfusion.bundles.members import Fold, Member
from ksfusion.bundles.read import Bundle
from ksfusion.bundles.seen import splits_of_case
from ksfusion.cohort.columns import map_columns, unmapped
from ksfusion.cohort.config import Labelling, UserColumn
from ksfusion.cohort.labels import label_cases
from ksfusion.cohort.samples import check_cases
from ksfusion.cohort.user_table import check_columns, read_user_table
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import write_parquet
from ksfusion.results.runs import Run, outcome_columns, read_runs
from ksfusion.terms.splits import CALIBRATION, EXTERNAL
from ksfusion.terms.tasks import TaskOutcome, prediction_columns
from ksfusion.training.checkpoint import CONFIG, METRICS, PREDICTIONS
from ksfusion.training.fold_tables import truth_columns

# Sides on which a case has had a say in a model: in its weights, its epoch, its temperature or its conformal scores.
TAUGHT = ("train", "val", CALIBRATION)
LEFT_OUT_COLUMNS = ["case_id", "fold", "reason"]


class Evaluated(NamedTuple):
    """What a bundle is evaluated on.

    Attributes
    ----------
    tables
        What each member predicts of the cases that it is scored on: the columns of ``predictions.parquet`` and the
        truth, ``split: external``.
    left_out : pandas.DataFrame
        case_id, fold (empty for all) and why.
    of_study
        Cohorts in which are test cases of the study: what is told of them is no result of other cases.
    """

    tables: dict[Member, pd.DataFrame]
    left_out: pd.DataFrame
    of_study: frozenset[str] = frozenset()


def read_labels(
    path: Path,
    task: TaskOutcome,
    labelling: Labelling,
    columns: Mapping[str, UserColumn] | None = None,
    *,
    samples: Path | None = None,
) -> pd.DataFrame:
    """Read the truth of cases from a user's table.

    Parameters
    ----------
    path
        The table.
    task
        The task.
    labelling
        Where its labels come from.
    columns
        What the columns and words of the user's tables mean; without them these are the study's.
    samples
        The table of samples, of which ``columns`` may speak too.

    Returns
    -------
    pandas.DataFrame
        Indexed by case_id: y, or days and event, missing where unknown; and ``reason``, why it is unknown.

    Raises
    ------
    UserError
        With a line for each problem of the table, or if no case has a label.
    """
    table, given = read_user_table(str(path)), columns or {}
    # A study's own columns may be of more than this task.
    wanted = {name: given[name] for name in ("case_id", *labelling.columns) if name in given}
    if table.columns:
        others = [read_user_table(str(samples))] if samples is not None else []
        table.problems += unmapped(wanted, table, *others)
    map_columns(table, given)
    if table.columns and check_columns(table, ["case_id"]):
        check_cases(table, {task.name: labelling})
    if problems := table.all_problems():
        raise UserError("\n".join(problems))
    cases, findings = label_cases(pd.DataFrame(table.rows, columns=list(table.columns)), {task.name: labelling})
    reasons = {entry["subject"]: entry["detail"] for entry in findings if entry["check"] == f"no_label_{task.name}"}
    truth = truth_columns(task)
    found = cases.set_index("case_id")[list(truth)].rename(columns=truth).astype(float)
    if found.isna().any(axis=1).all():
        said = ", ".join(labelling.columns)
        raise UserError(f"{path}: no case has a label of task {task.name}; it comes from {said}")
    return found.assign(reason=[reasons.get(case_id, "") for case_id in found.index])


def evaluated(
    bundle: Bundle, predicted: pd.DataFrame, labels: pd.DataFrame, asked: Mapping[str, Iterable[str]]
) -> Evaluated:
    """Join predictions with the truth, and leave out what a model was taught on.

    Parameters
    ----------
    bundle
        The bundle.
    predicted : pandas.DataFrame
        What each member predicts of each sample: the columns of ``predictions.parquet``, and ``seed``.
    labels : pandas.DataFrame
        Of `read_labels`.
    asked
        Each case of the table of samples, to the digests of its slides' files.
    """
    truth, _ = outcome_columns(bundle.task)
    predicted = predicted.drop(columns=truth, errors="ignore").join(labels[truth], on="case_id")
    cases = sorted(predicted["case_id"].unique())
    splits = {case: splits_of_case(bundle.cases, bundle.slides, case, asked.get(case, ())) for case in cases}
    left_out = [(case, "", "no sample of it could be predicted") for case in sorted(set(asked) - set(cases))]
    unknown = [case for case in cases if case not in labels.index or labels.loc[case, truth].isna().any()]
    for case in unknown:
        reason = labels["reason"].get(case, "") or "not in the table of cases"
        left_out.append((case, "", reason))
    known = predicted[~predicted["case_id"].isin(unknown)]
    tables: dict[Member, pd.DataFrame] = {}
    for fold in bundle.folds:
        taught = {case for case in cases if splits[case].get(fold.number) in TAUGHT}
        for case in sorted(taught - set(unknown)):
            left_out.append((case, str(fold.number), f"took part in training, in split {splits[case][fold.number]}"))
        for member in fold.members:
            own = known[(known["fold"] == member.fold) & (known["seed"] == member.seed)]
            own = own[~own["case_id"].isin(taught)].drop(columns="seed").assign(split=EXTERNAL)
            tables[member] = own.reset_index(drop=True)
    scored = pd.concat(tables.values())
    of_study = scored.loc[scored["case_id"].map(lambda case: bool(splits[case])), "cohort"]
    return Evaluated(tables, pd.DataFrame(left_out, columns=LEFT_OUT_COLUMNS), frozenset(of_study))


def as_runs(bundle: Bundle, tables: Mapping[Member, pd.DataFrame]) -> list[Run]:
    """Return the members as runs whose external cohorts are the cohorts of the samples, survival curves included."""
    with tempfile.TemporaryDirectory() as place:
        folders = []
        for member, table in tables.items():
            folder = Path(place, f"fold{member.fold}", f"seed{member.seed}")
            folder.mkdir(parents=True)
            write_parquet(table, folder / PREDICTIONS, {})
            shutil.copyfile(member.folder / CONFIG, folder / CONFIG)
            run = {"task": bundle.task.name, "method": bundle.method, "fold": member.fold, "seed": member.seed}
            (folder / METRICS).write_text(json.dumps({**run, "status": "ok", "reason": "", "best_epoch": None}))
            folders.append(folder)
        return read_runs(folders, [bundle.task], curves=True)


def calibration_table(
    bundle: Bundle, tables: Mapping[Member, pd.DataFrame], level: float | None = None
) -> pd.DataFrame:
    """Return how well probabilities, or curves, fit, with and without temperature, and what conformal sets cover.

    Parameters
    ----------
    bundle
        The bundle.
    tables
        Of `Evaluated`.
    level
        Of the conformal sets; None is that of the bundle.

    Returns
    -------
    pandas.DataFrame
        Of each cohort and fold: cohort, fold, cases, temperature, loss_raw, loss_calibrated (mean negative
        log-likelihood of a case), level, covered (share of cases whose class is in their set), classes (of a set, on
        average), reason (why something is missing). Empty for a number.
    """
    rows: list[dict[str, Any]] = []
    level = bundle.contents.level if level is None else level
    for fold in bundle.folds:
        own = [tables[member] for member in fold.members]
        if bundle.task.kind == "regression" or own[0].empty:
            continue
        cases = mean_by_case(own, bundle.task)
        rows += [_calibration_row(bundle, fold, rows_of, cohort, level) for cohort, rows_of in cases.groupby("cohort")]
    columns = ["cohort", "fold", "cases", "temperature", "loss_raw", "loss_calibrated", "level", "covered", "classes"]
    table = pd.DataFrame(rows, columns=[*columns, "reason"])
    return table.sort_values(["cohort", "fold"], ignore_index=True)


def _calibration_row(bundle: Bundle, fold: Fold, cases: pd.DataFrame, cohort: str, level: float) -> dict[str, Any]:
    task, known, cuts = bundle.task, fold.calibration, fold.members[0].cuts
    row: dict[str, Any] = {"cohort": cohort, "fold": fold.number, "cases": len(cases)}
    row["loss_raw"] = log_loss(cases, task, cuts)
    reasons = [known.no_temperature, known.no_scores if task.kind == "classification" else ""]
    shown = calibrated(cases, known, task)
    if known.temperature is not None and shown is not None:
        row["temperature"] = known.temperature.value
        row["loss_calibrated"] = log_loss(shown, task, cuts)
    if known.scores:
        probabilities = (cases if shown is None else shown)[prediction_columns(task)].to_numpy(float)
        sets = [conformal_set([own], [known.scores], task.classes, level=level) for own in probabilities]
        reasons.append(sets[0].reason)
        if not sets[0].reason:
            names = [task.classes[int(number)] for number in cases["y"]]
            row["level"] = level
            row["covered"] = np.mean([name in found.classes for name, found in zip(names, sets, strict=True)])
            row["classes"] = np.mean([len(found.classes) for found in sets])
    return {**row, "reason": "; ".join(filter(None, reasons))}
