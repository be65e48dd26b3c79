"""YAML files in which no key may stand twice, and nothing may refer to itself or grow by references."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ksfusion.core.errors import UserError

# A file of a few lines whose references refer to others that do can stand for more values than any memory holds.
MOST_VALUES, MOST_BYTES = 100_000, 1 << 20
# What PyYAML raises where a text is not of the type that it is said to be, or that it looks like (2024-13-45).
NOT_OF_TYPE = (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError)


class _Loader(yaml.SafeLoader):
    """Of two keys of one name plain YAML keeps the last and says nothing."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except NOT_OF_TYPE:
            said = repr(node.value) if isinstance(node, yaml.ScalarNode) else "what stands here"
            kind = node.tag.rpartition(":")[2]
            raise UserError(
                f"row {_row(node)}: {said} cannot be read as {kind}; correct it, or put text in quotes"
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = self.construct_object(key_node, deep=True), _row(key_node)
            if not isinstance(key, Hashable):
                raise UserError(f"row {line}: a key is a list or a mapping; write text")
            if key in lines:
                raise UserError(f"row {line}: key {key!r} stands in row {lines[key]} already; merge the two")
            lines[key] = line
        return super().construct_mapping(node, deep)


def _row(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _count_values(node: yaml.Node, known: dict[int, int], open_nodes: set[int]) -> int:
    """Return how many values a node stands for, those behind its references counted each time."""
    if id(node) in open_nodes:
        raise UserError(f"row {_row(node)}: refers to itself; write out what is meant")
    if id(node) in known:
        return known[id(node)]
    open_nodes.add(id(node))
    parts = node.value if isinstance(node, yaml.CollectionNode) else []
    children = (child for part in parts for child in (part if isinstance(part, tuple) else (part,)))
    count = 1 + sum(_count_values(child, known, open_nodes) for child in children)
    if count > MOST_VALUES:
        raise UserError(
            f"row {_row(node)}: stands for more than {MOST_VALUES:,} values; write less, or fewer references"
        )
    open_nodes.remove(id(node))
    known[id(node)] = count
    return count


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    UserError
        If it is not there, is not YAML, has a key twice, refers to itself, or stands for too many values.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError("is a device or a pipe, not a file; name a file")
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise UserError(f"has more than {MOST_BYTES:,} bytes; no configuration is as long")
        return _read(path.read_text(encoding="utf-8"))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply; write it flatter") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        row = f"row {mark.line + 1}: " if mark else ""
        remedy = "indent with blanks, not with tabs"
        if "'\\t'" not in str(error):
            remedy = "look at the indents, brackets and quotes up to there"
        raise UserError(f"{path}: {row}is not valid YAML ({error.problem}); {remedy}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not valid YAML: no text in UTF-8; name another file, or save it so") from None
    except (yaml.YAMLError, *NOT_OF_TYPE) as error:
        said = " ".join(str(error).split())
        remedy = "; save it as plain text in UTF-8" if isinstance(error, yaml.reader.ReaderError) else ""
        raise UserError(f"{path}: is not valid YAML: {said}{remedy}") from None


def _read(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, {}, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()
