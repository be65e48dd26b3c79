"""The table of the cases' splits. Its user may edit it: what was changed is told, and taken as it stands."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksfusion.core.errors import DamagedFileError, UserError
from ksfusion.core.storage import read_edited_tsv, write_tsv
from ksfusion.terms.splits import ALL_SPLITS, SPLIT_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# What its user may do where it is none.
REMEDY = "delete it and run again, or put that right"


def write_splits(table: pd.DataFrame, path: Path, made_by: dict[str, Any]) -> None:
    """Write a table of fold, case_id and split."""
    write_tsv(table, path, {**made_by, "rows": len(table)})


def read_splits(path: Path) -> tuple[pd.DataFrame, bool]:
    """Read a table of `write_splits`, and return whether it was changed since.

    Returns
    -------
    table : pandas.DataFrame
        fold, case_id, split.
    changed : bool

    Raises
    ------
    UserError
        If it is no such table any more, or has lost rows.
    """
    try:
        table, record, changed = read_edited_tsv(path, dtype=str)
    except DamagedFileError:
        raise UserError(f"{path}: was changed and is no split any more; {REMEDY}") from None
    if changed:
        log.warning("%s was changed since it was made: the splits in it are taken as they stand", path)
    if missing := [name for name in SPLIT_COLUMNS if name not in table]:
        raise UserError(f"{path}: was changed and has no column {', '.join(missing)}; {REMEDY}")
    is_number = table["fold"].str.isdecimal().fillna(False).astype(bool)
    wrong = ~(table["split"].isin(ALL_SPLITS) & table["case_id"].notna() & is_number)
    if wrong.any():
        row = 2 + int(wrong.to_numpy().argmax())
        raise UserError(f"{path}: row {row}: was changed and is no split any more; {REMEDY}")
    if changed and len(table) < record.get("rows", 0):
        raise UserError(f"{path}: was changed and has {len(table)} of {record['rows']} rows; {REMEDY}")
    return table.astype({"fold": int}), changed


def splits_of_fold(path: Path, fold: int, cases: Iterable[str] = ()) -> pd.Series:
    """Return the split of each case of a fold, by case_id.

    Parameters
    ----------
    path
        The table.
    fold
        Number of the fold.
    cases
        Cases that must be in a split.

    Raises
    ------
    UserError
        If the file is no table of splits, has a case twice, or leaves one out.
    """
    table, _ = read_splits(path)
    refuse_twice(table, path)
    splits = table[table["fold"] == fold].set_index("case_id")["split"]
    if absent := sorted(set(cases) - set(splits.index)):
        raise UserError(f"{path}: case {absent[0]} is in no split of fold {fold}; {REMEDY}")
    return splits


def refuse_twice(table: pd.DataFrame, path: Path) -> None:
    """Raise UserError where a case stands twice in a fold."""
    twice = table.duplicated(["fold", "case_id"]).to_numpy()
    if twice.any():
        row = table.iloc[int(twice.argmax())]
        raise UserError(f"{path}: case {row['case_id']} stands twice in fold {row['fold']}; {REMEDY}")


def refuse_unknown(table: pd.DataFrame, path: Path, cases: Collection[str]) -> None:
    """Raise UserError where a name is none of the cases."""
    unknown = ~table["case_id"].isin(cases).to_numpy()
    if unknown.any():
        row = int(unknown.argmax())
        raise UserError(f"{path}: row {row + 2}: {table['case_id'].iloc[row]!r} is no case with a sample; {REMEDY}")
