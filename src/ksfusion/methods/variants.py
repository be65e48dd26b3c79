"""Which variants of KS-Fusion are compared by alpha, and which methods share their runs."""

from __future__ import annotations

from collections.abc import Iterable

from ksfusion.methods.registry import METHODS

FULL_METHOD = "ksfusion"


def shows_alpha(methods: Iterable[str]) -> bool:
    """Return whether some methods are variants with another alpha."""
    return any(METHODS[name].alpha is not None for name in methods)


def compared_by_alpha(methods: Iterable[str]) -> list[str]:
    """Return the methods whose results are compared by alpha: those that are named, else all that there are."""
    named = [name for name in methods if name == FULL_METHOD or METHODS[name].alpha is not None]
    if shows_alpha(named):
        return named
    return [name for name, info in METHODS.items() if info.alpha is not None]


def trained_as(method: str, methods: Iterable[str], *, alpha: float, searched: bool) -> str:
    """Return the method whose runs a method's results come from: itself, or its base where both are one.

    A variant that fixes nothing but what ``training`` says, such as ``ksfusion-alpha050`` where alpha is 0.5, would
    repeat the runs of its base. Where settings are searched it would not: alpha is then chosen for the base, for each
    fold anew, and the rest along with it.

    Parameters
    ----------
    method
        Name of the method, a key of `METHODS`.
    methods
        Names of all that are trained.
    alpha
        Value that ``training`` gives to methods without an alpha of their own.
    searched
        Whether settings are searched.
    """
    info = METHODS[method]
    same = not info.options or info.alpha == alpha
    return info.base if same and not searched and info.base in methods else method
