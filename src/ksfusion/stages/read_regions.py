"""The regions that the user has annotated, brought to the patches of their slides."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.results.attention.slide_picture import read_patches
from ksfusion.results.attention.targets import LEAST_SHARE, PLACE
from ksfusion.slides.config import ReadRegionsSettings
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.reading.workers import IsolatedCalls
from ksfusion.slides.tiles.regions import region_shares

log = logging.getLogger(__name__)

COLUMNS = ["slide_id", "regions", "classes", "patches", "reason"]
# Names of columns that classes meet later, or beginnings of such.
TAKEN = (*PLACE, "sample_id", "case_id", "attention:", "attribution:", "oracle:")


def read_regions(
    samples: Path,
    output: Path,
    *,
    listed: Path,
    regions: Sequence[Path],
    features: Sequence[Path],
    settings: ReadRegionsSettings,
) -> None:
    """Tell which patches lie in the regions that the user has annotated by class.

    A slide whose annotations cannot be read is a row with its reason, and nothing is told of its patches.

    Parameters
    ----------
    samples
        Table of slide_id, slide and mpp: ``results/cohort/manifest.tsv`` of a run, or a table of samples.
    output
        Parquet: slide_id, x, y of each patch of each annotated slide, and a column for each class: whether half of the
        patch at least lies in its polygons.
    listed
        TSV: slide_id, regions (the file), its classes, its patches, and the reason where it cannot be read.
    regions
        The user's GeoJSON files, each named after its slide.
    features
        ``features/{batch}.h5`` of all batches.
    settings
        The settings of reading slides, and where coordinates of annotations start.
    """
    sources, file_of = slide_sources(samples), {path.stem: path for path in regions}
    patches = read_patches(features, set(file_of))
    tables, rows = [], []
    with IsolatedCalls(region_shares, settings.timeout) as read:
        for slide_id, path in sorted(file_of.items()):
            classes: list[str] = []
            n_patches, reason = 0, "" if slide_id in patches else "no_features"
            if not reason:
                coords = patches[slide_id].coords
                try:
                    shares = read(sources[slide_id], path, coords, settings)
                    classes, n_patches = list(shares), len(coords)
                    inside = {_column(name): share >= LEAST_SHARE for name, share in shares.items()}
                    place = {"slide_id": slide_id, "x": coords[:, 0], "y": coords[:, 1]}
                    tables.append(pd.DataFrame(place).join(pd.DataFrame(inside, index=range(n_patches))))
                except SlideError as error:
                    reason = error.reason
                    log.warning("%s\t%s: %s", slide_id, reason, error)
            rows.append((slide_id, path.name, ", ".join(classes), n_patches, reason))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=PLACE)
    names = sorted(set(table) - set(PLACE))
    # A class that a slide does not have is nowhere on it.
    table = table[[*PLACE, *names]].fillna(dict.fromkeys(names, False)).astype(dict.fromkeys(names, bool))
    made_by = provenance(__name__, settings.record())
    write_parquet(table, output, made_by)
    write_tsv(pd.DataFrame(rows, columns=COLUMNS), listed, made_by)


def _column(name: str) -> str:
    """Return the column of a class, which is no other's."""
    return f"class {name}" if name in TAKEN or name.startswith(TAKEN[-3:]) else name
