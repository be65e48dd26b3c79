"""A user's table as text: columns separated by tabs, semicolons or commas, or the first sheet of a workbook."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ksfusion.core.data_files import long_field, open_data
from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_undamaged
from ksfusion.core.workbooks import cell_text, is_workbook, read_sheet

DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas"}
QUOTED = re.compile(r'"[^"]*"')
GZIP_OR_ZIP = (b"\x1f\x8b", b"PK\x03\x04")


class TextTable(NamedTuple):
    """A table as it stands in its file.

    Attributes
    ----------
    header
        Names of the columns.
    rows
        The line in the file, the header being line 1, and the fields without the blanks round them. Empty lines are
        left out, and fields that are empty and have no column.
    separators
        What stands between columns, in words; ``cells`` in a workbook.
    sheet
        The sheet of a workbook that has several.
    """

    header: tuple[str, ...]
    rows: list[tuple[int, list[str]]]
    separators: str
    sheet: str = ""

    @property
    def has_decimal_commas(self) -> bool:
        """Whether numbers may be written with a decimal comma, as where columns are separated by semicolons."""
        return self.separators == DELIMITERS[";"]


def delimiter_of(header: str) -> str:
    """Return what separates the columns of a table, by its first line: a tab, else a semicolon or a comma."""
    if "\t" in header:
        return "\t"
    bare = QUOTED.sub("", header)
    best = max(";,", key=bare.count)
    return best if best in bare else "\t"


def read_text_table(path: Path | str) -> TextTable:
    """Read a user's table as text, without judging it.

    Raises
    ------
    UserError
        If it cannot be read, is not text, or has a field of more than 131,072 characters; if it is a damaged workbook;
        or if it is a file of this project's and damaged.
    """
    path = Path(path)
    if is_workbook(path):
        return _rows_of_workbook(path)
    text = _decoded(_content(path), path)
    delimiter = delimiter_of(text.partition("\n")[0])
    # What stands between tabs is text, quotes included; spreadsheets quote where they write commas or semicolons.
    options: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if delimiter == "\t" else {}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **options)
    try:
        lines = ((reader.line_num, [field.strip() for field in fields]) for fields in reader)
        return _table(lines, DELIMITERS[delimiter])
    except csv.Error:
        raise long_field(path, reader.line_num) from None


def _table(lines: Iterator[tuple[int, list[str]]], separators: str, sheet: str = "") -> TextTable:
    _, first = next(lines, (1, []))
    # Spreadsheets write columns that were used once, and lines broken within a cell.
    header = tuple(" ".join(name.split()) for name in first)
    while len(header) > 1 and not header[-1]:
        header = header[:-1]
    rows = []
    for line, fields in lines:
        if any(fields):
            extra = len(fields) - len(header)
            rows.append((line, fields if extra < 1 or any(fields[-extra:]) else fields[:-extra]))
    return TextTable(header, rows, separators, sheet)


def _rows_of_workbook(path: Path) -> TextTable:
    sheet = read_sheet(path)
    lines = ((number, list(map(cell_text, cells))) for number, cells in enumerate(sheet.cells, sheet.first_row))
    return _table(lines, "cells", sheet.name)


def _content(path: Path) -> bytes:
    """Return the content of a text file, unpacked."""
    with path.open("rb") as file:
        if not file.read(4).startswith(GZIP_OR_ZIP):
            return read_undamaged(path)
    with open_data(path) as packed:
        return packed.read()


def _decoded(content: bytes, path: Path) -> str:
    """Return text in UTF-8, else in the encoding of Western Windows, in which Excel writes CSV."""
    for encoding in ("utf-8-sig", "cp1252"):
        # No text holds a zero, and in files of other kinds it is frequent.
        with contextlib.suppress(UnicodeDecodeError):
            if b"\0" not in content:
                return content.decode(encoding)
    raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8 with tabs, semicolons or commas, or as .xlsx")
