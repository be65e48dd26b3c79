"""The header of a table of numbers in text: its names and what separates them. Light: read before any job starts."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import IO

from ksfusion.core.data_files import long_field
from ksfusion.core.errors import UserError
from ksfusion.core.tables import delimiter_of

PARQUET_MAGIC, HDF5_MAGIC = b"PAR1", b"\x89HDF"
# What the first column of a table is called, without blanks and signs.
FIRST_COLUMNS = {
    "", "gene", "genes", "geneid", "genename", "genesymbol", "symbol", "hugosymbol", "name", "id", "sample",
    "sampleid", "case", "caseid", "patient", "patientid", "expressionid", "ensembl", "ensemblid", "ensemblgeneid",
    "geneidrnawellid",
}  # fmt: skip
# The column of a table of samples x genes that names its profiles.
PROFILE_ID = "expression_id"
GCT, LATER_GCT = "#1.2", "#1.3"
# One row of a table with 60,000 genes is larger than the parser's default block.
BLOCK_BYTES = 64 * 1024 * 1024


def plain_name(name: str) -> str:
    """Return a column name in small letters and digits alone, so that Entrez_Gene_Id and ENTREZGENEID are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def read_header(file: IO[bytes], path: Path) -> tuple[list[str], str, int]:
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
    delimiter = delimiter_of(text)
    header = _fields(text, delimiter, path, lines)
    if not header or header == [""]:
        raise UserError(f"{path}: its first line is empty; begin the table with its header")
    if len(header) == 1:
        given = "neither tabs nor commas"
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
