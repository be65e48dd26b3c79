"""The slides of the demo cohort, and apart from them the truth."""

from __future__ import annotations

from pathlib import Path

from ksfusion.core.storage import write_tsv
from ksfusion.demo.appearance import draw_slides, planted_appearances
from ksfusion.demo.config import DrawDemoSlidesSettings


def draw_demo_slides(output: Path, truth: Path, *, threads: int, settings: DrawDemoSlidesSettings) -> None:
    """Draw slides of the demo.

    Parameters
    ----------
    output
        Folder that gets a pyramidal TIFF for each slide.
    truth
        Gets what was drawn on each slide; no stage of the pipeline reads it.
    threads
        Number of slides drawn at the same time.
    settings
        Which slides; the demo's sample table names them.
    """
    write_tsv(draw_slides(planted_appearances(settings.slides), output, threads=threads), truth)
