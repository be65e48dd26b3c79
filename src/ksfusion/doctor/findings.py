"""What a look at the machine or at a study found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ksfusion.core.errors import UserError

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


def looked_at(subject: str, look: Callable[..., Finding | Iterable[Finding]], *given: Any) -> Iterator[Finding]:
    """Yield what a look finds; where it fails itself, that is a finding, and the next look goes on.

    Parameters
    ----------
    subject
        What is looked at.
    look
        Returns or yields what it finds.
    *given
        What it is called with.
    """
    try:
        found = look(*given)
        yield from [found] if isinstance(found, Finding) else found
    except UserError as error:
        yield from from_lines("problem", subject, str(error).splitlines())
    except ImportError as error:
        yield not_loaded(subject, error)
    except Exception as error:  # of a library or a file system: each has its own
        remedy = "see whether what it names can be read and has room, or tell the authors"
        yield Finding("problem", subject, f"cannot be looked at ({type(error).__name__}: {in_short(error)})", remedy)


def not_loaded(subject: str, error: Exception, package: str = "PACKAGE") -> Finding:
    """Return the finding that a package is not installed, or cannot be loaded.

    Parameters
    ----------
    subject
        What needs it.
    error
        What importing it has raised.
    package
        What installs it anew, where that is known.
    """
    install = f"{sys.executable} -m pip install"
    if isinstance(error, ModuleNotFoundError):
        said = f"the package {error.name.partition('.')[0]} is not installed" if error.name else in_short(error)
        return Finding("problem", subject, said, f"install it: {install} ksfusion")
    remedy = f"allow more memory (ulimit -v), or install it anew: {install} --force-reinstall {package}"
    return Finding("problem", subject, f"cannot be loaded ({in_short(error)})", remedy)


def in_short(error: Exception) -> str:
    """Return what an error says, in one line of no more than 200 characters."""
    return " ".join(str(error).split())[:200]
