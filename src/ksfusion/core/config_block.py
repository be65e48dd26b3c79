"""The base of every settings class, and the types that many of their fields share."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from ksfusion.core.provenance import as_json

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Block(BaseModel):
    """Base of all settings: an unknown key is an error, a value never changes.

    A stage's settings are such a class, in the ``config.py`` of its domain. Where a block of the configuration holds
    more than one stage reads, the block inherits from the classes of the stages, so that each key stands once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

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
