"""Splits that the user brings: a table of ours, or a folder of ``splits_{k}.csv`` as CLAM and MCAT write them.

Read with the standard library alone: the Snakefile asks for the folds each time it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ksfusion.cohort.config import Splits
from ksfusion.core.errors import UserError, first_of
from ksfusion.core.ids import default_slide_id
from ksfusion.core.missing import is_missing
from ksfusion.core.tables import TextTable, read_text_table
from ksfusion.terms.splits import ALL_SPLITS, EXTERNAL, SPLIT_COLUMNS, SPLITS

FOLD_FILE = re.compile(r"splits_(\d+)\.(?:csv|xlsx)")


class Entry(NamedTuple):
    """One case (or slide) in one split of a fold, and where that is said."""

    fold: int
    name: str
    split: str
    place: str


def read_split_file(
    path: Path | str, cases: Collection[str], case_of_slide: Mapping[str, str], *, external: Collection[str] = ()
) -> list[Entry]:
    """Read the splits of all cases, fold by fold.

    Parameters
    ----------
    path
        A table (fold, case_id, split), or a file or folder of ``splits_{k}.csv`` (or .xlsx), whose columns ``train``,
        ``val`` and ``test`` list cases or slides.
    cases
        The cases that need a split: those with a sample.
    case_of_slide
        slide_id to case_id, for files that list slides, by their id or their file's name.
    external
        The cases of external cohorts, which need no entry; one of ours may name them as that.

    Returns
    -------
    list of Entry
        ``name`` is a case_id; each case of ``cases`` once in every fold, in order of the file; other names are passed
        over. In a fold without test cases (as MCAT's), the validation cases are the test cases: they are what such a
        file holds out.

    Raises
    ------
    UserError
        If a file cannot be read, leaves a case out, has one in two splits, or divides a case of an external cohort.
    """
    path = Path(path)
    known: dict[tuple[int, str], Entry] = {}
    unknown, twice, divided = [], [], []
    for entry in _entries(path):
        case_id = entry.name if entry.name in cases or entry.name in external else _case_of(entry.name, case_of_slide)
        if case_id is None:
            unknown.append(f"{entry.place}: {entry.name!r} is no case or slide with a sample; remove or correct it")
            continue
        if (case_id in external) != (entry.split == EXTERNAL):
            remedy = _cohort_of(case_id, external)
            divided.append(f"{entry.place}: case {case_id} is in split {entry.split}, and {remedy}")
        if case_id in external or entry.split == EXTERNAL:
            continue
        entry = entry._replace(name=case_id)
        first = known.setdefault((entry.fold, case_id), entry)
        if first.split != entry.split:
            twice.append(f"{entry.place}: case {case_id} is in split {entry.split}, and {first.split} in {first.place}")
    folds = sorted({entry.fold for entry in known.values()})
    absent = [
        f"{path}: fold {fold}: case {case_id} is in no split; add it, or remove its samples"
        for fold in folds
        for case_id in sorted(set(cases) - {name for of_fold, name in known if of_fold == fold})
    ]
    if not folds:
        absent = [f"{path}: names no case; it needs columns {', '.join(SPLIT_COLUMNS)}, or {', '.join(SPLITS)}"]
    # A published split may name cases that are not in this study; where own cases are in no split, a name may be wrong.
    if problems := first_of(divided) + first_of(twice) + first_of(absent) + (first_of(unknown) if absent else []):
        raise UserError("\n".join(problems))
    without_test = [fold for fold in folds if all(e.fold != fold or e.split != "test" for e in known.values())]
    return [
        entry._replace(split="test") if entry.fold in without_test and entry.split == "val" else entry
        for entry in known.values()
    ]


def folds_of_file(splits: Splits, samples: Iterable[Mapping[str, str]]) -> list[int]:
    """Return the numbers of the folds of the user's file.

    Parameters
    ----------
    splits
        Settings that name it.
    samples
        Rows of the table of samples.

    Raises
    ------
    UserError
        As `read_split_file`.
    """
    rows = list(samples)
    inside, outside = (
        {row["case_id"] for row in rows if (row["cohort"] in splits.external) == is_outside}
        for is_outside in (False, True)
    )
    case_of_slide = {row["slide_id"]: row["case_id"] for row in rows}
    return sorted({entry.fold for entry in read_split_file(splits.file or "", inside, case_of_slide, external=outside)})


def _cohort_of(case_id: str, external: Collection[str]) -> str:
    if case_id in external:
        return "its cohort is one of splits.external; leave it out here, or its cohort there"
    return "its cohort is not one of splits.external; add it there, or put the case in another split"


def _case_of(slide: str, case_of_slide: Mapping[str, str]) -> str | None:
    """Return the case of a slide, which may be named as its file is."""
    return case_of_slide.get(slide) or case_of_slide.get(default_slide_id(slide))


def split_files(path: Path | str) -> list[Path]:
    """Return the files of a split: itself, or those of a folder in order of their fold."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    numbered = [(int(match[1]), file) for file in path.iterdir() if (match := FOLD_FILE.fullmatch(file.name))]
    return [file for _, file in sorted(numbered)]


def _entries(path: Path) -> list[Entry]:
    entries = []
    try:
        files = split_files(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check splits.file") from None
    for file in files:
        match = FOLD_FILE.fullmatch(file.name)
        table = read_text_table(file)
        entries += _columns_of_splits(file, table, int(match[1])) if match else _rows_of_cases(file, table)
    return entries


def _columns_of_splits(path: Path, table: TextTable, fold: int) -> list[Entry]:
    """Read a file whose columns are the splits; pandas' row numbers, in a column without a name, are left out."""
    if not {"train", "val"} <= set(table.header):
        raise UserError(f"{path}: row 1: has no columns train and val; see splits.file in config.yaml")
    return [
        Entry(fold, name, split, f"{path}: row {line}")
        for line, fields in table.rows
        for column, name in zip(table.header, fields, strict=False)
        for split in SPLITS
        if split == column and not is_missing(name)
    ]


def _rows_of_cases(path: Path, table: TextTable) -> list[Entry]:
    header = table.header
    if missing := [name for name in SPLIT_COLUMNS if name not in header]:
        if {"train", "val"} <= set(header):
            raise UserError(f"{path}: row 1: has splits as columns; name it splits_0.csv, after its fold, as CLAM does")
        raise UserError(
            f"{path}: row 1: column {', '.join(missing)} is missing; it needs {', '.join(SPLIT_COLUMNS)}, with tabs, "
            "semicolons or commas between them"
        )
    entries, problems = [], []
    for line, fields in table.rows:
        row = dict(zip(header, fields, strict=False))
        # Of a column with a gap pandas makes decimals.
        fold = row.get("fold", "").removesuffix(".0")
        if fold.isdecimal() and row.get("case_id") and row.get("split") in ALL_SPLITS:
            entries.append(Entry(int(fold), row["case_id"], row["split"], f"{path}: row {line}"))
        else:
            problems.append(f"{path}: row {line}: needs a fold from 0 on, a case_id and a split ({', '.join(SPLITS)})")
    if problems:
        raise UserError("\n".join(first_of(problems)))
    return entries
