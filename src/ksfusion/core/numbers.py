"""What counts as a number in a user's table."""

from __future__ import annotations


def parse_number(text: str) -> float | None:
    """Return a text as a number, None where it is none; unlike Python, 1_000 is none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def decimal_point(text: str) -> str:
    """Return a number that has a decimal comma with a point, 12.5 for 12,5; any other text as it is."""
    with_point = text.replace(",", ".", 1)
    return with_point if "." not in text and text.count(",") == 1 and parse_number(with_point) is not None else text
