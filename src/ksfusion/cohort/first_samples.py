"""A first table of samples: slides and profiles placed with the cases of a clinical table by their names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ksfusion.cohort.clinical import Cases, ClinicalTable, Note, Row, cases_of
from ksfusion.cohort.placing import CaseIndex, closest_profiles, name_of, valid_id
from ksfusion.core.errors import UserError

# What no name may hold that Snakemake takes for a wildcard.
NOT_IN_PATHS = "{}*?"


@dataclass(frozen=True)
class Started:
    """What is known of a study that begins.

    Attributes
    ----------
    samples
        Rows of the table of samples.
    cases
        Those of the table of cases.
    notes
        What could not be placed, and why.
    """

    samples: list[Row]
    cases: Cases
    notes: list[Note]


def place(
    files: Sequence[Path], profile_ids: Sequence[str], table: ClinicalTable, meanings: Mapping[str, str], cohort: str
) -> Started:
    """Place slides and profiles with the cases of a table.

    Parameters
    ----------
    files
        Paths of the slides.
    profile_ids
        Ids of the expression profiles.
    table, meanings
        The clinical table, and the column of each meaning.
    cohort
        Name of the cohort.

    Raises
    ------
    UserError
        If two cases would have one id, or no slide belongs to a case.
    """
    ids = {value: valid_id(value) for value in dict.fromkeys(table.values(meanings["case_id"]))}
    notes: list[Note] = []
    if twice := [name for name, count in Counter(ids.values()).items() if count > 1]:
        raise UserError(f"{table.path}: column {meanings['case_id']}: several ids become {twice[0]}; rename them")
    cases = cases_of(table, meanings, ids)
    finder = {
        meaning: CaseIndex(
            {row[meanings[meaning]]: ids[row[meanings["case_id"]]] for row in table.rows
             if row[meanings[meaning]] and row[meanings["case_id"]] in ids}
        )
        for meaning in ("slide", "expression_id")
    }  # fmt: skip
    slides: dict[str, list[Path]] = {}
    for path in files:
        placed = finder["slide"].of(name_of(path))
        if any(mark in str(path) for mark in NOT_IN_PATHS):
            notes.append(("slide", str(path), f"has one of {NOT_IN_PATHS} in its path: rename it"))
        elif placed.case is None:
            notes.append(("slide", str(path), placed.reason))
        else:
            slides.setdefault(placed.case, []).append(path)
    profiles: dict[str, list[str]] = {}
    of_slides = CaseIndex({name_of(path): case for case, paths in slides.items() for path in paths})
    for profile in profile_ids:
        placed = finder["expression_id"].of(profile)
        placed = placed if placed.case is not None else of_slides.of(profile)
        if profile != valid_id(profile):
            notes.append(("profile", profile, "has characters that no id has: rename it"))
        elif placed.case is None:
            notes.append(("profile", profile, placed.reason))
        else:
            profiles.setdefault(placed.case, []).append(profile)
    for case in (case for case in profiles if case not in slides):
        notes += [("profile", name, "its case has no slide") for name in profiles[case]]
    notes += [("case", row["case_id"], "has no slide") for row in cases.rows if row["case_id"] not in slides]
    if not slides:
        raise UserError(
            f"no slide belongs to a case: {files[0].name} has none of the ids of column {meanings['case_id']} of "
            f"{table.path}, such as {next(iter(ids), '')}; name the column (--column case_id=COLUMN, or slide=COLUMN)"
        )
    samples = list(_samples(slides, profiles, cohort, notes))
    return Started(samples, cases, [*notes, *cases.notes])


def _samples(
    slides: Mapping[str, Sequence[Path]], profiles: Mapping[str, Sequence[str]], cohort: str, notes: list[Note]
) -> Iterator[Row]:
    """Yield a row for each slide with each of the profiles that are closest to it."""
    stems = Counter(valid_id(name_of(path)) for paths in slides.values() for path in paths)
    for case, paths in slides.items():
        for path in paths:
            name = valid_id(name_of(path))
            slide_id = name if stems[name] == 1 else valid_id(f"{path.parent.name}_{name}_{path.suffix[1:]}")
            own = closest_profiles(name_of(path), profiles.get(case, ()))
            if not own:
                notes.append(("slide", str(path), "its case has no profile: it is kept, and not used"))
            for number, profile in enumerate(own or [""]):
                yield {
                    "sample_id": slide_id if number == 0 else f"{slide_id}.{number + 1}",
                    "case_id": case,
                    "cohort": cohort,
                    "slide": from_here(path),
                    "expression_id": profile,
                    "slide_id": slide_id,
                    "mpp": "",
                }


def from_here(path: Path) -> str:
    """Return a path from this folder where it lies in it, else in full."""
    full = Path.cwd() / path
    return os.path.normpath(full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full)
