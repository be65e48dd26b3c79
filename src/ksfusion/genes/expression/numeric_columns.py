"""A table of numbers in memory: its columns as numbers or as text, with errors that name the cell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ksfusion.core.errors import UserError
from ksfusion.core.missing import is_missing
from ksfusion.core.numbers import decimal_point, parse_number

# Decimal commas, or commas between thousands.
COMMAS = re.compile(r"[-+]?\d*(,\d+)+(\.\d*)?([eE][-+]?\d+)?")


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
    decimal_commas
        Whether its numbers have decimal commas.
    """

    path: Path
    columns: pa.Table
    first_line: int
    decimal_commas: bool = False

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
        return sum(self._number(value) is not None for value in values) / len(values) if values else 1.0

    def seems_meant_as_numbers(self, name: str) -> bool:
        """Return whether a column without numbers was to hold some: decimal commas, true and false, dates."""
        kind = self.columns[name].type
        if pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_nested(kind):
            return True
        return {value.lower() for value in self._present(name)} <= {"true", "false"} or self.holds_commas(name)

    def holds_commas(self, name: str) -> bool:
        """Return whether all values of a column are numbers, some of them with commas."""
        return all(COMMAS.fullmatch(value) or self._number(value) is not None for value in self._present(name))

    def _present(self, name: str) -> list[str]:
        values = map(_as_text, self.columns[name].to_pylist())
        return [value for value in values if not is_missing(value)]

    def _number(self, text: str) -> float | None:
        # Beside decimal commas a point stands between thousands, or is a mistake.
        return parse_number(text if not self.decimal_commas else "" if "." in text else decimal_point(text))

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float32, missing values (`ksfusion.core.missing`) as NaN.

        Raises
        ------
        UserError
            If a cell is not a number.
        """
        column = self.columns[name]
        if not _is_numeric(column):
            texts = list(map(_as_text, column.to_pylist()))
            values = [None if is_missing(text) else self._number(text) for text in texts]
            for index, (text, value) in enumerate(zip(texts, values, strict=True)):
                if value is None and not is_missing(text):
                    remedy = _remedy(text, decimal_commas=self.decimal_commas)
                    raise UserError(f"{self.row(index)}, column {name}: {text!r} is not a number; {remedy}")
            column = pa.chunked_array([values], pa.float64())
        return column.cast(pa.float32(), safe=False).to_numpy()


def _is_numeric(column: pa.ChunkedArray) -> bool:
    kind = column.type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)


def _as_text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _remedy(text: str, *, decimal_commas: bool) -> str:
    """Return what to do with a cell that is no number."""
    if decimal_commas and "." in text:
        return "other numbers of this table have decimal commas: write it without points"
    if "," in text:
        return "write it without commas" if "." in text else "write it with a decimal point"
    return "correct it, or remove the column"
