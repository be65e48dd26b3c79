"""Files of a run held against the list of outputs: which are not listed, and whose columns are others."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ksfusion.core.outputs import Column, Output, as_pattern, output_of

# Types of Arrow; a column without any value has none.
KINDS = {
    "text": ("string", "large_string", "null"),
    "integer": ("int8", "int16", "int32", "int64", "null"),
    "number": ("float", "double", "halffloat", "int32", "int64", "null"),
    "truth": ("bool", "null"),
}
INTEGER, NUMBER = re.compile(r"-?\d+(\.0)?"), re.compile(r"-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|-?inf|nan", re.IGNORECASE)
TEXT_KINDS = {"integer": INTEGER, "number": NUMBER, "truth": re.compile("True|False")}


def unlisted(results: Path, outputs: Mapping[str, Sequence[Output]]) -> Iterator[str]:
    """Yield a line for each file of a run that is not listed, or whose columns are not those listed.

    Parameters
    ----------
    results
        The folder ``results`` of a study.
    outputs
        What is listed (`read_outputs`).
    """
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        if path.is_dir() or any(part.startswith(".") for part in Path(name).parts):
            continue
        entry = output_of(name, outputs)
        if entry is None:
            yield f"{name}: is not listed"
        elif entry.columns:
            yield from (f"{name}: {said}" for said in wrong_columns(_columns_of(path), entry.columns))


def wrong_columns(found: Mapping[str, str | list[str]], columns: Sequence[Column]) -> Iterator[str]:
    """Yield what differs between the columns of a table and those listed.

    Parameters
    ----------
    found
        Name of each column, and its type in Arrow or, of text, its values.
    columns
        Those listed.
    """
    for column in columns:
        if not column.optional and column.name not in found:
            yield f"lacks {column.name}"
    for name, values in found.items():
        fitting = [column for column in columns if as_pattern(column.name).fullmatch(name)]
        if not fitting:
            yield f"has {name}"
        elif not _is_of_kind(values, min(fitting, key=lambda column: column.name.count("{")).kind):
            yield f"{name} is not {fitting[0].kind}"


def _is_of_kind(values: str | list[str], kind: str) -> bool:
    if isinstance(values, str):
        return values in KINDS[kind]
    pattern = TEXT_KINDS.get(kind)
    return pattern is None or all(pattern.fullmatch(value) for value in values if value)


def _columns_of(path: Path) -> dict[str, str | list[str]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return {field.name: str(field.type) for field in pq.read_schema(path)}
    header, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: [row[at] for row in rows if at < len(row)] for at, name in enumerate(header)}
