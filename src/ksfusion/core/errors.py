"""Errors that are the user's to mend: shown as lines, without a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SHOWN = 5


class UserError(Exception):
    """Something in the user's files or settings; its text names the file, the row and the remedy."""


class DamagedFileError(UserError):
    """A file of an earlier stage that is not what that stage has written.

    Parameters
    ----------
    path
        The file.
    delete
        Path to delete, so that it is made again, where that is not the file itself.
    """

    def __init__(self, path: Path | str, delete: Path | str | None = None):
        self.path, self.delete = path, delete
        super().__init__(f"{path} is damaged; delete {delete or 'it'} and run again")

    def __reduce__(self) -> tuple[type[DamagedFileError], tuple[Path | str, Path | str | None]]:
        return type(self), (self.path, self.delete)


def first_of(problems: Sequence[str], limit: int = SHOWN) -> list[str]:
    """Return the first problems of one kind, and a line that counts the others: one wrong column floods nothing."""
    if len(problems) <= limit + 1:
        return list(problems)
    return [*problems[:limit], f"... and {len(problems) - limit} more like these, the last: {problems[-1]}"]
