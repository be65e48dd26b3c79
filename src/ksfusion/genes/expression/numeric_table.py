"""Reading tables of numbers, delimited text or Parquet, with errors that name the cell."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ksfusion.core.data_files import check_is_data, long_field, open_data
from ksfusion.core.errors import UserError
from ksfusion.core.memory import check_fits_memory
from ksfusion.core.numbers import parse_number

PARQUET_MAGIC, HDF5_MAGIC = b"PAR1", b"\x89HDF"
# What the first column of a table is called, without blanks and signs.
FIRST_COLUMNS = {
    "", "gene", "genes", "geneid", "genename", "genesymbol", "symbol", "hugosymbol", "name", "id", "sample",
    "sampleid", "case", "caseid", "patient", "patientid", "expressionid", "ensembl", "ensemblid", "ensemblgeneid",
    "geneidrnawellid",
}  # fmt: skip
# What stands for a missing value: Arrow's own list, and two that it lacks. A dash is not among them: it may be what is
# left of a negative number.
MISSING = [*pa.csv.ConvertOptions().null_values, "na", "<NA>"]
# Decimal commas, or commas between thousands.
COMMAS = re.compile(r"[-+]?\d*(,\d+)+(\.\d*)?([eE][-+]?\d+)?")
GCT, LATER_GCT = "#1.2", "#1.3"
# One row of a table with 60,000 genes is larger than the parser's default block.
BLOCK_BYTES = 64 * 1024 * 1024
FLOAT32_BYTES = 4


@dataclass(frozen=True)
class NumericTable:
    """A table whose columns are read as numbers or as text.

    Attributes
    ----------
    path
        The file.
    columns
        Its columns, their names without blanks round them.
    first_line
        The line on which the values begin.
    """

    path: Path
    columns: pa.Table
    first_line: int

    @property
    def names(self) -> list[str]:
        """The columns' names, in the order of the file."""
        return self.columns.column_names

    def row(self, index: int) -> str:
        """Name a row in a message: its line in a text file."""
        return f"{self.path}, row {index + self.first_line}"

    def texts(self, name: str) -> list[str]:
        """Return a column as text without blanks round it, empty where a value is missing."""
        return ["" if value is None else str(value).strip() for value in self.columns[name].to_pylist()]

    def share_of_numbers(self, name: str) -> float:
        """Return how many of a column's values are numbers, from 0 to 1; a column without any value is all numbers."""
        column = self.columns[name]
        if _is_numeric(column):
            return 1.0
        values = self._present(name)
        return sum(parse_number(value) is not None for value in values) / len(values) if values else 1.0

    def seems_meant_as_numbers(self, name: str) -> bool:
        """Return whether a column without numbers was to hold some: decimal commas, true and false, dates."""
        kind = self.columns[name].type
        if pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_nested(kind):
            return True
        return {value.lower() for value in self._present(name)} <= {"true", "false"} or self.holds_commas(name)

    def holds_commas(self, name: str) -> bool:
        """Return whether all values of a column are numbers, some of them with commas."""
        return all(COMMAS.fullmatch(value) or parse_number(value) is not None for value in self._present(name))

    def _present(self, name: str) -> list[str]:
        values = map(_as_text, self.columns[name].to_pylist())
        return [value for value in values if value not in MISSING]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float32, missing values (`MISSING`) as NaN.

        Raises
        ------
        UserError
            If a cell is not a number.
        """
        column = self.columns[name]
        if not _is_numeric(column):
            texts = list(map(_as_text, column.to_pylist()))
            values = [None if text in MISSING else parse_number(text) for text in texts]
            for index, (text, value) in enumerate(zip(texts, values, strict=True)):
                if value is None and text not in MISSING:
                    raise UserError(f"{self.row(index)}, column {name}: {_not_a_number(text)}")
            column = pa.chunked_array([values], pa.float64())
        return column.cast(pa.float32(), safe=False).to_numpy()


def _is_numeric(column: pa.ChunkedArray) -> bool:
    kind = column.type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)


def _as_text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _not_a_number(text: str) -> str:
    """Return what is wrong with a cell that is no number, and the remedy."""
    remedy = "correct it, or remove the column"
    if "," in text:
        remedy = "write it without commas" if "." in text else "write it with a decimal point"
    elif text == "-":
        remedy = "leave the cell empty where a value is missing"
    return f"{text!r} is not a number; {remedy}"


def read_numeric_table(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    text: Collection[str] | Callable[[list[str]], Collection[str]] = (),
) -> NumericTable:
    """Read a table: Parquet, or delimited text (tab, else comma) that may be packed with gzip or zip.

    Lines that start with ``#`` before the header are skipped, and the line of sizes of a GCT file (version 1.2). A
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
    with open_data(path) as file:
        header, delimiter, first_line = _read_header(file, path)
        missing = [name for name in (columns or []) if name not in header]
        if missing:
            raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(header[:12])}")
        refuse_duplicates(header, path)
        as_text = text(header) if callable(text) else text
        try:
            table = pa.csv.read_csv(
                file,
                read_options=pa.csv.ReadOptions(column_names=header, block_size=BLOCK_BYTES),
                parse_options=pa.csv.ParseOptions(delimiter=delimiter),
                convert_options=pa.csv.ConvertOptions(
                    include_columns=columns,
                    column_types={name: pa.string() for name in as_text if name in header},
                    null_values=MISSING,
                ),
            )
        except pa.ArrowInvalid as error:
            raise UserError(f"{path}: {_irregularity(str(error))}") from None
    for name in table.column_names:
        if pa.types.is_binary(table[name].type):
            raise UserError(f"{path}: column {name or 1} is not UTF-8 text; save the table as UTF-8")
    return NumericTable(path, table, first_line)


def _irregularity(error: str) -> str:
    """Return in the user's terms what Arrow says of a table."""
    if found := re.search(r"Expected (\d+) columns, got (\d+): (.*)", error):
        wanted, given, row = found.groups()
        return f"the row {row[:40]!r} has {given} fields, the header has {wanted}; is the download complete?"
    if "UTF8" in error:
        return "is not UTF-8 text; save the table as UTF-8"
    return f"is not a regular table ({' '.join(error.split())[:120]})"


def plain_name(name: str) -> str:
    """Return a column name in small letters and digits alone, so that Entrez_Gene_Id and ENTREZGENEID are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _read_header(file: IO[bytes], path: Path) -> tuple[list[str], str, int]:
    """Return the column names, the delimiter and the line on which values begin, and leave the file there."""
    lines = 1
    while (text := _read_line(file, path)).startswith("#"):
        lines += 1
        if text.startswith(LATER_GCT):
            raise UserError(f"{path}: is a GCT file of version 1.3; save it as version 1.2, or as a plain table")
        if text.startswith(GCT):
            # The numbers of rows and columns stand above the header.
            _read_line(file, path)
            lines += 1
    delimiter = "\t" if "\t" in text else ","
    header = _fields(text, delimiter, path, lines)
    if not header:
        raise UserError(f"{path}: its first line is empty; begin the table with its header")
    if len(header) == 1:
        given = "';'" if ";" in text else "neither tabs nor commas"
        raise UserError(f"{path}: its columns are separated by {given}; save it with tabs, or commas, between them")
    start = file.tell()
    first_row = _read_line(file, path)
    if not first_row:
        raise UserError(f"{path}: has a header and no rows under it; download it again")
    # A header that names its first column has lost another name: to move them all by one would be wrong.
    n_fields = len(_fields(first_row, delimiter, path, lines + 1))
    if n_fields == len(header) + 1 and plain_name(header[0]) not in FIRST_COLUMNS:
        header = ["", *header]
    file.seek(start)
    return header, delimiter, lines + 1


def _read_line(file: IO[bytes], path: Path) -> str:
    line = file.readline(BLOCK_BYTES)
    if len(line) == BLOCK_BYTES:
        raise UserError(f"{path}: has a line of more than {BLOCK_BYTES // 2**20} MiB; is it a table?")
    line = line.rstrip(b"\r\n")
    if b"\r" in line:
        raise UserError(f"{path}: its lines end in CR alone, as old Macs wrote them; save it with line feeds (LF)")
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; save the table as UTF-8") from None


def _fields(line: str, delimiter: str, path: Path, number: int) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        raise long_field(path, number) from None


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
        Of columns or profiles.
    path
        Their file.
    remedy
        What the user can do.
    """
    index = pd.Index(names)
    if index.has_duplicates:
        raise UserError(f"{path}: {index[index.duplicated()][0]!r} stands twice; {remedy}")
