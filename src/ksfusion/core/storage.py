"""How files are written: to a temporary name and renamed, with what made them inside or beside them."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

PROVENANCE_KEY = "ksfusion"
COLUMNS_AT_A_TIME = 2000


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its name when the block ends without an error.

    The temporary file or folder keeps the suffix of ``path`` and is removed when the block fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    _remove_leftovers(path)
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of jobs that were killed while they wrote ``path``."""
    name = re.compile(rf"\.{re.escape(path.stem)}\.\d+{re.escape(path.suffix)}")
    for entry in path.parent.iterdir():
        if name.fullmatch(entry.name):
            _remove(entry)


def write_parquet(table: pd.DataFrame, path: Path | str, made_by: Mapping[str, Any]) -> None:
    """Write a table as Parquet (zstd), with ``made_by`` (see `ksfusion.core.provenance`) in its schema metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table)
    metadata = {**(arrow.schema.metadata or {}), PROVENANCE_KEY.encode(): json.dumps(made_by, sort_keys=True).encode()}
    # Measured values seldom repeat: a dictionary for each column would cost time and, on reading, memory.
    repeating = [field.name for field in arrow.schema if not pa.types.is_floating(field.type)]
    with atomic(path) as temporary:
        pq.write_table(arrow.replace_schema_metadata(metadata), temporary, compression="zstd", use_dictionary=repeating)


def read_parquet(path: Path | str, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table, index included."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=columns).to_pandas()


def read_wide_parquet(path: Path | str, keys: Sequence[str]) -> pd.DataFrame:
    """Read a Parquet table of very many float columns in little more memory than its values take.

    Parameters
    ----------
    path
        Columns ``keys``, and float columns.
    keys
        Become the index; all others float32 columns.
    """
    import numpy as np
    import pandas as pd
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    names = [name for name in file.schema_arrow.names if name not in keys]
    # A column's values lie together, as pandas keeps them.
    values = np.empty((file.metadata.num_rows, len(names)), np.float32, order="F")
    for start in range(0, len(names), COLUMNS_AT_A_TIME):
        part = file.read(columns=names[start : start + COLUMNS_AT_A_TIME], use_pandas_metadata=False)
        for number, column in enumerate(part.columns, start):
            values[:, number] = column.to_numpy()
    index = pd.MultiIndex.from_frame(file.read(columns=list(keys)).to_pandas()[list(keys)])
    return pd.DataFrame(values, index, names, copy=False)


def read_provenance(path: Path | str) -> dict[str, Any]:
    """Return what made a file that this project wrote (Parquet, or text with its ``.provenance.json`` beside it)."""
    path = Path(path)
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return json.loads(pq.read_schema(path).metadata[PROVENANCE_KEY.encode()])
    return json.loads(_provenance_path(path).read_text(encoding="utf-8"))


def _provenance_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.provenance.json")


def write_text(text: str, path: Path | str, made_by: Mapping[str, Any] | None = None) -> None:
    """Write a text file; ``made_by`` goes to a hidden JSON file beside it, so that any reader can read the text."""
    if made_by is not None:
        with atomic(_provenance_path(Path(path))) as temporary:
            temporary.write_text(json.dumps(made_by, sort_keys=True, indent=1) + "\n", encoding="utf-8")
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tsv(table: pd.DataFrame, path: Path | str, made_by: Mapping[str, Any] | None = None) -> None:
    """Write a table as tab-separated text without its index; empty where a value is missing."""
    write_text(table.to_csv(sep="\t", index=False, lineterminator="\n"), path, made_by)


def read_rows(path: Path | str) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """Read a user's tab-separated table as text, without judging it.

    Returns
    -------
    header : tuple of str
    rows : list of (line, fields)
        The line in the file, the header being line 1; fields without the blanks round them. Empty lines are left out.

    Raises
    ------
    OSError, UnicodeDecodeError, csv.Error
        If it cannot be read, is not UTF-8, or has a field of more than 131,072 characters.
    """
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = tuple(name.strip() for name in next(reader, []))
        rows = ((reader.line_num, [field.strip() for field in fields]) for fields in reader)
        return header, [(line, fields) for line, fields in rows if any(fields)]


def read_tsv(path: Path | str, **options: Any) -> pd.DataFrame:
    """Read a tab-separated table; only an empty field is missing, so that a gene named NA stays a gene."""
    import pandas as pd

    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""], **options)
