"""The tiles of a batch of slides, from the files of another tool."""

from __future__ import annotations

import logging
from pathlib import Path

from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.slides.config import ImportTilesSettings
from ksfusion.slides.features.precomputed import read_tiles
from ksfusion.slides.features.vectors import read_vector_tile
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import VECTORS, features_file, sources_of_batch
from ksfusion.slides.reading.workers import IsolatedCalls
from ksfusion.slides.tiles.table import failed_row, join_tables, tile_rows

log = logging.getLogger(__name__)


def import_tiles(samples: Path, output: Path, *, batch: int, settings: ImportTilesSettings) -> None:
    """Take the tiles of a batch from the files of another tool.

    A slide whose file is of no use is a row with its reason.

    Parameters
    ----------
    samples
        Table of slide_id, slide and mpp: ``results/cohort/manifest.tsv`` of a run, or a table of samples;
        a slide needs its id only, and its ``mpp`` where the ledger is to have it.
    output
        The table of `ksfusion.stages.tile_slides`; x and y are whole numbers of the file's own unit.
    batch
        The number of the batch.
    settings
        The folder of the files and what they hold, the fewest tiles that make a slide usable, and the seconds that a
        slide may take.
    """
    parts = []
    vectors = settings.source == VECTORS
    with IsolatedCalls(read_vector_tile if vectors else read_tiles, settings.timeout) as read:
        for slide_id, source in sources_of_batch(samples, batch, settings.batches).items():
            given = {"mpp": source.mpp, "mpp_source": "manifest"} if source.mpp else {}
            try:
                path = features_file(settings.path, slide_id, settings.source)
                known, tiles = read(path) if vectors else read(path, settings.min_tiles)
                log.info("%s\t%d tiles", slide_id, len(tiles["x"]))
                parts.append(tile_rows(slide_id, given | known, tiles))
            except SlideError as error:
                log.warning("%s\t%s: %s", slide_id, error.reason, error)
                parts.append(failed_row(slide_id, error, given))
    recorded = settings.model_dump(mode="json", include={"path", "min_tiles"})
    write_parquet(join_tables(parts), output, provenance(__name__, {"batch": batch, **recorded}))
