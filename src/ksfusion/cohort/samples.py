"""The user's two tables, validated: samples (a slide paired with a profile) and cases (labels and survival).

Read with the standard library alone: the Snakefile checks the tables each time it is parsed, before any job starts.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ksfusion.batches import default_slide_id
from ksfusion.config import NAME_PATTERN, Cohort, Task
from ksfusion.errors import UserError
from ksfusion.storage import read_rows

SAMPLE_COLUMNS = ("sample_id", "case_id", "cohort", "slide", "expression_id")
OPTIONAL_SAMPLE_COLUMNS = (
    "slide_id",
    "mpp",
    "site",
    "tumour_id",
    "slide_specimen_id",
    "slide_block_id",
    "expression_specimen_id",
    "expression_block_id",
)
MARKER_VALUES = {
    "idh": ("WT", "Mutant"),
    "codel_1p19q": ("codel", "non-codel"),
    "cdkn2a": ("homdel", "intact"),
    "grade": ("G2", "G3", "G4"),
}
SURVIVAL_COLUMNS = ("survival_days", "event")
# A table may lack these: its cases then have no label for the task. A diagnosis is derived where none is given.
BUILTIN_COLUMNS = (*MARKER_VALUES, *SURVIVAL_COLUMNS, "diagnosis")
_ID = re.compile(NAME_PATTERN)

Row = dict[str, str]


@dataclass
class Table:
    """Rows of a text table with the line each stands on, and the problems found so far."""

    path: str
    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def numbered(self) -> Iterable[tuple[int, Row]]:
        """Yield each row with its line in the file, the header being line 1."""
        return zip(self.lines, self.rows, strict=True)

    def problem(self, line: int, text: str) -> None:
        """Note a problem of one line of the file."""
        self.problems.append(f"{self.path}: row {line}: {text}")


@dataclass(frozen=True)
class CohortTables:
    """The validated tables: text as given, empty where nothing is known."""

    samples: list[Row]
    cases: list[Row]
    case_columns: tuple[str, ...]

    def slides(self) -> dict[str, Row]:
        """Return one sample row for each slide_id, in order of id."""
        return {
            row["slide_id"]: row for row in sorted(self.samples, key=lambda row: row["slide_id"]) if row["slide_id"]
        }


def read_cohort(cohort: Cohort, tasks: Mapping[str, Task]) -> CohortTables:
    """Read and validate both tables.

    Raises
    ------
    UserError
        With every problem of both tables, a line each: file, row, what is wrong, the remedy.
    """
    cases = _read_table(cohort.cases, required=("case_id",))
    samples = _read_table(cohort.samples, required=SAMPLE_COLUMNS)
    if cases.columns:
        _check_cases(cases, tasks)
    if samples.columns:
        _check_samples(samples, {row["case_id"] for row in cases.rows} if cases.columns else None, cohort)
    problems = cases.problems + samples.problems
    if problems:
        raise UserError("\n".join(problems))
    return CohortTables(samples.rows, cases.rows, cases.columns)


def _read_table(path: str, required: tuple[str, ...]) -> Table:
    table = Table(path)
    try:
        header, body = read_rows(path)
    except OSError as error:
        table.problems.append(f"{path}: cannot be read ({error.strerror}); check the path in the configuration")
        return table
    except (UnicodeDecodeError, csv.Error):
        table.problems.append(f"{path}: is not UTF-8 text; save it as a tab-separated text file")
        return table
    missing = [name for name in required if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing:
        hint = "" if len(header) > 1 else "; columns must be separated by tabs"
        table.problems.append(f"{path}: row 1: column {', '.join(missing)} is missing; add it to the header{hint}")
    if twice:
        table.problems.append(f"{path}: row 1: column {', '.join(twice)} stands twice; remove one")
    if table.problems:
        return table
    table.columns = header
    for line, fields in body:
        if len(fields) != len(header):
            table.problem(line, f"has {len(fields)} fields, the header has {len(header)}; add or remove tabs")
        else:
            table.rows.append(dict(zip(header, fields, strict=True)))
            table.lines.append(line)
    if not table.rows and not table.problems:
        table.problems.append(f"{path}: has no rows; add at least one")
    return table


def _check_id(table: Table, line: int, column: str, value: str) -> bool:
    if _ID.fullmatch(value):
        return True
    shown = repr(value) if value else "empty"
    table.problem(
        line,
        f"{column} is {shown}; an id has letters, digits, '.', '_', '-', at most 128, the first a letter or digit",
    )
    return False


def _check_unique(table: Table, column: str) -> None:
    first: dict[str, int] = {}
    for line, row in table.numbered():
        value = row[column]
        if value in first:
            table.problem(line, f"{column} {value!r} already stands in row {first[value]}; remove or rename one")
        else:
            first[value] = line


def _check_number(table: Table, line: int, row: Mapping[str, str], column: str, *, minimum: float, remedy: str) -> None:
    value = row.get(column, "")
    if not value:
        return
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > minimum):
        table.problem(line, f"{column} is {value!r}; {remedy}")


def _check_choice(table: Table, line: int, row: Mapping[str, str], column: str, choices: Iterable[str]) -> None:
    value = row.get(column, "")
    if value and value not in choices:
        table.problem(line, f"{column} is {value!r}; write {' or '.join(choices)}, or leave it empty")


def _check_cases(table: Table, tasks: Mapping[str, Task]) -> None:
    for column in table.columns:
        if column not in BUILTIN_COLUMNS and column.lower() in BUILTIN_COLUMNS:
            table.problems.append(f"{table.path}: row 1: column {column} must be written {column.lower()}; rename it")
    times, events = {"survival_days"}, {"event"}
    choices: dict[str, Iterable[str]] = dict(MARKER_VALUES)
    for name, task in tasks.items():
        needed = [task.column] if task.kind == "classification" else [task.time, task.event]
        for column in needed:
            if column not in table.columns and column not in BUILTIN_COLUMNS:
                table.problems.append(
                    f"{table.path}: row 1: column {column} is missing, task {name} needs it; "
                    "add it or correct the task in the configuration"
                )
        allowed = MARKER_VALUES.get(task.column)
        if allowed and not set(task.classes) <= set(allowed):
            table.problems.append(
                f"{table.path}: task {name}: its classes {', '.join(task.classes)} are not values of column "
                f"{task.column}; write {', '.join(allowed)} in the configuration"
            )
        if task.kind == "classification":
            choices.setdefault(task.column, task.classes)
        else:
            times.add(task.time)
            events.add(task.event)
    for line, row in table.numbered():
        _check_id(table, line, "case_id", row["case_id"])
        for column, allowed in choices.items():
            _check_choice(table, line, row, column, allowed)
        for column in sorted(times):
            _check_number(table, line, row, column, minimum=0, remedy="a time in days is a number above 0, or empty")
        for column in sorted(events):
            _check_choice(table, line, row, column, ("0", "1"))
    _check_unique(table, "case_id")


def _check_samples(table: Table, case_ids: set[str] | None, cohort: Cohort) -> None:
    unknown = [name for name in table.columns if name not in SAMPLE_COLUMNS + OPTIONAL_SAMPLE_COLUMNS]
    if unknown:
        table.problems.append(
            f"{table.path}: row 1: unknown column {', '.join(unknown)}; remove it or correct its name "
            f"(optional: {', '.join(OPTIONAL_SAMPLE_COLUMNS)})"
        )
    sources = {source.cohort for source in cohort.expression}
    for line, row in table.numbered():
        for column in OPTIONAL_SAMPLE_COLUMNS:
            row.setdefault(column, "")
        row["slide_id"] = row["slide_id"] or default_slide_id(row["slide"])
        _check_id(table, line, "sample_id", row["sample_id"])
        if (
            _check_id(table, line, "case_id", row["case_id"])
            and case_ids is not None
            and row["case_id"] not in case_ids
        ):
            table.problem(
                line, f"case_id {row['case_id']!r} is not in {cohort.cases}; add the case there or correct the id"
            )
        if _check_id(table, line, "cohort", row["cohort"]) and row["expression_id"] and row["cohort"] not in sources:
            table.problem(
                line,
                f"cohort {row['cohort']!r} has no source in cohort.expression ({', '.join(sorted(sources))}); add it",
            )
        for column in ("slide_id", "expression_id"):
            if row[column]:
                _check_id(table, line, column, row[column])
        if any(mark in row["slide"] for mark in "{}*?") or any(len(part) > 255 for part in row["slide"].split("/")):
            table.problem(
                line, f"slide {row['slide'][:80]!r} has one of {{}}*? in its path or too long a name; rename it"
            )
        _check_number(table, line, row, "mpp", minimum=0, remedy="micrometres per pixel is a number above 0, or empty")
    _check_unique(table, "sample_id")
    _check_one_owner(table, "slide_id", "slide", "use one path, or give each slide its own slide_id")
    _check_one_owner(table, "slide", "slide_id", "one file is one slide; give it one slide_id")
    _check_one_owner(table, "slide_id", "mpp", "give it one scale")
    _check_one_owner(table, "slide_id", "case_id", "a slide belongs to one case; correct the ids")
    _check_one_owner(table, "tumour_id", "case_id", "a tumour belongs to one case; correct the ids")
    _check_one_owner(
        table, "expression_id", "case_id", "a profile belongs to one case; correct the ids", within="cohort"
    )


def _check_one_owner(table: Table, key: str, owner: str, remedy: str, within: str | None = None) -> None:
    """Note rows whose key was seen before with another owner: a slide with two paths, a profile of two cases."""
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for line, row in table.numbered():
        if not row[key]:
            continue
        identity = (row[within] if within else "", row[key])
        seen_line, seen = first.setdefault(identity, (line, row[owner]))
        if row[owner] != seen:
            table.problem(line, f"{key} {row[key]!r} has {owner} {row[owner]!r}, in row {seen_line} {seen!r}; {remedy}")
