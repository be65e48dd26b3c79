"""The features in the files of other tools."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_tsv
from ksfusion.slides.features.export import WRITERS, extracted_slides

log = logging.getLogger(__name__)


def export_features(
    format: Literal["trident", "clam"],
    output: Path,
    *,
    results: Path = Path("results"),
) -> None:
    """Write the features as TRIDENT or CLAM would have, one .h5 a slide.

    Of every slide that came through: unique patches in raster order, single precision.

    Parameters
    ----------
    format
        The tool whose files are written.
    output
        A folder. For TRIDENT it gets ``{slide_id}.h5``, as its folder of patch features; for CLAM
        ``h5_files/{slide_id}.h5`` and ``pt_files/{slide_id}.pt``, as its folder of features.
    results
        A folder of results, with ``features/{batch}.h5`` and ``slides.tsv``.

    Raises
    ------
    UserError
        If there are no features, or they were not extracted here.
    """
    # A hidden file is what a batch keeps for its next run.
    files = sorted((results / "features").glob("[0-9]*.h5"), key=lambda path: int(path.stem))
    ledger = results / "slides.tsv"
    if not files or not ledger.is_file():
        raise UserError(f"{results}: has no features/*.h5 and slides.tsv; run the pipeline first, or give --results")
    slides = read_tsv(ledger, dtype={"slide_id": str}).set_index("slide_id")
    count = 0
    for path in files:
        for slide in extracted_slides(path, slides):
            WRITERS[format](slide, output)
            count += 1
    log.info("%d of %d slides written to %s", count, len(slides), output)
