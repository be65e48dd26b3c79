"""The attention of a run, in files of other programs."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Literal

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_provenance, read_tsv, write_text
from ksfusion.preflight.named_files import MANIFEST
from ksfusion.results.attention.export import bounds_of, feature_collection, long_attention
from ksfusion.slides.config import Reading
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.reading.workers import IsolatedCalls

log = logging.getLogger(__name__)

ATTENTION, LIST = "attention.parquet", "heatmaps.tsv"


def export_attention(
    heatmaps: Path,
    output: Path,
    *,
    format: Literal["geojson", "parquet"],
    results: Path = Path("results"),
) -> None:
    """Write where a model looks on its test slides for QuPath, or as a table.

    Which samples there are is settled by ``heatmaps.samples``.

    Parameters
    ----------
    heatmaps
        Folder of a run's pictures of attention, ``results/heatmaps/{task}/{method}/fold{fold}/seed{seed}``.
    output
        Of ``geojson`` a folder, which gets ``{sample_id}.geojson``: a detection for each patch, with the attention of
        each stream among its measurements, in px of level 0 from where the scan starts, as QuPath counts them. Of
        ``parquet`` a file: sample_id, slide_id, x, y, stream, attention, a row for each patch and stream, in px of
        level 0.
    format
        The kind of files.
    results
        A folder of results, with ``slides.tsv`` and ``cohort/manifest.tsv``.

    Raises
    ------
    UserError
        If there is no attention, or for ``geojson`` its slides were not read here.
    """
    if not (heatmaps / ATTENTION).is_file():
        raise UserError(f"{heatmaps}: has no {ATTENTION}; name the folder of a run below results/heatmaps")
    table, made_by = read_parquet(heatmaps / ATTENTION), read_provenance(heatmaps / ATTENTION)
    slide_of = read_tsv(heatmaps / LIST, dtype=str).set_index("sample_id")["slide_id"].to_dict()
    if format == "parquet":
        write_parquet(long_attention(table, slide_of), output, provenance(__name__, {"of": made_by}))
        return
    if made_by["settings"].get("slides") is None:
        raise UserError(f"{heatmaps}: its slides were not read here, so that the size of a patch is not known")
    reading = Reading.model_validate(made_by["settings"]["slides"])
    ledger = read_tsv(results / "slides.tsv", dtype={"slide_id": str}).set_index("slide_id")
    sources = slide_sources(results / MANIFEST.relative_to("results"))
    with IsolatedCalls(bounds_of, reading.timeout) as bounds:
        for sample_id, patches in table.groupby("sample_id", sort=False):
            slide_id = slide_of[str(sample_id)]
            corner, source = (0, 0), sources[slide_id]
            try:
                corner = bounds(source.path, source.mpp, reading)[:2]
            except SlideError as error:
                log.warning("%s\t%s: %s; coordinates start at level-0 (0, 0)", slide_id, error.reason, error)
            side = reading.patch_px * reading.mpp / float(ledger.loc[slide_id, "mpp"])
            collection = feature_collection(patches, side=side, corner=corner)
            write_text(json.dumps(collection, allow_nan=False), output / f"{sample_id}.geojson")
    log.info("%d samples written to %s", table["sample_id"].nunique(), output)
