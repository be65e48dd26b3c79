"""What pydantic says of a key that takes one of several kinds of values, as one problem of that key."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

Location = tuple[int | str, ...]
LONGEST_SHOWN = 60


def merged_problems(problems: Iterable[Mapping[str, Any]], model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return problems with the names of kinds of values left out of their locations, and one where all kinds fail.

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


def shown(value: Any) -> str:
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
