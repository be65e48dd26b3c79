"""The first sheet of an Excel workbook (.xlsx) as rows of cells."""

from __future__ import annotations

import datetime
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from ksfusion.core.data_files import NO_ARCHIVE, ZIP_MAGIC, check_is_data, check_unpacked
from ksfusion.core.errors import UserError
from ksfusion.core.memory import check_fits_memory

CONTENTS, BOOK, SHEETS = "[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/"
REMEDY = "save the sheet that is wanted as CSV or tab-separated text"
# A sheet is held as a rectangle: one cell far from the others makes a large one.
BYTES_OF_CELL = 32
FAR = re.compile(rb' r="(?:[A-Z]{3}\d|[A-Z]+\d{6})')
PLACE = re.compile(rb' r="([A-Z]{1,3})(\d{1,7})"')
CHUNK = 16 * 1024 * 1024

Cell = int | float | str | bool | datetime.time | datetime.date | datetime.datetime | datetime.timedelta


class Sheet(NamedTuple):
    """A sheet of a workbook.

    Attributes
    ----------
    name
        What it is called; empty where the workbook has no other.
    first_row
        The row in the workbook in which its first cell stands, 1 being the first.
    cells
        Rows of equal length from there on, an empty cell being an empty text.
    """

    name: str
    first_row: int
    cells: list[list[Cell]]


def is_workbook(path: Path | str) -> bool:
    """Return whether a file is an .xlsx workbook, whatever it is called.

    Raises
    ------
    UserError
        If it is not there, or no data.
    """
    path = Path(path)
    if not check_is_data(path).startswith(ZIP_MAGIC):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {CONTENTS, BOOK} <= set(archive.namelist())
    except NO_ARCHIVE:
        return False


def read_sheet(path: Path | str) -> Sheet:
    """Read the first sheet of a workbook that holds anything.

    Raises
    ------
    UserError
        If the workbook is damaged, locked or empty, or does not fit into memory.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(path, sum(member.file_size for member in archive.infolist()))
            _check_extent(archive, path)
        with CalamineWorkbook.from_path(str(path)) as book:
            sheets = [(name, book.get_sheet_by_name(name)) for name in book.sheet_names]
            filled = [(name, sheet) for name, sheet in sheets if sheet.height and sheet.width]
            if not filled:
                raise UserError(f"{path}: none of its sheets holds a cell; save the table into it")
            name, sheet = filled[0]
            start = sheet.start or (0, 0)
            return Sheet(name if len(filled) > 1 else "", start[0] + 1, sheet.to_python())
    except (CalamineError, OSError, *NO_ARCHIVE) as error:
        said = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: is an Excel workbook that cannot be read ({said}); {REMEDY}") from None


def _check_extent(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise UserError where the rectangle round the cells of a sheet does not fit into memory."""
    for name in archive.namelist():
        if not name.startswith(SHEETS) or not name.endswith(".xml"):
            continue
        rows = columns = 0
        with archive.open(name) as file:
            while chunk := file.read(CHUNK):
                # A place that a cut goes through is in a row and a column that have others.
                if rows or FAR.search(chunk):
                    for letters, number in PLACE.findall(chunk):
                        rows, columns = max(rows, int(number)), max(columns, _number_of(letters))
        if rows:
            check_fits_memory(path, f"{rows:,} rows x {columns:,} columns", rows * columns * BYTES_OF_CELL)


def _number_of(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number


def cell_text(cell: Cell) -> str:
    """Return a cell as a text table would have it: 7 for 7.0, 2024-03-01 for that day."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime.datetime):
        return cell.date().isoformat() if cell.time() == datetime.time() else cell.isoformat(sep=" ")
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell).strip()
