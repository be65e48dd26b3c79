"""What is said of the configuration elsewhere, made from its classes: a page, a JSON schema, defaults in brackets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

KEY = re.compile(r"^(?P<indent> *)(?P<name>[a-z_]+):(?P<rest>.*)$")
BRACKET = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]$")


def block_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the class of a block, also of one that may be null, stands in a list, or in a mapping of names."""
    pending = [field.annotation]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
        pending.extend(get_args(kind))
    return None


def default_text(field: FieldInfo) -> str | None:
    """Return the default of a key as it stands in brackets; None where the key has none, or is a block."""
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined or isinstance(default, BaseModel):
        return None
    if default == {}:
        return "{}"
    if isinstance(default, dict):
        default = list(default) if block_of(field) else list(default.values())
    if isinstance(default, list | tuple):
        return ", ".join(map(_yaml, default)) or "[]"
    return _yaml(default)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def with_defaults(text: str, model: type[BaseModel]) -> str:
    """Return a commented configuration with the default of each key in the brackets that end its comment.

    Parameters
    ----------
    text
        YAML. The comment of a key stands behind it, goes on in lines of comment alone, or stands in lines before it.
        A value that is the default is called ``these`` where it stands for a long list.
    model
        The class of the whole configuration.

    Raises
    ------
    ValueError
        If the comment of a key with a default has no brackets.
    """
    lines = text.split("\n")
    for number, path in _keys(lines):
        field = _field(model, path)
        wanted = default_text(field) if field else None
        if wanted is None:
            continue
        places = [at for at in _comment_lines(lines, number) if BRACKET.search(lines[at].rstrip())]
        if not places:
            raise ValueError(f"line {number + 1}: {'.'.join(path)} does not say its default in brackets: [{wanted}]")
        at = places[-1]
        if lines[at].endswith("[these]") and f"[{wanted}]" in lines[number]:
            continue
        lines[at] = BRACKET.sub(f"[{wanted}]".replace("\\", r"\\"), lines[at].rstrip())
    return "\n".join(lines)


def _keys(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the path of each key; those of a list's items are left out."""
    path: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        if line.lstrip().startswith("- "):
            path = [entry for entry in path if entry[0] < len(line) - len(line.lstrip())]
            path.append((len(line) - len(line.lstrip()), "-"))
            continue
        if found := KEY.match(line):
            indent = len(found["indent"])
            path = [entry for entry in path if entry[0] < indent] + [(indent, found["name"])]
            yield number, [name for _, name in path]


def _comment_lines(lines: list[str], number: int) -> list[int]:
    """Return the lines that hold the comment of a key: those of comment alone before it, its own, those behind it."""
    key = KEY.match(lines[number])
    indent = len(key["indent"]) if key else 0
    before: list[int] = []
    after: list[int] = []
    at = number - 1
    while at >= 0 and lines[at][:indent].strip() == "" and lines[at][indent : indent + 1] == "#":
        before.insert(0, at)
        at -= 1
    at = number + 1
    while at < len(lines) and re.match(rf" {{{indent + 8},}}#", lines[at]):
        after.append(at)
        at += 1
    own = [number] if "#" in lines[number] else []
    return before + own + after


def _field(model: type[BaseModel], path: list[str]) -> FieldInfo | None:
    """Return the field of a path of keys; None where it is none, such as an item of a list."""
    block: type[BaseModel] | None = model
    for name in path[:-1]:
        field = block.model_fields.get(name) if block else None
        block = block_of(field) if field else None
    return block.model_fields.get(path[-1]) if block else None


def settings_page(model: type[BaseModel]) -> str:
    """Return the reference page of the configuration in Markdown: a table for each block."""
    lines = [
        "# The configuration, key by key",
        "",
        "Made from the classes of the settings by `make reference`. A key that is left out has the default, which is",
        "the paper's value; `config.yaml` is the demo's configuration. An editor that knows YAML schemas completes",
        "keys in a file that begins with",
        "",
        "```yaml",
        "# yaml-language-server: $schema=resources/config.schema.json",
        "```",
    ]
    top = [(name, field) for name, field in model.model_fields.items() if block_of(field) is None]
    lines += ["", "## Top level", "", *_table(top)]
    for name, field in model.model_fields.items():
        block = block_of(field)
        if block is None:
            continue
        lines += ["", f"## `{name}`", "", _sentence(field.description or (block.__doc__ or "").partition("\n")[0])]
        lines += ["", *_table(block.model_fields.items())]
        for key, inner in block.model_fields.items():
            nested = block_of(inner)
            if nested is not None:
                lines += ["", f"### `{name}.{key}`", "", _sentence((nested.__doc__ or "").partition("\n")[0])]
                lines += ["", *_table(nested.model_fields.items())]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _table(fields: Any) -> list[str]:
    rows = ["| key | values | default | |", "|---|---|---|---|"]
    for name, field in fields:
        default = default_text(field)
        shown = "" if default is None else f"`{default}`"
        if field.is_required():
            shown = "*needed*"
        cells = [f"`{name}`", _values(field.annotation), shown, field.description or ""]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return rows


def _values(kind: Any) -> str:
    """Return what a key takes, in words."""
    words = {str: "text", int: "number", float: "number", bool: "true, false", type(None): "null"}
    if kind in words:
        return words[kind]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "a block"
    origin, inside = getattr(kind, "__origin__", None), [part for part in get_args(kind) if part is not ...]
    if hasattr(kind, "__metadata__"):
        return _values(inside[0])
    if origin in (list, tuple):
        return f"[{', '.join(dict.fromkeys(map(_values, inside)))}, ...]"
    if origin is dict:
        return f"{{name: {_values(inside[1])}}}"
    if inside and all(isinstance(value, str) for value in inside):
        return ", ".join(f"`{value}`" for value in inside)
    return " or ".join(dict.fromkeys(map(_values, inside)))


def settings_schema(model: type[BaseModel]) -> str:
    """Return the JSON schema of the configuration, for editors and other programs."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
