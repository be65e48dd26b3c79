"""The base of every settings class, and the types that many of their fields share."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from ksfusion.core.provenance import as_json

Fraction = Annotated[float, Field(ge=0, le=1)]
# More than any study has of whatever is counted.
MOST = 1_000_000
Positive = Annotated[int, Field(ge=1, le=MOST)]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


def _is_one_line(text: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise ValueError("must be one line of text, without control characters")
    return text


# A line of text that is shown: any characters but those that end lines or control a terminal.
Printed = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120), AfterValidator(_is_one_line)
]
# Of a field whose values are paths: relative ones are looked for (`ksfusion.core.paths.located`).
PATH: dict[str, Any] = {"format": "path"}
# Of Linux and macOS.
LONGEST_PATH, LONGEST_NAME = 4095, 255


def path_problem(path: str) -> str:
    """Return why a text can be no path; empty where it can be one."""
    if not path.strip():
        return "is empty; name a file, or leave the key out"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
        return "has a control character in it; write the path anew"
    names = [len(name.encode()) for name in path.split("/")]
    if "://" not in path and (max(names) > LONGEST_NAME or sum(names) + len(names) > LONGEST_PATH):
        return "is longer than a path can be; correct it"
    return ""


def _can_be_path(path: str) -> str:
    if problem := path_problem(path):
        raise ValueError(problem)
    return path


def once_each(names: list[str], what: str) -> list[str]:
    """Return names as they are.

    Parameters
    ----------
    names
        The names of a list in the configuration.
    what
        The word for one of them, such as column.

    Raises
    ------
    ValueError
        If one is listed twice.
    """
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise ValueError(f"{what} {twice[0]} is listed twice")
    return names


AnyPath = Annotated[str, AfterValidator(_can_be_path)]


class Block(BaseModel):
    """Base of all settings: an unknown key is an error, a value never changes.

    A stage's settings are such a class, in the ``config.py`` of its domain. Where a block of the configuration holds
    more than one stage reads, the block inherits from the classes of the stages, so that each key stands once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _paths_can_be(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name and cls.model_fields[info.field_name].json_schema_extra == PATH:
            for path in value.values() if isinstance(value, dict) else [value]:
                if isinstance(path, str):
                    _can_be_path(path)
        return value

    @classmethod
    def of(cls, *sources: BaseModel, **more: Any) -> Self:
        """Return these settings, taken by name from larger blocks.

        Parameters
        ----------
        *sources
            Blocks that have some of the fields; the first that has one gives it.
        **more
            Values of the other fields.

        Raises
        ------
        pydantic.ValidationError
            If a field without a default is nowhere.
        """
        found: dict[str, Any] = {}
        for source in sources:
            found = source.model_dump(include=set(cls.model_fields)) | found
        return cls.model_validate(found | more)

    def record(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them: what is written into files, and handed to stages."""
        return self.model_dump(mode="json")

    def as_json(self) -> str:
        """Return the settings as one line of JSON with sorted keys, so that equal settings are equal text."""
        return as_json(self.record())
