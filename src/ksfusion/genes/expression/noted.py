"""What is seen in a table of expression that may be a mistake, and does not stop the reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SHOWN = 3


class Noted(NamedTuple):
    """One thing that was seen.

    Attributes
    ----------
    check
        Which check has seen it, as `docs/data.md` lists them.
    detail
        What was seen, and the remedy.
    """

    check: str
    detail: str


def listed(names: Sequence[str], limit: int = SHOWN) -> str:
    """Return the first of some names for a message."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
