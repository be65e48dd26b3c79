"""What a look at the machine or at a study found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """A thing that was looked at.

    Attributes
    ----------
    level
        ``problem``: a run fails over it. ``note``: worth knowing.
    subject
        What was looked at, such as ``memory``.
    said
        What there is.
    remedy
        What to do; empty where nothing is to be done.
    """

    level: Level
    subject: str
    said: str
    remedy: str = ""

    def line(self, width: int = 0) -> str:
        """Return the finding as a line whose subject takes so many characters."""
        return f"{self.level:<8}{self.subject:<{width}}  {self.said}" + (f"; {self.remedy}" if self.remedy else "")

    def record(self) -> dict[str, Any]:
        """Return the finding as JSON can hold it."""
        return asdict(self)


def from_lines(level: Level, subject: str, lines: Iterable[str]) -> list[Finding]:
    """Return a finding for each line whose remedy stands behind its last semicolon, as messages of `UserError` do."""
    parts = (line.rpartition("; ") for line in lines)
    return [Finding(level, subject, said or remedy, remedy if said else "") for said, _, remedy in parts]
