"""Reading text tables of numbers: delimited text, plain or compressed, with errors that name the cell."""

from __future__ import annotations

import contextlib
import csv
import gzip
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ksfusion.errors import UserError

GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
LFS_POINTER = b"version https://git-lfs"
# One row of a table with 60,000 genes is larger than the parser's default block.
BLOCK_BYTES = 64 * 1024 * 1024


def check_is_data(path: Path) -> bytes:
    """Return the first bytes of a file after making sure that it is there and holds data.

    Raises
    ------
    UserError
        If the file is missing or empty, or is a git-LFS pointer or a web page saved under its name.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    if not start:
        raise UserError(f"{path}: is empty; download it again")
    if start.startswith(LFS_POINTER):
        raise UserError(f"{path}: is a git-LFS pointer, not the data; fetch it with git lfs pull")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UserError(f"{path}: is a web page, not data; the download failed, fetch it again")
    return start


@contextlib.contextmanager
def open_data(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressing gzip and one-member zip files; its first bytes decide, not its name."""
    start = check_is_data(path)
    try:
        if start.startswith(GZIP_MAGIC):
            with gzip.open(path) as file:
                yield file
        elif start.startswith(ZIP_MAGIC):
            with zipfile.ZipFile(path) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
                if len(members) != 1:
                    raise UserError(f"{path}: holds {len(members)} files; pack the table alone")
                with archive.open(members[0]) as file:
                    yield file
        else:
            with path.open("rb") as file:
                yield file
    except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be decompressed ({error}); download it again") from None


def read_header(path: Path) -> tuple[list[str], str, int]:
    """Return the column names of a text table, its delimiter (tab, else comma) and the number of comment lines."""
    with open_data(path) as file:
        comments = 0
        while (line := file.readline()).startswith(b"#"):
            comments += 1
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text table; see the formats of cohort.expression") from None
    delimiter = "\t" if "\t" in text else ","
    return next(csv.reader([text], delimiter=delimiter), []), delimiter, comments


def read_table(path: Path, *, columns: Sequence[str] | None = None, text: Sequence[str] = ()) -> tuple[pa.Table, int]:
    """Read a delimited text table; lines that start with ``#`` before the header are skipped.

    Parameters
    ----------
    path
        Tab- or comma-separated text, plain, gzip or zip.
    columns
        The columns to read (all when None).
    text
        Columns to keep as text whatever they hold.

    Returns
    -------
    table, first_line
        The columns, and the line of the file on which their values begin.

    Raises
    ------
    UserError
        If the file is not such a table, or a column is missing.
    """
    header, delimiter, comments = read_header(path)
    missing = [name for name in (columns or []) if name not in header]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(header[:12])}")
    try:
        with open_data(path) as file:
            table = pa.csv.read_csv(
                file,
                read_options=pa.csv.ReadOptions(skip_rows=comments, block_size=BLOCK_BYTES),
                parse_options=pa.csv.ParseOptions(delimiter=delimiter),
                convert_options=pa.csv.ConvertOptions(
                    include_columns=columns, column_types={name: pa.string() for name in text}
                ),
            )
            return table, comments + 2
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: is not a regular table ({' '.join(str(error).split())[:200]})") from None


def is_numeric(column: pa.ChunkedArray) -> bool:
    """Say whether a column was read as numbers (a column without any value counts as such)."""
    kind = column.type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def looks_numeric(column: pa.ChunkedArray) -> bool:
    """Say whether at least half of a column's values are numbers, so that the others are faults rather than text."""
    if is_numeric(column):
        return True
    values = [str(value) for value in column.to_pylist() if value not in (None, "")]
    return 2 * sum(map(_is_number, values)) >= len(values) > 0


def numbers(column: pa.ChunkedArray, *, path: Path, name: str, first_line: int) -> np.ndarray:
    """Return a column as float32, missing values as NaN.

    Parameters
    ----------
    column
        A column as read.
    path, name, first_line
        The file, the column's name and the line of its first value, for the message.

    Raises
    ------
    UserError
        If a cell is not a number.
    """
    if not is_numeric(column):
        for row, value in enumerate(column.to_pylist()):
            if value not in (None, "") and not _is_number(str(value)):
                raise UserError(f"{path}, row {row + first_line}, column {name}: {value!r} is not a number; correct it")
        column = pa.chunked_array([[None if v in (None, "") else float(v) for v in column.to_pylist()]], pa.float64())
    return column.cast(pa.float32(), safe=False).to_numpy()
