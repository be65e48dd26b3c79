"""The text of a first configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ksfusion.cohort.clinical import Cases
from ksfusion.cohort.config import Labelling

SAMPLES, CASES = "samples.tsv", "cases.tsv"
# Fewer cases than this are divided so that validation and test have some.
FEW_CASES = 200
FRACTIONS_OF_FEW = [0.6, 0.2, 0.2]


def configuration_text(
    cases: Cases, expression: Mapping[str, str], builtin: Mapping[str, Labelling], *, unit_is_sure: bool
) -> str:
    """Return the text of a first configuration.

    Parameters
    ----------
    cases
        What is known of the cases.
    expression
        The entry of ``cohort.expression``.
    builtin
        The built-in tasks.
    unit_is_sure
        Whether the unit of expression was given, or the format says it.
    """
    few = len(cases.rows) < FEW_CASES
    blocks = [
        "# What is left out has the paper's values: docs/configuration.md, and config.yaml with every key explained.",
        f"cohort:\n  samples: {SAMPLES}\n  cases: {CASES}",
        *_columns(cases.mapping),
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
    ]
    return "\n".join(block for block in blocks if block) + "\n"


def _columns(mapping: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that say what the names and words of the tables mean."""
    if mapping:
        yield "  # What your columns and words mean; a word that left a doubt is null: nothing is known there."
        yield "  columns:"
        yield from (f"    {name}: {_flow(entry)}" for name, entry in mapping.items())


def _tasks(cases: Cases, tasks: Mapping[str, Labelling]) -> str:
    """Return the block of tasks: the built-in ones whose labels are there, and the user's own."""
    there = {column for column in cases.columns if any(row[column] for row in cases.rows)}
    labels = {"diagnosis": {"idh", "codel_1p19q"}, "grading": {"grade"}, "survival": {"survival_days", "event"}}
    builtin = [name for name in tasks if labels[name] <= there]
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
