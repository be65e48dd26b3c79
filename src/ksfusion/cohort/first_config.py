"""The text of a first configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ksfusion.cohort.clinical import Cases
from ksfusion.cohort.config import Labelling
from ksfusion.cohort.needs import COVARIATES

SAMPLES, CASES = "samples.tsv", "cases.tsv"
# Fewer cases than this are divided so that validation and test have some.
FEW_CASES = 200
FRACTIONS_OF_FEW = [0.6, 0.2, 0.2]
ON_METHODS = "# The paper's, then baselines: regressions that take seconds, which a network must be better than."


def configuration_text(
    cases: Cases,
    expression: Mapping[str, str],
    builtin: Mapping[str, Labelling],
    *,
    unit_is_sure: bool,
    methods: Sequence[str] = (),
) -> str:
    """Return the text of a first configuration.

    Parameters
    ----------
    cases
        Columns known of the cases.
    expression
        The entry of ``cohort.expression``.
    builtin
        The built-in tasks.
    unit_is_sure
        Whether the unit of expression was given, or the format says it.
    methods
        What is trained; none for the default.
    """
    few, clinical = len(cases.rows) < FEW_CASES, clinical_columns(cases)
    blocks = [
        "# What is left out has the paper's values: docs/configuration.md, and config.yaml with every key explained.",
        f"cohort:\n  samples: {SAMPLES}\n  cases: {CASES}",
        *_columns(cases.mapping),
        *([f"  clinical: {_flow(clinical)}  # what the clinical baselines read"] if clinical else []),
        "  expression:",
        *(
            []
            if unit_is_sure
            else [f"    # The unit is judged by the values: make sure that it is {expression['unit']}."]
        ),
        f"    - {_flow(expression)}",
        "features:\n  # Its weights are fetched from the Hugging Face hub; without internet: efficientnet-lite0\n"
        "  encoder: resnet50",
        *([f"splits:\n  fractions: {_flow(FRACTIONS_OF_FEW)}  # training, validation, test"] if few else []),
        _tasks(cases, builtin),
        *([f"{ON_METHODS}\nmethods: {_flow(list(methods))}"] if methods else []),
    ]
    return "\n".join(block for block in blocks if block) + "\n"


def _columns(mapping: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that say what the names and words of the tables mean."""
    if mapping:
        yield "  # What your columns and words mean; a word that left a doubt is null: nothing is known there."
        yield "  columns:"
        yield from (f"    {name}: {_flow(entry)}" for name, entry in mapping.items())


def clinical_columns(cases: Cases) -> list[str]:
    """Return the columns that clinical baselines can read: those that say something."""
    return [name for name in COVARIATES if name in _filled(cases)]


def task_kinds(cases: Cases, builtin: Mapping[str, Labelling]) -> set[str]:
    """Return the kinds of the tasks that a first configuration has."""
    if cases.classes:
        return {"classification"} | {builtin[name].kind for name in _labelled(cases, builtin)}
    # Without any the built-in ones stand there, by default.
    return {builtin[name].kind for name in _labelled(cases, builtin) or builtin}


def _filled(cases: Cases) -> set[str]:
    return {column for column in cases.columns if any(row[column] for row in cases.rows)}


def _labelled(cases: Cases, tasks: Mapping[str, Labelling]) -> list[str]:
    """Return the built-in tasks whose labels are there."""
    labels = {"diagnosis": {"idh", "codel_1p19q"}, "grading": {"grade"}, "survival": {"survival_days", "event"}}
    return [name for name in tasks if labels[name] <= _filled(cases)]


def _tasks(cases: Cases, tasks: Mapping[str, Labelling]) -> str:
    """Return the block of tasks: the built-in ones whose labels are there, and the user's own."""
    builtin = _labelled(cases, tasks)
    if not cases.classes:
        return f"tasks: {_flow(builtin)}" if builtin else ""
    lines = ["tasks:"]
    for name in builtin:
        task = tasks[name]
        lines.append(
            f"  {name}: {_flow(task.model_dump(include={'kind', *task.model_fields_set}, exclude_defaults=True))}"
        )
    for name, classes in cases.classes.items():
        lines.append(f"  {name}: {_flow({'kind': 'classification', 'column': name, 'classes': classes})}")
    return "\n".join(lines)


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True)
    return str(text).removesuffix("\n").removesuffix("\n...")
