"""The table of tiles: one row for each tile of a slide, and one for a slide that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.slides.reading.errors import SlideError
from ksfusion.terms.flags import FLAGS

COLUMN_TYPES: dict[str, str] = {
    "slide_id": "object",
    "status": "object",
    "reason": "object",
    "tile": "int32",
    "x": "int32",
    "y": "int32",
    "tissue": "float32",
    **{flag: "bool" for flag in FLAGS},
    "mpp": "float64",
    "mpp_source": "object",
    "width": "int32",
    "height": "int32",
    "tissue_mm2": "float64",
    "tissue_share": "float64",
    "mask": "object",
    "masks_origin": "object",
    "digest": "object",
    "thumbnail_hash": "object",
}
# A slide of which this share and more counts as tissue is worth a look: few are, beside regions cut out of slides.
NEARLY_ALL = 0.9
UNKNOWN: dict[str, Any] = {
    "mpp": np.nan,
    "mpp_source": "",
    "width": 0,
    "height": 0,
    "tissue_mm2": np.nan,
    "tissue_share": np.nan,
    "mask": "",
    "masks_origin": "",
    "digest": "",
    "thumbnail_hash": "",
}


def is_nearly_all_tissue(share: float, mask: str) -> bool:
    """Return whether so much of a slide was taken for tissue, without a mask of the user's, that it is worth a look."""
    return mask == "automatic" and share >= NEARLY_ALL


def tile_rows(slide_id: str, known: Mapping[str, Any], tiles: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the rows of a slide that has tiles.

    Parameters
    ----------
    slide_id
        The slide.
    known
        Known properties of the slide, under names of `UNKNOWN`.
    tiles
        ``tile``, ``x``, ``y``, ``tissue`` and, where they were looked for, the flags: an array of shape (tiles,) each.
    """
    return _rows(tiles, slide_id=slide_id, status="ok", reason="", **UNKNOWN | dict(known))


def failed_row(slide_id: str, error: SlideError, known: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Return the one row of a slide that failed, with what is known of it all the same."""
    no_tile = {"tile": [-1], "x": [-1], "y": [-1], "tissue": [np.nan]}
    known = UNKNOWN | dict(known or {}) | error.known
    return _rows(no_tile, slide_id=slide_id, status="failed", reason=error.reason, **known)


def _rows(tiles: Mapping[str, Any], **of_slide: Any) -> pd.DataFrame:
    unflagged: dict[str, Any] = dict.fromkeys(FLAGS, False)
    return _typed(pd.DataFrame(unflagged | dict(tiles)).assign(**of_slide))


def join_tables(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the table of a batch, of the rows of its slides; it may have none."""
    return _typed(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMN_TYPES)))


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table[list(COLUMN_TYPES)].astype(COLUMN_TYPES)
