"""The tiles of a batch of slides."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.timing import SlideTiming
from ksfusion.slides.config import TileSlidesSettings
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import sources_of_batch
from ksfusion.slides.reading.workers import IsolatedCalls
from ksfusion.slides.tiles.grid import tile_slide
from ksfusion.slides.tiles.table import failed_row, is_nearly_all_tissue, join_tables, tile_rows

log = logging.getLogger(__name__)


def tile_slides(
    samples: Path, output: Path, *, batch: int, masks: Sequence[Path] = (), settings: TileSlidesSettings
) -> None:
    """Find tissue and lay the grid of a batch of slides.

    A slide that fails is a row with its reason.

    Parameters
    ----------
    samples
        Table of slide_id, slide and mpp: ``results/cohort/manifest.tsv`` of a run, or a table of samples.
    output
        Parquet: slide_id, status, reason, tile, x, y, tissue, the flags (`ksfusion.terms.flags`), and of the slide mpp,
        mpp_source, width, height, tissue_mm2, tissue_share (of what was scanned), mask (automatic or external),
        masks_origin (where the coordinates of that mask start: level0 or bounds), digest and thumbnail_hash
        (`ksfusion.slides.reading.fingerprint`; empty where it cannot be read); a failed slide is one row with tile -1.
    batch
        The number of the batch.
    masks
        The user's masks of tissue, each named after its slide (`ksfusion.slides.tiles.masks`).
    settings
        The settings of reading and tiling.
    """
    parts, timing = [], SlideTiming(output)
    mask_of = {mask.stem: mask for mask in masks}
    with IsolatedCalls(tile_slide, settings.slides.timeout) as tile:
        for slide_id, source in sources_of_batch(samples, batch, settings.slides.batches).items():
            try:
                with timing.of(slide_id):
                    known, tiles = tile(source, mask_of.get(slide_id), settings.slides)
                log.info("%s\t%d tiles", slide_id, len(tiles["x"]))
                if is_nearly_all_tissue(known["tissue_share"], known["mask"]):
                    log.warning("%s\t%.0f %% of it is taken for tissue", slide_id, 100 * known["tissue_share"])
                parts.append(tile_rows(slide_id, known, tiles))
            except SlideError as error:
                log.warning("%s\t%s: %s", slide_id, error.reason, error)
                parts.append(failed_row(slide_id, error))
    write_parquet(join_tables(parts), output, provenance(__name__, {"batch": batch, **settings.record()}))
