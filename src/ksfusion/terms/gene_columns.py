"""Genes that share a symbol in one file, and the names of their columns in ``genes/profiles.parquet``.

Which of them stands for the symbol is chosen on the training profiles of each fold, so the table keeps them all: the
first in the file under the symbol, the others, its copies, with a number that no symbol has (``CD99::2``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

# What names a profile, in each table of profiles.
PROFILE_KEYS = ("cohort", "expression_id")
# HGNC writes two colons in the names of fusion genes (BCR::ABL1), with a symbol behind them, never a number.
COPY = re.compile(r"(.+)::\d+")


def copies_apart(symbols: Iterable[str]) -> list[str]:
    """Give genes that share a symbol a name each, in the order of the file."""
    seen: Counter[str] = Counter()
    names = []
    for symbol in symbols:
        seen[symbol] += 1
        names.append(symbol if seen[symbol] == 1 else f"{symbol}::{seen[symbol]}")
    return names


def is_copy(column: str) -> bool:
    """Return whether a column is a copy: a further gene of its symbol."""
    return COPY.fullmatch(column) is not None


def symbol_of(column: str) -> str:
    """Return the symbol of a column."""
    found = COPY.fullmatch(column)
    return found[1] if found else column
