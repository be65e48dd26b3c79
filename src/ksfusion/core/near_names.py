"""The name that may be meant by one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question, after a semicolon, whether the nearest of the known names is meant; empty without one.

    Parameters
    ----------
    name
        What was given.
    known
        The names that there are.
    """
    near = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
