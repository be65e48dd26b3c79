"""The columns and words of a user's own tables, brought to those that are read here.

Read with the standard library alone: the Snakefile checks the tables each time it is parsed, before any job starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ksfusion.cohort.config import UserColumn
from ksfusion.cohort.user_table import UserTable, columns_there
from ksfusion.core.missing import is_missing
from ksfusion.core.numbers import parse_number
from ksfusion.terms.units import DAYS_IN


def map_columns(table: UserTable, columns: Mapping[str, UserColumn]) -> None:
    """Bring a table to the names and words that ``cohort.columns`` gives it; what says nothing becomes empty.

    A column of the user's keeps its own name beside the new one: a task may read it as it is.

    Parameters
    ----------
    table
        Changed in place.
    columns
        For the name that each column is to have, its name in the table, and the meaning of its words.
    """
    here = {name: spec for name, spec in columns.items() if (spec.column or name) in table.columns}
    for row in table.rows:
        given = dict(row)
        row.update({name: "" for name, text in given.items() if is_missing(text)})
        row.update({name: _meaning(given[spec.column or name], spec, table) for name, spec in here.items()})
    table.columns += tuple(name for name in here if name not in table.columns)
    table.mapped = {name: spec.column or name for name, spec in here.items()}


def _meaning(text: str, spec: UserColumn, table: UserTable) -> str:
    """Return what a cell means; a word that is not listed stays as it is, to be judged as what it says."""
    if (word := spec.meanings.get(text.lower())) is not None:
        return word
    if is_missing(text):
        return ""
    if spec.unit is None or (number := parse_number(table.number(text))) is None:
        return text
    return f"{number * DAYS_IN[spec.unit]:.10g}"


def unmapped(columns: Mapping[str, UserColumn], *tables: UserTable) -> Iterator[str]:
    """Yield a line for each column that ``cohort.columns`` names and no table has."""
    for name, spec in columns.items():
        wanted = spec.column or name
        if not any(wanted in table.columns for table in tables):
            there = "; ".join(f"{table.path} has {columns_there(table.columns)}" for table in tables)
            yield f"cohort.columns: {name}: no table has a column {wanted}; correct it: {there}"
