"""What stands in a cell of a user's table where nothing is known."""

from __future__ import annotations

# In small letters. "none" is not among them: it may be a class, as of a treatment.
MISSING = frozenset(
    {
        "", "-", "--", "'--", "na", "n/a", "n.a.", "<na>", "#na", "#n/a", "#n/a n/a", "nan", "-nan", "null",
        "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "unknown", "[unknown]", "not available", "[not available]",
        "not reported", "unbekannt", "k.a.", "k. a.",
    }
)  # fmt: skip


def is_missing(text: str) -> bool:
    """Return whether a cell says nothing, such as ``n/a``, ``unknown`` or ``-``, in letters of any size."""
    return text.strip().lower() in MISSING


def spellings() -> list[str]:
    """Return the usual spellings of `MISSING`, for readers that know no others: small, capital, and as a title."""
    return sorted({spelt for word in MISSING for spelt in (word, word.upper(), word.capitalize(), word.title())})
