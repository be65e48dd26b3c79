"""Errors that are the user's to mend: shown as lines, without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something in the user's files or settings; its text names the file, the row and the remedy."""
