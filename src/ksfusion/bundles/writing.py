"""How the texts of a bundle are written: plainly, for their checksums are in the manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table of a bundle: its checksum is in the manifest, and no file stands beside it."""
    path.write_text(table.to_csv(sep="\t", index=False, lineterminator="\n"), encoding="utf-8")


def write_block(values: dict[str, Any], path: Path) -> None:
    """Write a JSON file of a bundle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
