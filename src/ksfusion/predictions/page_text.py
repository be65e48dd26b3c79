"""The sentences of a patient's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ksfusion.results.config import ShownTask
from ksfusion.terms.tasks import prediction_columns, probability_column


def figures(value: float | None, decimals: int = 2) -> str:
    """Return a number with some decimals; empty where it is not known."""
    return "" if value is None or pd.isna(value) else f"{value:.{decimals}f}"


def sentence(answer: Mapping[str, Any], task: ShownTask) -> str:
    """Return the answer in a sentence or two."""
    if task.kind == "classification":
        return _said_of_classes(answer, task)
    percentile = answer["percentile"]["mean"]
    if task.kind == "survival":
        of_all = "" if percentile is None else f", higher than that of {percentile:.0f} % of the training cases"
        return f"{answer['group'].capitalize()} risk{of_all}."
    (spread,) = answer["values"].values()
    among = "" if percentile is None else f", above {percentile:.0f} % of the training cases"
    return f"{spread['mean']:.4g} (models: {spread['low']:.4g} to {spread['high']:.4g}){among}."


def _said_of_classes(answer: Mapping[str, Any], task: ShownTask) -> str:
    labels = dict(zip(task.classes, task.class_labels(), strict=True))
    best = max(task.classes, key=lambda name: answer["values"][probability_column(name)]["mean"])
    column = probability_column(best)
    spread = answer["values"][column]
    said = f"Most likely {labels[best]}: probability {spread['mean']:.2f}"
    if len(answer["members"]) > 1:
        said += f" (models: {spread['low']:.2f} to {spread['high']:.2f})"
    if answer["calibrated"]:
        said += f", calibrated {answer['calibrated'][column]:.2f}"
    conformal = answer["conformal"]
    if not conformal or conformal["reason"]:
        return f"{said}."
    inside = ", ".join(labels[name] for name in conformal["classes"]) or "no class"
    return f"{said}. The set at level {conformal['level']:.0%}: {inside}."


def notes(answer: Mapping[str, Any], task: ShownTask) -> list[str]:
    """Return what is to be known to read the numbers."""
    said = ["Dots: each model; bar: their mean" + ("; upright line: calibrated." if answer["calibrated"] else ".")]
    if len(answer["members"]) > 1:
        said.append(
            "The spread over models tells how far training them again would change the answer, not how often it is "
            "right."
        )
    if answer["no_temperature"]:
        said.append(f"Not calibrated: {answer['no_temperature']}.")
    conformal = answer["conformal"]
    if conformal and conformal["reason"]:
        said.append(f"No set of classes at a stated level: {conformal['reason']}.")
    elif conformal:
        said.append(
            f"Of cases that are exchangeable with those of the study, {conformal['level']:.0%} or more have their "
            "class in such a set, on average; of other cohorts nothing is claimed."
        )
    if task.kind == "survival":
        said.append("Low and high: on which side of the median of the training cases the risk lies.")
    return said


def cautions(case: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is to be known beside the answer, alike of several samples once."""
    told: dict[tuple[str, str], list[str]] = {}
    for flag in case["flags"]:
        told.setdefault((flag["code"], flag["detail"]), []).append(flag["sample_id"])
    lines = []
    for (code, detail), samples in told.items():
        named = [sample for sample in samples if sample]
        of = f"{', '.join(named)}: " if named and len(case["samples"]) > 1 else ""
        lines.append({"code": code, "text": f"{of}{detail}"})
    return lines


def how_it_came(case: Mapping[str, Any]) -> str:
    """Return how one answer came of all samples and models."""
    used = [sample for sample in case["samples"] if not sample["reason"]]
    slides = len({sample["slide_id"] for sample in used} - {""})
    profiles = len({sample["expression_id"] for sample in used} - {""})
    parts = [_count(slides, "slide")] * bool(slides) + [_count(profiles, "profile")] * bool(profiles)
    members = len(case["answer"]["members"])
    mean = ", averaged over samples and then over models" if len(used) > 1 or members > 1 else ""
    return f"{_count(len(used), 'sample')} ({' and '.join(parts)}), {_count(members, 'model')}{mean}: one answer."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def member_rows(answer: Mapping[str, Any] | None, task: ShownTask) -> dict[str, Any]:
    """Return what each model says, and the heads of its columns, as the template takes them."""
    if answer is None:
        return {"members": [], "member_columns": []}
    columns = prediction_columns(task)
    heads = task.class_labels() if task.kind == "classification" else [task.heading]
    if task.kind == "survival":
        heads = ["Risk"]
    if answer["percentile"]:
        heads = [*heads, "Percentile"]
    rows = []
    for member in answer["members"]:
        values = [figures(member["values"][name], 3) for name in columns]
        values += [figures(member["percentile"], 0)] if answer["percentile"] else []
        side = {"": "new", "test": "a test case"}.get(member["side"], f"used ({member['side']})")
        rows.append({"fold": member["fold"], "seed": member["seed"], "side": side, "numbers": values})
    return {"members": rows, "member_columns": heads}
