"""The tables of gene attributions, and of how far these can be relied on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.core.storage import read_tsv

COLUMNS = ["gene", "niche", "category", "class", "mean", "sd", "rank", "direction"]
NUMBERS = ["mean", "sd", "direction"]
CHECKS = ["class", "niche", "measure", "value", "by_chance", "n"]
CHECKED = ["value", "by_chance"]
# What is told of stability: agreement of the seeds, and with a model of permuted labels; and of planted genes.
SEEDS, PERMUTED, PLANTED = "seeds", "permuted", "planted"
ALL = "all"


def as_text(table: pd.DataFrame, numbers: Sequence[str]) -> pd.DataFrame:
    """Return a table with numbers as text, six digits; empty where not defined."""
    text = table.copy()
    for column in numbers:
        text[column] = ["" if np.isnan(value) else f"{value:.6g}" for value in table[column].astype(float)]
    return text


def read_attributions(path: Path) -> pd.DataFrame:
    """Read the table of genes of a task, method and fold."""
    table = read_tsv(path, dtype=dict.fromkeys(["gene", "niche", "category", "class"], str))
    return table.astype(dict.fromkeys(NUMBERS, float))


def read_checks(path: Path) -> pd.DataFrame:
    """Read the table of stability of a task, method and fold."""
    table = read_tsv(path, dtype=dict.fromkeys(["class", "niche", "measure"], str))
    return table.astype(dict.fromkeys(CHECKED, float))
