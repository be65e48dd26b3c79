"""The stain of each slide of a batch."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.timing import SlideTiming
from ksfusion.slides.config import FitStainSettings
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.reading.workers import IsolatedCalls
from ksfusion.slides.stain.fitting import fit_slide_stain
from ksfusion.slides.stain.profiles import NUMBER_TYPES, columns_of
from ksfusion.slides.stain.target import load_target

log = logging.getLogger(__name__)


def fit_stain(samples: Path, tiles: Path, output: Path, *, settings: FitStainSettings) -> None:
    """Fit the stain of each slide.

    On the tissue of up to 64 of its tiles; a slide whose stain cannot be fitted has status ``fallback`` (see
    `ksfusion.slides.stain.fitting.fit_slide_stain`).

    Parameters
    ----------
    samples
        Table of slide_id, slide and mpp: ``results/cohort/manifest.tsv`` of a run, or a table of samples.
    tiles
        Table of `ksfusion.stages.tile_slides`.
    output
        Parquet: slide_id, status, reason, h_r ... e_b, h_c99, e_c99 (stain vectors and strengths), mean_l ... std_b
        (colours, for Reinhard's method), n_pixels.
    settings
        The settings of reading, the method and the target.
    """
    method, target = settings.stain.method, load_target(settings.stain.target, settings.stain.method)
    sources = slide_sources(samples)
    grid = read_parquet(tiles, columns=["slide_id", "status", "reason", "x", "y", "pen"])
    rows, timing = [], SlideTiming(output)
    with IsolatedCalls(fit_slide_stain, settings.slides.timeout) as fit:
        for slide_id, of_slide in grid.groupby("slide_id", sort=True):
            status, reason, profile = "ok", "", target
            if of_slide["status"].iloc[0] != "ok":
                status, reason = "failed", of_slide["reason"].iloc[0]
            elif method != "none":
                # Ink is no stain of the slide's.
                unmarked = of_slide if of_slide["pen"].all() else of_slide[~of_slide["pen"]]
                corners = unmarked[["x", "y"]].to_numpy()
                try:
                    with timing.of(slide_id):
                        status, reason, profile = fit(sources[slide_id], corners, settings.slides, method, target)
                except SlideError as error:
                    status, reason = "failed", error.reason
                    log.warning("%s\t%s: %s", slide_id, reason, error)
            numbers = {} if status == "failed" else columns_of(profile)
            rows.append({"slide_id": slide_id, "status": status, "reason": reason, **numbers})
    table = pd.DataFrame(rows, columns=["slide_id", "status", "reason", *NUMBER_TYPES]).fillna({"n_pixels": 0})
    write_parquet(table.astype(NUMBER_TYPES), output, provenance(__name__, settings.record()))
