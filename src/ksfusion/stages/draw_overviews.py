"""One picture of each slide of a batch."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.core.atomic import atomic
from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.slides.config import DrawOverviewsSettings
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.reading.workers import IsolatedCalls
from ksfusion.slides.tiles.overview import count_chosen, overview_png

log = logging.getLogger(__name__)

COLUMNS = ["slide_id", "overview", "sha256", "reason"]


def draw_overviews(
    samples: Path,
    tiles: Path,
    patches: Path,
    output: Path,
    *,
    masks: Sequence[Path] = (),
    settings: DrawOverviewsSettings,
) -> None:
    """Draw each slide with its tissue, tiles, patches and flags.

    A slide that failed has no picture.

    Parameters
    ----------
    samples
        Table of slide_id, slide and mpp: ``results/cohort/manifest.tsv`` of a run, or a table of samples.
    tiles
        Table of `ksfusion.stages.tile_slides`.
    patches
        Table of `ksfusion.stages.sample_patches`.
    output
        TSV: slide_id, overview (a PNG beside this file; empty where there is none), sha256 (its digest), reason.
    masks
        The user's masks of tissue, each named after its slide.
    settings
        The settings of reading slides and masks.
    """
    sources, mask_of, rows = slide_sources(samples), {mask.stem: mask for mask in masks}, []
    grids = dict(list(read_parquet(tiles).groupby("slide_id", sort=True)))
    with IsolatedCalls(overview_png, settings.slides.timeout) as draw:
        for slide_id, chosen in read_parquet(patches).groupby("slide_id", sort=True):
            picture, data = output.with_name(f"{slide_id}.png"), b""
            reason = chosen["reason"].iloc[0]
            if not reason:
                of_slide = count_chosen(grids[slide_id], chosen)
                try:
                    data = draw(sources[slide_id], mask_of.get(slide_id), of_slide, settings)
                except SlideError as error:
                    reason = error.reason
                    log.warning("%s\t%s: %s", slide_id, reason, error)
            if data:
                with atomic(picture) as temporary:
                    temporary.write_bytes(data)
            else:
                picture.unlink(missing_ok=True)
            digest = hashlib.sha256(data).hexdigest() if data else ""
            rows.append((slide_id, picture.name if data else "", digest, reason))
    write_tsv(pd.DataFrame(rows, columns=COLUMNS), output, provenance(__name__, settings.record()))
