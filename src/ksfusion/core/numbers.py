"""What counts as a number in a user's table."""

from __future__ import annotations


def parse_number(text: str) -> float | None:
    """Return a text as a number, None where it is none; unlike Python, 1_000 is none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
