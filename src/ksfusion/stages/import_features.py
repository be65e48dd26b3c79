"""The features of the patches of a batch of slides, from the files of another tool."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from ksfusion.core.atomic import atomic
from ksfusion.core.features_file import FeaturesWriter
from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.slides.config import ImportFeaturesSettings
from ksfusion.slides.features.precomputed import read_features
from ksfusion.slides.features.vectors import read_vector
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import VECTORS, features_file
from ksfusion.slides.reading.workers import IsolatedCalls

log = logging.getLogger(__name__)


def import_features(tiles: Path, patches: Path, output: Path, *, settings: ImportFeaturesSettings) -> None:
    """Take the features of a batch's patches from the files of another tool.

    Parameters
    ----------
    tiles
        Table of `ksfusion.stages.import_tiles`.
    patches
        Table of `ksfusion.stages.sample_patches`.
    output
        The file of `ksfusion.stages.extract_features`; an attribute ``unit`` has the unit of ``coords``.
    settings
        The folder of the files, and the seconds that a slide may take.
    """
    folder, source = settings.features.path or "", settings.features.source
    mpp = read_parquet(tiles, columns=["slide_id", "mpp"]).drop_duplicates("slide_id").set_index("slide_id")["mpp"]
    made_by = provenance(__name__, {"features": settings.features.record()})
    reading = IsolatedCalls(read_vector if source == VECTORS else read_features, settings.timeout)
    with reading as read, atomic(output) as temporary, FeaturesWriter(temporary, made_by) as file:
        for slide_id, rows in read_parquet(patches).groupby("slide_id", sort=True):
            reason, arrays, of_arrays = rows["reason"].iloc[0], {}, {}
            if not reason:
                chosen, first, index = np.unique(rows["tile"].to_numpy(), return_index=True, return_inverse=True)
                try:
                    path = features_file(folder, slide_id, source)
                    values, unit = (read(path)[None], "px") if source == VECTORS else read(path, chosen)
                    coords = rows[["x", "y"]].to_numpy(np.int32)[first]
                    arrays = {"features": values, "coords": coords, "index": index.astype(np.int32)}
                    of_arrays = {"unit": unit}
                except SlideError as error:
                    reason = error.reason
                    log.warning("%s\t%s: %s", slide_id, reason, error)
            attributes = {"status": "failed" if reason else "ok", "reason": reason, "mpp": float(mpp[slide_id])}
            file.write(slide_id, {**of_arrays, **attributes}, arrays)
