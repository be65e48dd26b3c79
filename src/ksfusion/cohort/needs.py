"""What methods need of the two tables, told before any job where it is not there: clinical columns, slides.

Read with the standard library alone: the Snakefile asks each time it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from ksfusion.cohort.config import Labelling, Requirement
from ksfusion.cohort.labels import MARKER_VALUES
from ksfusion.cohort.samples import CohortTables
from ksfusion.cohort.user_table import columns_there

# What clinical baselines may read, by what a hospital's table calls it, in small letters and digits.
COVARIATES = {
    "age": re.compile(r"(age|ageatdiagnosis|agediagnosis|ageyears|alter|alterbeidiagnose)"),
    "sex": re.compile(r"(sex|gender|geschlecht)"),
}


def covariate_columns(names: Mapping[str, str], numeric: Collection[str]) -> dict[str, str]:
    """Return the columns of a hospital's table that clinical baselines may read, by what they are called here.

    Parameters
    ----------
    names
        Its columns by their names in small letters and digits.
    numeric
        Columns that hold numbers, as an age does.
    """
    found = {
        covariate: [column for name, column in names.items() if pattern.fullmatch(name)]
        for covariate, pattern in COVARIATES.items()
    }
    found["age"] = [column for column in found["age"] if column in numeric]
    return {covariate: columns[0] for covariate, columns in found.items() if columns}


def label_sources(task: Labelling) -> set[str]:
    """Return the columns of cases that a task's label is made of, the markers of a derived diagnosis among them."""
    return {*task.columns, *(MARKER_VALUES if task.columns == ("diagnosis",) else ())}


def clinical_problems(clinical: Sequence[str], tables: CohortTables, path: str) -> list[str]:
    """Return a line for each clinical column that is not there, or has no value.

    Parameters
    ----------
    clinical
        The columns.
    tables
        The validated tables.
    path
        The table of cases, for messages.
    """
    problems = []
    for column in clinical:
        if column not in tables.case_columns:
            there = columns_there([name for name in tables.case_columns if name != "case_id"])
            problems.append(
                f"{path}: row 1: column {column} is missing, cohort.clinical names it; add it or correct the name in "
                f"the configuration; it has {there}"
            )
        elif not any(row[column] for row in tables.cases):
            problems.append(
                f"{path}: column {column} is empty, and cohort.clinical names it; fill it in, or leave it out there"
            )
    return problems


def slide_problems(
    require: Requirement, tables: CohortTables, path: str, *, reading_patches: Sequence[str], source: str
) -> list[str]:
    """Return a line where samples lack slides that are needed.

    Parameters
    ----------
    require
        Parts that a sample must have.
    tables
        The validated tables.
    path
        The table of samples, for messages.
    reading_patches
        The methods that read patches.
    source
        Name of the configuration in messages.
    """
    n_with = sum(bool(row["slide_id"]) for row in tables.samples)
    if require == "paired" and not n_with:
        return [
            f"{path}: no sample has a slide; give their files in the column slide, or set cohort.require: any for "
            "methods that read none"
        ]
    if reading_patches and not n_with:
        return [
            f"{source}: methods: {', '.join(reading_patches)} read patches, and no sample of {path} has a slide; leave "
            "them out (snn and the baselines on genes and clinical columns read none), or give slides"
        ]
    return []


def stand_in_warnings(
    require: Requirement, tables: CohortTables, path: str, *, with_stand_in: Sequence[str], dropout: float
) -> list[str]:
    """Return a line where methods could serve samples with one modality and do not, or no method reads the setting.

    Parameters
    ----------
    require
        Parts that a sample must have.
    tables
        The validated tables.
    path
        The table of samples, for messages.
    with_stand_in
        The methods that can have stand-ins for a slide or genes that are missing.
    dropout
        The modality dropout, by which they have them.
    """
    if dropout and not with_stand_in:
        return [
            "training.modality_dropout changes nothing: no method has a stand-in for what is missing; add ksfusion, "
            "concat or add to methods, or set it to 0"
        ]
    alone = sum(bool(row["slide_id"]) != bool(row["expression_id"]) for row in tables.samples)
    if require == "any" and with_stand_in and not dropout and 0 < alone < len(tables.samples):
        return [
            f"{path}: {alone} of {len(tables.samples)} samples have a slide or a profile alone, and "
            f"{', '.join(with_stand_in)} are trained without them; with training.modality_dropout, such as 0.3, they "
            "serve these too"
        ]
    return []
