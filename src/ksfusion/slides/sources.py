"""Which slides the table of samples names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple


class SlideSource(NamedTuple):
    """A slide's file, and its scale where the manifest gives it."""

    path: str
    mpp: float | None


def slide_sources(samples: Path) -> dict[str, SlideSource]:
    """Return each slide of a table of samples once, by slide_id; a sample without a slide names none."""
    from ksfusion.storage import read_parquet

    table = read_parquet(samples, columns=["slide_id", "slide", "mpp"]).drop_duplicates("slide_id")
    table = table[table["slide_id"].fillna("") != ""]
    sources = {}
    for slide_id, path, mpp in sorted(table.itertuples(index=False, name=None), key=lambda row: row[0]):
        known = mpp is not None and not math.isnan(mpp)
        sources[slide_id] = SlideSource(path if isinstance(path, str) else "", float(mpp) if known else None)
    return sources
