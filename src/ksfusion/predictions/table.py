"""``predictions.tsv``: one row for each new patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.bundles.members import Member
from ksfusion.predictions.answers import Answer, alive_at
from ksfusion.predictions.flags import TRAINED_ON, CaseFlag
from ksfusion.results.config import ShownTask, Times
from ksfusion.terms.tasks import prediction_columns

# Days at which the survival of a patient is told, as that of a study is.
TIMES = Times().times
DECIMALS = 6


def case_row(
    case_id: str, samples: pd.DataFrame, answer: Answer | None, flags: Sequence[CaseFlag], task: ShownTask
) -> dict[str, Any]:
    """Return the row of a case.

    Parameters
    ----------
    case_id
        The case.
    samples : pandas.DataFrame
        Its samples (`ksfusion.predictions.samples.NewSamples.table`).
    answer
        What is predicted; None where no sample of it could be.
    flags
        What is to be known beside it.
    task
        What is predicted.
    """
    used = samples[samples["reason"] == ""]
    row: dict[str, Any] = {"case_id": case_id, "status": "ok" if answer else "failed"}
    row["reason"] = "" if answer else samples["reason"].iloc[0]
    row |= {name: "" for name in _columns(task)}
    if answer:
        row |= _predicted(answer, task)
    row["flags"] = ";".join(dict.fromkeys(flag.code for flag in flags))
    row["trained_on"] = "yes" if any(flag.code == TRAINED_ON for flag in flags) else "no"
    row["samples"], row["samples_used"] = len(samples), len(used)
    row["slides"], row["profiles"] = (_count(used[name]) for name in ("slide_id", "expression_id"))
    row["models"] = len(answer.members) if answer else 0
    row["left_out"] = ";".join(
        f"{sample.sample_id}:{sample.reason}" for sample in samples[samples["reason"] != ""].itertuples()
    )
    return row


def _count(ids: pd.Series) -> int:
    return int(ids[ids != ""].nunique())


def _columns(task: ShownTask) -> list[str]:
    columns = [name for value in prediction_columns(task) for name in (value, f"{value}_sd")]
    if task.kind == "classification":
        return ["predicted", *columns, *(f"{name}_calibrated" for name in prediction_columns(task)), "set", "set_level"]
    if task.kind == "survival":
        alive = [f"alive_{day:g}{ending}" for day in TIMES for ending in ("", "_calibrated")]
        return [*columns, "percentile", "percentile_sd", "group", *alive]
    return [*columns, "percentile", "percentile_sd"]


def _predicted(answer: Answer, task: ShownTask) -> dict[str, Any]:
    """Return what is predicted, as text."""
    row: dict[str, Any] = {}
    for name, spread in answer.values.items():
        row |= {name: as_text(spread.mean), f"{name}_sd": as_text(spread.sd)}
    if task.kind == "classification":
        best = int(np.argmax([answer.values[name].mean for name in prediction_columns(task)]))
        row["predicted"] = task.classes[best]
        row |= {f"{name}_calibrated": as_text(value) for name, value in answer.calibrated.items()}
        if answer.conformal and not answer.conformal["reason"]:
            row |= {"set": ",".join(answer.conformal["classes"]), "set_level": f"{answer.conformal['level']:g}"}
    if answer.percentile:
        row |= {"percentile": as_text(answer.percentile.mean), "percentile_sd": as_text(answer.percentile.sd)}
    if task.kind == "survival":
        row["group"] = answer.group
        for curve, ending in ((answer.curve, ""), (answer.calibrated_curve, "_calibrated")):
            row |= {f"alive_{day:g}{ending}": as_text(alive_at(curve, day)) for day in TIMES if curve}
    return row


def as_text(value: float) -> str:
    """Return a number with six decimals; empty where it is not defined."""
    return f"{value:.{DECIMALS}f}" if np.isfinite(value) else ""


def lines_on(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is told at the end: how many patients have an answer, and why others have none."""
    failed = [row for row in rows if row["status"] != "ok"]
    said = [f"{len(rows) - len(failed)} of {len(rows)} patients have an answer"]
    return said + [f"patient {row['case_id']}: none of its samples could be used: {row['reason']}" for row in failed]


def member_table(tables: Mapping[Member, pd.DataFrame]) -> pd.DataFrame:
    """Return what each member predicts of each sample, one below the other, with the seed of the member."""
    parts = [table.assign(seed=member.seed) for member, table in tables.items()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["sample_id", "fold", "seed"])
