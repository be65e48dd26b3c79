"""A configuration from a file: read, validated, and its paths brought to the working directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ksfusion.config import Config
from ksfusion.core.config_problems import problem_lines
from ksfusion.core.errors import UserError
from ksfusion.core.paths import find_path, located
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.methods.registry import use_methods


def parse_config(
    values: Mapping[str, Any], *, source: str = "the configuration", folders: Sequence[Path] = ()
) -> Config:
    """Validate a configuration; the methods of the user's files that it names are known from then on.

    Parameters
    ----------
    values
        The mapping as read from YAML.
    source
        Name of the configuration in messages: that of its file.
    folders
        Folders in which the paths of files with methods may start.

    Raises
    ------
    UserError
        With one line for each problem: the key, what is wrong, and what it was given.
    """
    # Snakemake takes braces for wildcards, wherever they stand.
    if braces := [text for text in _texts(values) if "{" in text or "}" in text]:
        raise UserError("\n".join(f"{source}: {text!r} has a brace in it; rename it" for text in braces))
    _use_own_methods(values, source, folders)
    try:
        return Config.model_validate(_with_nulls(values))
    except ValidationError as error:
        raise UserError("\n".join(problem_lines(error, Config, source))) from None


def located_config(
    values: Mapping[str, Any], *, source: str, files: Iterable[str | Path], folders: Sequence[Path]
) -> Config:
    """Validate a configuration, and bring its paths to the working directory.

    Parameters
    ----------
    values, source
        See `parse_config`.
    files
        The files that it comes from, read again: of two keys of one name YAML drops the first. Relative paths start at
        their folders.
    folders
        Further folders in which they may start.

    Raises
    ------
    UserError
        With one line for each problem.
    """
    read = [Path(file) for file in files]
    for file in read:
        read_yaml(file)
    places = [*(file.resolve().parent for file in read), *folders]
    return located(parse_config(values, source=source, folders=places), places)


def _use_own_methods(values: Mapping[str, Any], source: str, folders: Sequence[Path]) -> None:
    """Let the methods of the user's files be known: before the names of methods are checked."""
    named = values.get("methods_from") or []
    # That it must be a list is told with the other keys, not that its methods are unknown.
    named = [named] if isinstance(named, str) else named
    files = named if isinstance(named, list) and all(isinstance(file, str) and file for file in named) else []
    try:
        use_methods(find_path(file, folders) for file in files)
    except UserError as error:
        raise UserError("\n".join(f"{source}: methods_from: {line}" for line in str(error).splitlines())) from None


def _with_nulls(value: Any) -> Any:
    """Return settings with None for the text null: what ``--config`` of Snakemake has in braces is text."""
    if isinstance(value, Mapping):
        return {key: _with_nulls(item) for key, item in value.items()}
    return None if value == "null" else value


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in nested settings, keys included."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def load_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises
    ------
    UserError
        If it is not there, is not YAML, has a key twice, or is not a valid configuration.
    """
    values = read_yaml(path)
    if not isinstance(values, Mapping):
        raise UserError(f"{path}: must be a mapping of keys; see config.yaml")
    return parse_config(values, source=str(path), folders=[path.resolve().parent, Path.cwd()])
