"""Reading tables of numbers, delimited text or Parquet, with errors that name the cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ksfusion.core.data_files import check_is_data, open_data
from ksfusion.core.errors import UserError
from ksfusion.core.memory import check_fits_memory
from ksfusion.core.missing import is_missing, spellings
from ksfusion.core.workbooks import Cell, cell_text, is_workbook, read_sheet
from ksfusion.genes.expression.header import BLOCK_BYTES, HDF5_MAGIC, PARQUET_MAGIC, read_header
from ksfusion.genes.expression.numeric_columns import NumericTable

# What Arrow takes for a missing value: it knows each spelling by itself.
MISSING = sorted({*pa.csv.ConvertOptions().null_values, *spellings()})
# A cell with a decimal comma, and how much of a table is looked through for one.
DECIMAL_COMMA = re.compile(rb"(?:^|;)\s*[-+]?\d+,\d+(?:[eE][-+]?\d+)?\s*(?=;|\r?$)", re.MULTILINE)
LOOKED_THROUGH = 4 * 1024 * 1024
FLOAT32_BYTES = 4
# Up to there a cell of a workbook, which holds a float, has whole numbers.
LARGEST_WHOLE = 2**53


def read_numeric_table(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    text: Collection[str] | Callable[[list[str]], Collection[str]] = (),
) -> NumericTable:
    """Read a table: Parquet, the first sheet of a workbook (.xlsx), or delimited text that may be packed (gzip, zip).

    Text has tabs, semicolons or commas between its columns; with semicolons its numbers may have decimal commas. Lines
    that start with ``#`` before the header are skipped, and the line of sizes of a GCT file (version 1.2). A
    header with one name less than its rows have fields, as R writes it, leaves the first column unnamed.

    Parameters
    ----------
    path
        The file; its first bytes say what it is.
    columns
        The columns to read (all when None).
    text
        Columns to keep as text whatever they hold, where the file has them: the id 007 is no 7, and 1E5 not 100000. A
        function chooses them from the names of all columns. A Parquet file says itself what its columns are.

    Raises
    ------
    UserError
        If the file is not such a table, a column is missing, or two have one name.
    """
    start = check_is_data(path)
    if start.startswith(PARQUET_MAGIC):
        return _read_parquet(path)
    if start.startswith(HDF5_MAGIC):
        raise UserError(f"{path}: is an HDF5 file, no table; if it is AnnData, set format: h5ad")
    if is_workbook(path):
        return _read_workbook(path, columns, text)
    with open_data(path) as file:
        header, delimiter, first_line = read_header(file, path)
        _check_header(header, columns, path)
        as_text = text(header) if callable(text) else text
        decimal_commas = delimiter == ";" and _has_decimal_commas(file)
        try:
            table = pa.csv.read_csv(
                file,
                read_options=pa.csv.ReadOptions(column_names=header, block_size=BLOCK_BYTES),
                parse_options=pa.csv.ParseOptions(delimiter=delimiter),
                convert_options=pa.csv.ConvertOptions(
                    include_columns=columns,
                    column_types={name: pa.string() for name in as_text if name in header},
                    null_values=MISSING,
                    decimal_point="," if decimal_commas else ".",
                ),
            )
        except pa.ArrowInvalid as error:
            raise UserError(f"{path}: {_irregularity(str(error))}") from None
    for name in table.column_names:
        if pa.types.is_binary(table[name].type):
            raise UserError(f"{path}: column {name or 1} is not UTF-8 text; save the table as UTF-8")
    return NumericTable(path, table, first_line, decimal_commas)


def _check_header(header: list[str], columns: Sequence[str] | None, path: Path) -> None:
    """Raise a UserError where a column is missing, or two have one name."""
    if missing := [name for name in (columns or []) if name not in header]:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(header[:12])}")
    refuse_duplicates(header, path)


def _has_decimal_commas(file: IO[bytes]) -> bool:
    """Return whether a table with semicolons between its columns has cells such as 12,5, and leave the file there."""
    start = file.tell()
    found = DECIMAL_COMMA.search(file.read(LOOKED_THROUGH)) is not None
    file.seek(start)
    return found


def _read_workbook(
    path: Path, columns: Sequence[str] | None, text: Collection[str] | Callable[[list[str]], Collection[str]]
) -> NumericTable:
    """Read the first sheet of a workbook, whose cells say themselves what are numbers."""
    sheet = read_sheet(path)
    header = [cell_text(cell) for cell in sheet.cells[0]]
    while len(header) > 1 and not header[-1]:
        header.pop()
    rows = [row for row in sheet.cells[1:] if any(cell != "" for cell in row)]
    if not rows:
        raise UserError(f"{path}: has a header and no rows under it; save the sheet with its values")
    if any(cell != "" for row in rows for cell in row[len(header) :]):
        raise UserError(f"{path}: a cell has no column's name above it; give it one, or empty the cell")
    _check_header(header, columns, path)
    as_text = text(header) if callable(text) else text
    values = {
        name: _column_of_cells([row[number] for row in rows], as_text=name in as_text)
        for number, name in enumerate(header)
        if columns is None or name in columns
    }
    return NumericTable(path, pa.table(values), sheet.first_row + 1)


def _column_of_cells(cells: list[Cell], *, as_text: bool) -> pa.Array:
    """Return the cells of a column as numbers where they are, else as text."""
    present = [cell for cell in cells if not (isinstance(cell, str) and is_missing(cell))]
    numbers = [cell for cell in present if isinstance(cell, int | float) and not isinstance(cell, bool)]
    if not as_text and len(numbers) == len(present):
        whole = all(float(number).is_integer() and abs(number) < LARGEST_WHOLE for number in numbers)
        kind = pa.int64() if whole else pa.float64()
        return pa.array([None if isinstance(cell, str) else cell for cell in cells], pa.float64()).cast(kind)
    return pa.array([cell_text(cell) for cell in cells], pa.string())


def _irregularity(error: str) -> str:
    """Return in the user's terms what Arrow says of a table."""
    if found := re.search(r"Expected (\d+) columns, got (\d+): (.*)", error):
        wanted, given, row = found.groups()
        return f"the row {row[:40]!r} has {given} fields, the header has {wanted}; is the download complete?"
    if "UTF8" in error:
        return "is not UTF-8 text; save the table as UTF-8"
    return f"is not a regular table ({' '.join(error.split())[:120]})"


def _read_parquet(path: Path) -> NumericTable:
    """Read a Parquet file; the index that pandas wrote becomes the first columns."""
    try:
        about = pq.read_metadata(path)
        # Of a few bytes that are repeated a small file makes a large table.
        n_values = about.num_rows * about.num_columns
        check_fits_memory(path, f"{about.num_rows:,} rows x {about.num_columns:,} columns", n_values * FLOAT32_BYTES)
        # Buffering ahead would hold the whole file beside its values.
        table = pq.read_table(path, pre_buffer=False)
        for column in table.columns:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                column.validate(full=True)
        indices = (table.schema.pandas_metadata or {}).get("index_columns", [])
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: is not a readable Parquet file ({' '.join(str(error).split())[:200]})") from None
    index = [name for name in indices if isinstance(name, str)]
    if index:
        table = table.select([*index, *(name for name in table.column_names if name not in index)])
    names = ["index" if name.startswith("__index_level_") else name.strip() for name in table.column_names]
    refuse_duplicates(names, path)
    return NumericTable(path, table.rename_columns(names), 1)


def refuse_duplicates(names: Sequence[str], path: Path, remedy: str = "profile ids and columns must differ") -> None:
    """Raise a UserError if a name stands twice.

    Parameters
    ----------
    names
        Names of columns or profiles.
    path
        Their file.
    remedy
        Remedy, for the message.
    """
    index = pd.Index(names)
    if index.has_duplicates:
        raise UserError(f"{path}: {index[index.duplicated()][0]!r} stands twice; {remedy}")
