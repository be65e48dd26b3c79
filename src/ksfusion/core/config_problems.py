"""What pydantic says of a configuration, as a line for each key: what is wrong, what it was given, and the remedy."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from ksfusion.core.reference import block_of

Location = tuple[int | str, ...]
LONGEST_SHOWN = 60


def problem_lines(error: ValidationError, model: type[BaseModel], source: str) -> list[str]:
    """Return a line for each problem.

    Parameters
    ----------
    error
        What pydantic raised.
    model
        The class that was to be made.
    source
        Name of the configuration in messages.
    """
    return [_describe(problem, model, source) for problem in _merged(error.errors(), model)]


def _describe(problem: Mapping[str, Any], model: type[BaseModel], source: str) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the whole"
    if problem["type"] == "extra_forbidden" and key.partition(".")[0] in model.model_fields and _has_dot(problem):
        return f"{source}: {key}: unknown key; {_right_form(problem['loc'], problem['input'])}"
    if problem["type"] == "extra_forbidden":
        return f"{source}: {key}: unknown key; remove it or correct its name ({_known_keys(problem['loc'], model)})"
    if problem["type"] == "missing":
        return f"{source}: {key}: missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], Mapping | list) else f" (given: {_shown(problem['input'])})"
    return f"{source}: {key}: {message}{given}"


def _has_dot(problem: Mapping[str, Any]) -> bool:
    return "." in str(problem["loc"][-1])


def _right_form(location: Location, value: Any) -> str:
    """Return how a key of a block is written that was given with dots, in a file and to Snakemake."""
    block, *keys = [*map(str, location[:-1]), *str(location[-1]).split(".")]
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("\n").removesuffix("\n...")
    written = ": {".join(keys) + f": {text}" + "}" * (len(keys) - 1)
    return f"write {block}: {{{written}}} in the file, or give Snakemake --config '{block}={{{written}}}'"


def _known_keys(location: Location, model: type[BaseModel]) -> str:
    block: type[BaseModel] | None = model
    for part in location[:-1]:
        # The number of an item in a list, or the name of a task, leads no further.
        if block is not None and isinstance(part, str) and part in block.model_fields:
            block = block_of(block.model_fields[part])
    return f"known here: {', '.join(block.model_fields)}" if block else "see config.yaml, where every key is explained"


def _merged(problems: Iterable[Mapping[str, Any]], model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return problems without the names of kinds of values in their locations, and one where all kinds fail.

    Parameters
    ----------
    problems
        As `pydantic.ValidationError.errors` returns them.
    model
        The class that was to be made.
    """
    found: dict[Location, dict[str, Any]] = {}
    words: dict[Location, str] = {}
    for problem in problems:
        location, of_union = _without_kinds(problem["loc"], model)
        # Of a word that is wanted in place of another value, the problem of that value tells.
        if of_union is not None and problem["type"] == "literal_error":
            words[of_union] = problem["ctx"]["expected"]
            found.setdefault(of_union, {**problem, "loc": of_union})
            continue
        before = found.get(of_union) if of_union is not None else None
        if of_union is not None and before is not None and before["type"] == "literal_error":
            del found[of_union]
        message = "Input is too large" if problem["type"] == "int_parsing_size" else problem["msg"]
        found.setdefault(location, {**problem, "loc": location, "msg": message, "union": of_union})
    return [_with_word(problem, words) for problem in found.values()]


def _with_word(problem: dict[str, Any], words: Mapping[Location, str]) -> dict[str, Any]:
    word = words.get(problem["union"]) if problem.get("union") == problem["loc"] else None
    return {**problem, "msg": f"{problem['msg']}, or {word}"} if word else problem


def _shown(value: Any) -> str:
    """Return a value as it is shown in a message."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def _without_kinds(location: Location, model: type[BaseModel]) -> tuple[Location, Location | None]:
    """Return a location without the names of kinds that pydantic puts in, and that of the last key with several."""
    kind: Any = model
    kept: list[int | str] = []
    of_union: Location | None = None
    for part in location:
        kind = _bare(kind)
        if get_origin(kind) in (Union, types.UnionType):
            of_union = tuple(kept)
            kind = next((one for one in get_args(kind) if get_origin(_bare(one)) in (list, tuple, dict)), None)
            continue
        kept.append(part)
        kind = _inner(kind, part)
    return tuple(kept), of_union


def _bare(kind: Any) -> Any:
    """Return a type without its constraints, and without None."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
            continue
        others = [one for one in get_args(kind) if one is not types.NoneType]
        if get_origin(kind) not in (Union, types.UnionType) or len(others) != 1:
            return kind
        kind = others[0]


def _inner(kind: Any, part: int | str) -> Any:
    """Return the type of what stands at a part of a location; None where it is not known."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return arguments[1]
    if get_origin(kind) is tuple and isinstance(part, int) and part < len(arguments) and arguments[-1] is not ...:
        return arguments[part]
    return arguments[0] if get_origin(kind) in (list, tuple) else None
