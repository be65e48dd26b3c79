"""Where the files are that a configuration or a table names by relative paths."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from ksfusion.core.config_block import PATH, Block
from ksfusion.core.errors import UserError

BUILTIN = "builtin"
B = TypeVar("B", bound=Block)


@functools.cache
def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  (called for each of tens of thousands of slides)


@functools.lru_cache(16)
def _different(folders: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(folder.resolve()) for folder in folders))


def nearest_above(path: Path | str) -> Path:
    """Return a path, or the nearest above it that is there and may be seen."""
    place = Path(path)
    # Unlike `Path.exists`, it says of what may not be seen, or has too long a name, that it is not there.
    return next(above for above in (place, *place.absolute().parents) if os.path.exists(above))  # noqa: PTH110


def find_path(path: str, folders: Sequence[Path]) -> str:
    """Return a path as the working directory sees it.

    Parameters
    ----------
    path
        Path as written. An absolute path, an address (``https://...``) and one that leads nowhere stay as they are.
    folders
        Folders in which a relative path may start: that of the file that names it, that where the command was given.

    Raises
    ------
    UserError
        If it leads to different files from two of them.
    """
    if not path or "://" in path or "\0" in path or Path(path).is_absolute():
        return path
    # One look for all files of a folder, where there is none.
    places = (os.path.join(folder, path) for folder in _different(tuple(folders)))  # noqa: PTH118
    found = [place for place in places if _is_folder(os.path.dirname(place)) and os.path.exists(place)]  # noqa: PTH110, PTH120
    if len(found) > 1 and len(there := {Path(place).resolve(): place for place in reversed(found)}) > 1:
        raise UserError(f"{path}: may be {' and '.join(reversed(there.values()))}; write the path in full")
    return os.path.relpath(found[0]) if found else path


def located(block: B, folders: Sequence[Path]) -> B:
    """Return settings with the paths in them as the working directory sees them, see `find_path`.

    Raises
    ------
    UserError
        With a line for each path that leads to two files.
    """
    problems: list[str] = []
    result = _located(block, folders, problems)
    if problems:
        raise UserError("\n".join(problems))
    return result


def _located(block: B, folders: Sequence[Path], problems: list[str]) -> B:
    def find(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: find(item) for key, item in value.items()}
        if isinstance(value, list):
            return [find(item) for item in value]
        if not isinstance(value, str) or value.startswith(BUILTIN):
            return value
        try:
            return find_path(value, folders)
        except UserError as error:
            problems.append(str(error))
            return value

    changes: dict[str, Any] = {}
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if field.json_schema_extra == PATH:
            changes[name] = find(value)
        elif isinstance(value, Block):
            changes[name] = _located(value, folders, problems)
        elif isinstance(value, list) and value and isinstance(value[0], Block):
            changes[name] = [_located(item, folders, problems) for item in value]
    return block.model_copy(update=changes)
