"""The name that may be meant by one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def near_name(name: str, known: Iterable[str]) -> str:
    """Return the nearest of the known names, whatever the case of their letters; empty where none is near.

    Parameters
    ----------
    name
        What was given.
    known
        The names that there are.
    """
    by_letters = {other.casefold(): other for other in known}
    near = get_close_matches(str(name).casefold(), list(by_letters), n=1)
    return by_letters[near[0]] if near else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question, after a semicolon, whether the nearest of the known names is meant; empty without one.

    Parameters
    ----------
    name
        What was given.
    known
        The names that there are.
    """
    near = near_name(name, known)
    return f"; did you mean {near}?" if near else ""
