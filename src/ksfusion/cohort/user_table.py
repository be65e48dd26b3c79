"""A user's table and what is wrong with it: every problem with its row and its remedy, many alike counted.

Read with the standard library alone: the Snakefile checks the tables each time it is parsed, before any job starts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ksfusion.core.config_block import NAME_PATTERN
from ksfusion.core.data_files import check_is_data
from ksfusion.core.errors import UserError, first_of
from ksfusion.core.numbers import parse_number
from ksfusion.core.storage import read_rows

_ID = re.compile(NAME_PATTERN)
COLUMNS_SHOWN = 20

Row = dict[str, str]


@dataclass
class UserTable:
    """Rows of a text table with the line each stands on, and the problems found so far."""

    path: str
    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    row_problems: dict[str, list[str]] = field(default_factory=dict)

    def numbered(self) -> Iterable[tuple[int, Row]]:
        """Yield each row with its line in the file, the header being line 1."""
        return zip(self.lines, self.rows, strict=True)

    def problem(self, line: int, kind: str, text: str) -> None:
        """Note a problem of one line of the file; ``kind``, such as a column, is what many rows may share."""
        self.row_problems.setdefault(kind, []).append(f"{self.path}: row {line}: {text}")

    def all_problems(self) -> list[str]:
        """Return the problems, those of many rows shortened to the first and a count."""
        return self.problems + [line for lines in self.row_problems.values() for line in first_of(lines)]

    def check_id(self, line: int, column: str, value: str) -> bool:
        """Note an id that could not be part of a path; return whether it is good."""
        if _ID.fullmatch(value):
            return True
        shown = repr(value) if value else "empty"
        self.problem(
            line,
            column,
            f"{column} is {shown}; an id has letters, digits, '.', '_', '-', at most 128, the first a letter or digit",
        )
        return False

    def check_unique(self, column: str) -> None:
        """Note rows whose value stands in an earlier row."""
        first: dict[str, int] = {}
        for line, row in self.numbered():
            value = row[column]
            if value in first:
                self.problem(
                    line,
                    f"{column} twice",
                    f"{column} {value!r} already stands in row {first[value]}; remove or rename one",
                )
            else:
                first[value] = line

    def check_number(self, line: int, row: Mapping[str, str], column: str, *, minimum: float, remedy: str) -> None:
        """Note a value that is neither empty nor a number above ``minimum``."""
        value = row.get(column, "")
        if not value:
            return
        number = parse_number(value)
        if number is None or not (math.isfinite(number) and number > minimum):
            self.problem(line, column, f"{column} is {value!r}; {remedy}")

    def check_choice(self, line: int, row: Mapping[str, str], column: str, choices: Iterable[str]) -> None:
        """Note a value that is neither empty nor one of ``choices``."""
        value = row.get(column, "")
        if value and value not in choices:
            self.problem(line, column, f"{column} is {value!r}; write {' or '.join(choices)}, or leave it empty")

    def check_one_owner(self, key: str, owner: str, remedy: str, within: str | None = None) -> None:
        """Note rows whose key was seen before with another owner: a slide with two paths, a profile of two cases."""
        first: dict[tuple[str, str], tuple[int, str]] = {}
        for line, row in self.numbered():
            if not row[key]:
                continue
            identity = (row[within] if within else "", row[key])
            seen_line, seen = first.setdefault(identity, (line, row[owner]))
            if row[owner] != seen:
                text = f"{key} {row[key]!r} has {owner} {row[owner]!r}, in row {seen_line} {seen!r}; {remedy}"
                self.problem(line, f"{owner} of {key}", text)


def _not_data(path: str) -> str:
    """Return what stands in the table's place, such as a web page; a file that is not there has its own line."""
    try:
        check_is_data(Path(path))
    except UserError as error:
        return str(error) if Path(path).exists() and not Path(path).is_dir() else ""
    return ""


def columns_there(columns: Sequence[str]) -> str:
    """Return the columns that a table has, for a message; of very many the first."""
    return ", ".join(columns[:COLUMNS_SHOWN]) + (", ..." if len(columns) > COLUMNS_SHOWN else "")


def read_user_table(path: str, required: tuple[str, ...]) -> UserTable:
    """Read a tab-separated table; what is wrong with it as a whole is among its problems."""
    table = UserTable(path)
    if problem := _not_data(path):
        table.problems.append(problem)
        return table
    try:
        header, body = read_rows(path)
    except OSError as error:
        table.problems.append(f"{path}: cannot be read ({error.strerror}); check the path in the configuration")
        return table
    except UnicodeDecodeError:
        table.problems.append(f"{path}: is not UTF-8 text; save it as a tab-separated text file")
        return table
    except UserError as error:
        table.problems.append(str(error))
        return table
    missing = [name for name in required if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing:
        hint = f"; it has {columns_there(header)}" if len(header) > 1 else "; columns must be separated by tabs"
        table.problems.append(f"{path}: row 1: column {', '.join(missing)} is missing; add it to the header{hint}")
    if twice:
        table.problems.append(f"{path}: row 1: column {', '.join(twice)} stands twice; remove one")
    if table.problems:
        return table
    table.columns = header
    for line, fields in body:
        if len(fields) != len(header):
            table.problem(line, "", f"has {len(fields)} fields, the header has {len(header)}; add or remove tabs")
        else:
            table.rows.append(dict(zip(header, fields, strict=True)))
            table.lines.append(line)
    if not table.rows and not table.row_problems:
        table.problems.append(f"{path}: has no rows; add at least one")
    return table
