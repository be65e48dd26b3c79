"""Tables as Parquet, with what made them and their checksum in their metadata."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksfusion.core.atomic import atomic
from ksfusion.core.checksums import PROVENANCE_KEY, SEAL_KEY, UNSEALED, check_seal, seal
from ksfusion.core.errors import DamagedFileError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS_AT_A_TIME = 2000


def write_parquet(table: pd.DataFrame, path: Path | str, made_by: Mapping[str, Any]) -> None:
    """Write a table as Parquet (zstd), with ``made_by`` (see `ksfusion.core.provenance`) in its schema metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table)
    metadata = {**(arrow.schema.metadata or {}), PROVENANCE_KEY.encode(): json.dumps(made_by, sort_keys=True).encode()}
    arrow = arrow.replace_schema_metadata(metadata)
    # Measured values seldom repeat: a dictionary for each column would cost time and, on reading, memory.
    repeating = [field.name for field in arrow.schema if not pa.types.is_floating(field.type)]
    with atomic(path) as temporary:
        with pq.ParquetWriter(temporary, arrow.schema, compression="zstd", use_dictionary=repeating) as writer:
            writer.write_table(arrow)
            writer.add_key_value_metadata({SEAL_KEY: UNSEALED})
        seal(temporary)


@contextlib.contextmanager
def opened_parquet(path: Path | str) -> Iterator[Any]:
    """Open a Parquet file as `pyarrow.parquet.ParquetFile`.

    Raises
    ------
    DamagedFileError
        If it is not what its checksum says; without one, if it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    sealed = check_seal(path)
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError):
        if sealed or not path.is_file():
            raise
        raise DamagedFileError(path) from None


def read_parquet(path: Path | str, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table, index included.

    Raises
    ------
    DamagedFileError
        If it is damaged.
    """
    with opened_parquet(path) as file:
        return file.read(columns=columns).to_pandas()


def read_wide_parquet(path: Path | str, keys: Sequence[str]) -> pd.DataFrame:
    """Read a Parquet table of very many float columns in little more memory than its values take.

    Parameters
    ----------
    path
        Columns ``keys``, and float columns.
    keys
        Become the index; all others float32 columns.

    Raises
    ------
    DamagedFileError
        If it is damaged.
    """
    import numpy as np
    import pandas as pd

    with opened_parquet(path) as file:
        names = [name for name in file.schema_arrow.names if name not in keys]
        # A column's values lie together, as pandas keeps them.
        values = np.empty((file.metadata.num_rows, len(names)), np.float32, order="F")
        for start in range(0, len(names), COLUMNS_AT_A_TIME):
            part = file.read(columns=names[start : start + COLUMNS_AT_A_TIME], use_pandas_metadata=False)
            for number, column in enumerate(part.columns, start):
                values[:, number] = column.to_numpy()
        index = pd.MultiIndex.from_frame(file.read(columns=list(keys)).to_pandas()[list(keys)])
    return pd.DataFrame(values, index, names, copy=False)


def read_parquet_provenance(path: Path | str) -> dict[str, Any]:
    """Return what made a table.

    Raises
    ------
    DamagedFileError
        If it is damaged.
    """
    with opened_parquet(path) as file:
        return json.loads(file.schema_arrow.metadata[PROVENANCE_KEY.encode()])
