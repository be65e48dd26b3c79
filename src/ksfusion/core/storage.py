"""How texts are written and read: tables as TSV, and JSON, with what made them inside or beside them.

With what made a file stands its checksum (`ksfusion.core.checksums`), which is looked at when it is read.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksfusion.core.atomic import atomic
from ksfusion.core.checksums import SEAL_KEY, UNSEALED, check_sealed_text, checksum, sealed_text
from ksfusion.core.data_files import long_field
from ksfusion.core.errors import DamagedFileError
from ksfusion.core.parquet import read_parquet_provenance

if TYPE_CHECKING:
    import pandas as pd

# In what stands beside a text: its checksum, and what stood there before, until the text is replaced.
CHECKSUM_KEY, BEFORE_KEY = "checksum", "before"
PROVENANCE_KEYS = (SEAL_KEY, CHECKSUM_KEY, BEFORE_KEY)


def read_provenance(path: Path | str) -> dict[str, Any]:
    """Return what made a file that this project wrote (Parquet, or text with its ``.provenance.json`` beside it).

    Raises
    ------
    DamagedFileError
        If it cannot be read.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        return read_parquet_provenance(path)
    record, _ = _record_of(path, path.read_bytes())
    if record is None:
        raise FileNotFoundError(_provenance_path(path))
    return {key: value for key, value in record.items() if key not in PROVENANCE_KEYS}


def _provenance_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.provenance.json")


def _record_of(path: Path, content: bytes) -> tuple[dict[str, Any] | None, bool]:
    """Return what stands beside a text file of that content, None where nothing does; and whether it is its content.

    Raises
    ------
    DamagedFileError
        If what stands beside it cannot be read.
    """
    beside = _provenance_path(path)
    if not beside.exists():
        return None, True
    try:
        record = json.loads(said := beside.read_bytes())
        check_sealed_text(said, path)
        known = [entry for entry in (record, record.get(BEFORE_KEY)) if entry]
    except (ValueError, AttributeError):
        raise DamagedFileError(path) from None
    own = checksum(content)
    fitting = [entry for entry in known if entry.get(CHECKSUM_KEY, own) == own]
    return (fitting[0], True) if fitting else (record, False)


def write_text(text: str, path: Path | str, made_by: Mapping[str, Any] | None = None) -> None:
    """Write a text file; ``made_by`` goes to a hidden JSON file beside it, so that any reader can read the text.

    With it stands the checksum of the text. Both change in one step: until the text is replaced, what stood beside the
    old one is kept beside the new, so that a process that is killed in between leaves no file that seems damaged.
    """
    path, content = Path(path), text.encode()
    record = None if made_by is None else {**made_by, CHECKSUM_KEY: checksum(content)}
    before = None if record is None else _before(path)
    if record is not None:
        _write_beside(path, {**record, BEFORE_KEY: before} if before else record)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    if record is not None and before:
        _write_beside(path, record)


def _before(path: Path) -> dict[str, Any] | None:
    """Return what stands beside a text file that is about to be replaced; None where it is not there, or damaged."""
    if not path.is_file():
        return None
    with contextlib.suppress(DamagedFileError):
        content = path.read_bytes()
        record, fits = _record_of(path, content)
        if fits:
            kept = {key: value for key, value in (record or {}).items() if key not in (SEAL_KEY, BEFORE_KEY)}
            return {**kept, CHECKSUM_KEY: checksum(content)}
    return None


def _write_beside(path: Path, record: Mapping[str, Any]) -> None:
    text = json.dumps({**record, SEAL_KEY: UNSEALED}, sort_keys=True, indent=1) + "\n"
    with atomic(_provenance_path(path)) as temporary:
        temporary.write_text(sealed_text(text), encoding="utf-8")


def write_tsv(table: pd.DataFrame, path: Path | str, made_by: Mapping[str, Any] | None = None) -> None:
    """Write a table as tab-separated text without its index; empty where a value is missing."""
    write_text(table.to_csv(sep="\t", index=False, lineterminator="\n"), path, made_by)


def write_json(values: Mapping[str, Any], path: Path | str) -> None:
    """Write JSON that has what made it under ``provenance``; its checksum goes there too."""
    made_by = {**values["provenance"], SEAL_KEY: UNSEALED}
    text = json.dumps({**values, "provenance": made_by}, indent=1, sort_keys=True, allow_nan=False) + "\n"
    with atomic(path) as temporary:
        temporary.write_text(sealed_text(text), encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read JSON that `write_json` or `write_text` wrote.

    Raises
    ------
    DamagedFileError
        If it is damaged.
    """
    path = Path(path)
    content = read_undamaged(path)
    check_sealed_text(content, path)
    try:
        return json.loads(content)
    except ValueError:
        raise DamagedFileError(path) from None


def read_undamaged(path: Path) -> bytes:
    """Return the content of a text file after making sure that it is what stands beside it."""
    content = path.read_bytes()
    _, fits = _record_of(path, content)
    if not fits:
        raise DamagedFileError(path)
    return content


def read_rows(path: Path | str) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """Read a user's tab-separated table as text, without judging it.

    Returns
    -------
    header : tuple of str
    rows : list of (line, fields)
        The line in the file, the header being line 1; fields without the blanks round them. Empty lines are left out.

    Raises
    ------
    OSError, UnicodeDecodeError, UserError
        If it cannot be read, is not UTF-8, or has a field of more than 131,072 characters; or if it is a file of this
        project's and damaged.
    """
    text = io.StringIO(read_undamaged(Path(path)).decode("utf-8-sig"), newline="")
    reader = csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        header = tuple(name.strip() for name in next(reader, []))
        rows = ((reader.line_num, [field.strip() for field in fields]) for fields in reader)
        return header, [(line, fields) for line, fields in rows if any(fields)]
    except csv.Error:
        raise long_field(path, reader.line_num) from None


def read_tsv(path: Path | str, **options: Any) -> pd.DataFrame:
    """Read a tab-separated table; only an empty field is missing, so that a gene named NA stays a gene.

    Raises
    ------
    DamagedFileError
        If it is damaged.
    """
    path = Path(path)
    return _parsed_tsv(path, read_undamaged(path), options)


def read_edited_tsv(path: Path | str, **options: Any) -> tuple[pd.DataFrame, dict[str, Any], bool]:
    """Read a table that its user may edit, as `read_tsv` does.

    Returns
    -------
    table : pandas.DataFrame
    record : dict
        What made it; empty where that is not known.
    changed : bool
        Whether it was changed since.
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        record, fits = _record_of(path, content)
    except DamagedFileError:
        record, fits = None, False
    return _parsed_tsv(path, content, options), record or {}, not fits


def _parsed_tsv(path: Path, content: bytes, options: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(io.BytesIO(content), sep="\t", keep_default_na=False, na_values=[""], **options)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError):
        raise DamagedFileError(path) from None
