"""What the glioma cohort's sources have in common: their tables as text, and a note of all that they do not say."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ksfusion.core.data_files import check_is_data, open_data
from ksfusion.core.errors import UserError
from ksfusion.core.numbers import parse_number

# How the sources write that they do not know; the GDC's own is '--.
NOTHING = {"", "'--", "--", "-", "na", "n/a", "nan", "none", "null", "not reported", "unknown", "not available"}


@dataclass
class MissingData:
    """What stays empty, and why.

    Attributes
    ----------
    rows
        The subject (a case, a sample or a file), the column and the reason.
    """

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def note(self, subject: str, column: str, reason: str) -> None:
        """Note one empty value, or one file that is not used."""
        self.rows.append((subject, column, reason))

    def resolve(self, subject: str, column: str) -> None:
        """Forget what was noted of a value that another source has."""
        self.rows = [row for row in self.rows if row[:2] != (subject, column)]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of subjects of each column and reason."""
        found: dict[tuple[str, str], int] = {}
        for _, column, reason in self.rows:
            found[column, reason] = found.get((column, reason), 0) + 1
        return dict(sorted(found.items()))


def known(value: object) -> str:
    """Return a value as text without blanks round it, empty where the source says that it is not known."""
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in NOTHING else text


def number(value: object) -> float | None:
    """Return a value as a number, or None where it is none."""
    parsed = parse_number(known(value))
    return parsed if parsed is not None and math.isfinite(parsed) else None


def as_days(days: float) -> str:
    """Write a time without decimals that say nothing."""
    return f"{days:.1f}".removesuffix(".0")


def read_rows(path: Path, needed: Iterable[str]) -> list[dict[str, str]]:
    """Read a tab- or comma-separated table, plain or packed, as one mapping for each row.

    The header is the first line that has all the needed columns: titles may stand above it. Line breaks and repeated
    blanks in a column's name count as one blank.

    Parameters
    ----------
    path
        The table.
    needed
        The columns that it must have.

    Raises
    ------
    UserError
        If the file is not data, is no text, has no such header, or a row of another length.
    """
    needed = list(needed)
    with open_data(path) as file:
        try:
            text = file.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{path}: is not UTF-8 text; save the table as UTF-8") from None
    delimiter = "\t" if "\t" in text[:2000] else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    closest: list[str] = []
    try:
        for fields in rows:
            header = [re.sub(r"\s+", " ", name).strip() for name in fields]
            if all(name in header for name in needed):
                return [_record(header, row, f"{path}, row {rows.line_num}") for row in rows if any(map(known, row))]
            closest = max(closest, header, key=lambda names: len(set(names) & set(needed)))
    except csv.Error as error:
        raise UserError(f"{path}, row {rows.line_num}: is not a regular table ({error})") from None
    if delimiter == "," and ";" in text.split("\n", 1)[0]:
        raise UserError(f"{path}: its columns are separated by ';'; save it with tabs, or commas, between them")
    absent = ", ".join(name for name in needed if name not in closest)
    raise UserError(f"{path}: no column {absent}; is it the right table?")


def _record(header: list[str], fields: list[str], place: str) -> dict[str, str]:
    # Spreadsheets leave empty fields behind.
    while len(fields) > len(header) and not fields[-1].strip():
        fields = fields[:-1]
    if len(fields) != len(header):
        raise UserError(
            f"{place}: has {len(fields)} fields, the header has {len(header)}; is the download complete, and a quote "
            "without its counterpart in it?"
        )
    return dict(zip(header, fields, strict=True))


def not_data(path: Path) -> str:
    """Return what stands in a file's place, such as a git-LFS pointer; empty where it is data."""
    try:
        check_is_data(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""


def find(folder: Path, *patterns: str) -> list[Path]:
    """Return the files of a folder that match any pattern, by name."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
