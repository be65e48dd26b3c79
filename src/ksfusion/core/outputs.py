"""What a run writes, file by file: the list in ``resources/outputs.yaml``, and its page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

INTRODUCTION = """# Outputs: every file, column and unit

Made from `resources/outputs.yaml` by `make reference`; the tests hold every file of a run against it. Paths are below
`results/` of the study's folder. A name in braces stands for any: `{batch}`, `{fold}` and `{seed}` are numbers. Tables
as text are tab-separated, and an empty field is a missing value. What made a file (settings, hash of code, checksum)
stands in it, or of text in a hidden `.NAME.provenance.json` beside it."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, where braces stand for any; its kind, its unit and what it is."""

    name: str
    kind: str
    unit: str
    what: str
    optional: bool = False


@dataclass(frozen=True)
class Output:
    """A file: its path below ``results/``, where braces stand for any, and what is in it.

    Attributes
    ----------
    columns
        Of a table.
    keys
        Of what is no table: name and what it is.
    """

    file: str
    what: str
    columns: tuple[Column, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)


def read_outputs(path: Path) -> dict[str, list[Output]]:
    """Return the outputs of each part of a run.

    Parameters
    ----------
    path
        ``resources/outputs.yaml``.
    """
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {part["title"]: [_output(entry, listed["common"]) for entry in part["files"]] for part in listed["stages"]}


def _output(entry: Mapping[str, Any], common: Mapping[str, list[str]]) -> Output:
    optional = entry.get("optional", ())
    columns = tuple(
        Column(name, kind, unit, what, name in optional or "{" in name)
        for name, said in entry.get("columns", {}).items()
        for kind, unit, what in [said or common[name]]
    )
    return Output(entry["file"], entry["what"], columns, entry.get("keys", {}))


def as_pattern(name: str) -> re.Pattern[str]:
    """Return a pattern of a path or a column; ``{path}`` may hold slashes, and ``{fold}`` and the like are numbers."""
    kinds = {"path": ".+", "fold": r"\d+", "seed": r"\d+", "batch": r"\d+"}
    parts = re.split(r"\{(\w+)\}", name)
    return re.compile("".join(kinds.get(part, "[^/]+") if at % 2 else re.escape(part) for at, part in enumerate(parts)))


def output_of(path: str, outputs: Mapping[str, Sequence[Output]]) -> Output | None:
    """Return what a file below ``results/`` is listed as: the entry with the fewest braces; None where it is not."""
    fitting = [entry for part in outputs.values() for entry in part if as_pattern(entry.file).fullmatch(path)]
    return min(fitting, key=lambda entry: entry.file.count("{"), default=None)


def outputs_page(outputs: Mapping[str, Sequence[Output]]) -> str:
    """Return the page of all outputs in Markdown."""
    lines = [INTRODUCTION]
    for title, files in outputs.items():
        lines += ["", f"## {title}"]
        for entry in files:
            lines += ["", f"### `{entry.file}`", "", entry.what[:1].upper() + entry.what[1:] + "."]
            if entry.columns:
                lines += ["", "| column | kind | unit | |", "|---|---|---|---|"]
                lines += [_row(f"`{name.name}`", name.kind, name.unit, _said(name)) for name in entry.columns]
            if entry.keys:
                lines += ["", "| in it | |", "|---|---|"]
                lines += [_row(f"`{key.replace(', ', '`, `')}`", said) for key, said in entry.keys.items()]
    return "\n".join(lines) + "\n"


def _said(column: Column) -> str:
    sometimes = "where there is one" if column.optional and "{" not in column.name else ""
    return "; ".join(part for part in (column.what, sometimes) if part)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
