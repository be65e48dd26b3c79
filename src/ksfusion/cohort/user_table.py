"""A user's table and what is wrong with it: every problem with its row and its remedy, many alike counted.

Read with the standard library alone: the Snakefile checks the tables each time it is parsed, before any job starts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ksfusion.core.config_block import NAME_PATTERN
from ksfusion.core.errors import UserError, first_of
from ksfusion.core.numbers import decimal_point, parse_number
from ksfusion.core.tables import read_text_table

_ID = re.compile(NAME_PATTERN)
COLUMNS_SHOWN = 20

Row = dict[str, str]


@dataclass
class UserTable:
    """Rows of a table with the line each stands on, and the problems found so far.

    Attributes
    ----------
    path
        The file.
    columns
        The names of its columns.
    rows
        Text by column.
    mapped
        Columns that the user has given other names or words (`ksfusion.cohort.columns`): the name in the file, by the
        name here.
    decimal_commas
        Whether its numbers may have decimal commas.
    sheet
        That of a workbook that has several.
    lines
        The line on which each row stands.
    problems, row_problems
        What is wrong with the table as a whole, and with rows, by what they have in common.
    """

    path: str
    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    mapped: dict[str, str] = field(default_factory=dict)
    decimal_commas: bool = False
    sheet: str = ""
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

    def number(self, text: str) -> str:
        """Return a number of this table with a decimal point; other text as it is."""
        return decimal_point(text) if self.decimal_commas else text

    def check_number(self, line: int, row: Row, column: str, *, minimum: float, remedy: str) -> None:
        """Note a value that is neither empty nor a number above ``minimum``; write a decimal comma as a point."""
        value = row.get(column, "")
        if not value:
            return
        row[column] = self.number(value)
        number = parse_number(row[column])
        if number is None or not (math.isfinite(number) and number > minimum):
            self.problem(line, column, f"{self._named(column)} is {value!r}; {remedy}")

    def check_choice(self, line: int, row: Row, column: str, choices: Sequence[str], *, meaning: str = "") -> None:
        """Note a value that is neither empty nor one of ``choices``, and say what these mean."""
        value = row.get(column, "")
        if value and value not in choices:
            words = "died: [...], alive: [...]" if column == "event" else f"{_flow(value)}: ..."
            wanted = " or ".join(choices) + (f" ({meaning})" if meaning else "")
            self.problem(
                line,
                column,
                f"{self._named(column)} is {value!r}; write {wanted}, or leave it empty, or say in cohort.columns what "
                f"your words mean: {{{column}: {{{words}}}}}",
            )

    def _named(self, column: str) -> str:
        own = self.mapped.get(column, column)
        return column if own == column else f"{column} (your {own})"

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


def _flow(text: str) -> str:
    """Return a text as it stands in YAML: in quotes where it would be read as something else."""
    return text if re.fullmatch(r"[A-Za-z][\w-]*( [\w-]+)*", text) else "'" + text.replace("'", "''") + "'"


def columns_there(columns: Sequence[str]) -> str:
    """Return the columns that a table has, for a message; of very many the first."""
    return ", ".join(columns[:COLUMNS_SHOWN]) + (", ..." if len(columns) > COLUMNS_SHOWN else "")


def read_user_table(path: str) -> UserTable:
    """Read a table; what is wrong with it as a whole is among its problems."""
    table = UserTable(path)
    try:
        text = read_text_table(path)
    except UserError as error:
        table.problems.append(str(error))
        return table
    if twice := sorted({name for name in text.header if text.header.count(name) > 1}):
        table.problems.append(f"{path}: row 1: column {', '.join(twice)} stands twice; remove one")
        return table
    table.columns, table.decimal_commas = text.header, text.has_decimal_commas
    table.sheet = text.sheet
    for line, fields in text.rows:
        if len(fields) != len(text.header):
            said = f"has {len(fields)} fields, the header has {len(text.header)}; add or remove {text.separators}"
            table.problem(line, "", said)
        else:
            table.rows.append(dict(zip(text.header, fields, strict=True)))
            table.lines.append(line)
    if not table.rows and not table.row_problems:
        table.problems.append(f"{path}: has no rows; add at least one")
    return table


def check_columns(table: UserTable, required: Iterable[str]) -> bool:
    """Note columns that a table lacks; return whether it has them all."""
    missing = [name for name in required if name not in table.columns]
    if not missing or not table.columns:
        return not missing
    hint = f"it has {columns_there(table.columns)}"
    if len(table.columns) == 1:
        hint = "columns must be separated by tabs, semicolons or commas"
    elif table.sheet:
        hint += f" in its first sheet, {table.sheet}"
    table.problems.append(
        f"{table.path}: row 1: column {', '.join(missing)} is missing; add it to the header, or name yours in "
        f"cohort.columns ({{{missing[0]}: YOURS}}); {hint}"
    )
    return False
