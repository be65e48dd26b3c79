"""What a sample has of the two modalities, and which methods it serves with that."""

from __future__ import annotations

# The column of the ledger of samples, of predictions and of result tables that says so.
MODALITIES = "modalities"
PAIRED, SLIDES_ONLY, GENES_ONLY = "paired", "slides only", "genes only"
# The flag of a patient who has one of the two that models read.
STANDS_IN = {SLIDES_ONLY: "without_profile", GENES_ONLY: "without_slide"}
# By the letters of what methods read.
LETTERS = {PAIRED: "pg", SLIDES_ONLY: "p", GENES_ONLY: "g"}


def serves(modalities: str, read: str) -> bool:
    """Return whether a sample has all that a method reads.

    Parameters
    ----------
    modalities
        What the sample has: ``paired``, ``slides only`` or ``genes only``.
    read
        What the method reads: ``p`` (patches), ``g`` (genes) or both; other letters are not of samples.
    """
    return all(letter in LETTERS[modalities] for letter in read if letter in LETTERS[PAIRED])
