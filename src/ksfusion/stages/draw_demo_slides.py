"""The slides of the demo cohort, and apart from them the truth."""

from __future__ import annotations

from pathlib import Path

from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.demo.appearance import draw_slides, planted_appearances
from ksfusion.demo.config import DrawDemoSlidesSettings


def draw_demo_slides(
    output: Path, truth: Path, tile_truth: Path, *, threads: int, settings: DrawDemoSlidesSettings
) -> None:
    """Draw slides of the demo.

    Parameters
    ----------
    output
        Folder that gets a pyramidal TIFF for each slide.
    truth
        Gets what was drawn on each slide; no stage of the pipeline reads it.
    tile_truth
        Parquet that gets what was drawn on each tile (`ksfusion.demo.truth.tile_truth`); nor does one read this.
    threads
        Number of slides drawn at the same time.
    settings
        Slides to draw; the demo's table of samples names them.
    """
    slides, tiles = draw_slides(planted_appearances(settings.slides), output, threads=threads)
    write_tsv(slides, truth)
    write_parquet(tiles, tile_truth, provenance(__name__, settings.record()))
