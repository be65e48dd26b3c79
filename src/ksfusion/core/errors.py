"""Errors that are the user's to mend: shown as lines, without a traceback."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 5


class UserError(Exception):
    """Something in the user's files or settings; its text names the file, the row and the remedy."""


def first_of(problems: Sequence[str], limit: int = SHOWN) -> list[str]:
    """Return the first problems of one kind, and a line that counts the others: one wrong column floods nothing."""
    if len(problems) <= limit + 1:
        return list(problems)
    return [*problems[:limit], f"... and {len(problems) - limit} more like these, the last: {problems[-1]}"]
