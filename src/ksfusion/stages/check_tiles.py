"""The slides that have no tiles: told before any is encoded, and the end of a run where they are too many."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.cohort.failures import check_slides
from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.slides.config import CheckTilesSettings

log = logging.getLogger(__name__)

COLUMNS = ["slide_id", "status", "reason"]


def check_tiles(tiles: Sequence[Path], output: Path, *, settings: CheckTilesSettings) -> None:
    """Stop where too many slides have no tiles.

    Parameters
    ----------
    tiles
        Tiles of all batches.
    output
        Gets slide_id, status and reason of the slides that failed.
    settings
        The share of slides that may fail.

    Raises
    ------
    UserError
        If more failed; the log names each of them.
    """
    slides = pd.concat([read_parquet(file, columns=COLUMNS).drop_duplicates("slide_id") for file in tiles])
    failed = slides[slides["status"] != "ok"].sort_values("slide_id")
    for slide_id, _, reason in failed.itertuples(index=False):
        log.warning("slide %s: %s", slide_id, reason)
    check_slides(slides, max_failed_fraction=settings.max_failed_fraction, where="the lines above say")
    write_tsv(failed, output, provenance(__name__, settings.record()))
