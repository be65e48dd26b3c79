"""Attention on patches for other programs: GeoJSON as QuPath imports it, and a long table."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.results.attention.maps import WHOLE
from ksfusion.slides.config import Reading
from ksfusion.slides.reading.slide import open_slide

PLACE = ["sample_id", "x", "y", "cells"]
LONG_COLUMNS = ["sample_id", "slide_id", "x", "y", "stream", "attention"]
# What a patch is classified as: the stream that reads it most, of an even share; and QuPath's colour of it.
CLASSES = {
    "tumour": ("Tumour stream", (213, 94, 0)),
    "tme": ("TME stream", (0, 114, 178)),
    WHOLE: ("Attention", (0, 158, 115)),
}
# Of QuPath's own export.
DECIMALS = 2


def streams_of(table: pd.DataFrame) -> list[str]:
    """Return the streams whose attention a table of `ksfusion.stages.draw_heatmaps` has."""
    return [name for name in table if name not in PLACE]


def long_attention(table: pd.DataFrame, slide_of: Mapping[str, str]) -> pd.DataFrame:
    """Return a row for each patch and stream: `LONG_COLUMNS`; the attention of a slide's patches sums to one.

    Parameters
    ----------
    table
        ``attention.parquet`` of a run.
    slide_of
        sample_id to slide_id.
    """
    long = table.melt(id_vars=PLACE, var_name="stream", value_name="attention")
    return long.assign(slide_id=long["sample_id"].map(dict(slide_of)))[LONG_COLUMNS]


def bounds_of(path: str, mpp: float | None, reading: Reading) -> tuple[int, int, int, int]:
    """Return left, top, width and height of what was scanned, in px of level 0; runs in a worker process."""
    with open_slide(path, mpp, reader=reading.reader, icc=reading.icc) as slide:
        return slide.bounds


def feature_collection(patches: pd.DataFrame, *, side: float, corner: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """Return the patches of a sample as a GeoJSON FeatureCollection of QuPath's detections.

    Parameters
    ----------
    patches
        Rows of ``attention.parquet`` of one sample.
    side
        Side of a patch, in px of level 0.
    corner
        Left and top of where coordinates start, in px of level 0: QuPath's start where the scan does.

    Returns
    -------
    dict
        One detection for each patch, with the attention of each stream among its measurements: as a share of the
        slide's, and times an even share. What is not finite is left out.
    """
    streams = streams_of(patches)
    even = patches["cells"].to_numpy(float) / patches["cells"].sum()
    shares = patches[streams].to_numpy(float)
    relative = shares / even[:, None]
    places = patches[["x", "y"]].to_numpy(float) - np.array(corner)
    sample_id = str(patches["sample_id"].iloc[0]) if len(patches) else ""
    features = [
        _detection(
            str(uuid.uuid5(uuid.NAMESPACE_URL, f"ksfusion:{sample_id}:{row.x}:{row.y}")),
            places[number],
            side,
            streams[int(np.nan_to_num(relative[number], nan=-1).argmax())],
            _measurements(streams, shares[number], relative[number]),
        )
        for number, row in enumerate(patches.itertuples())
    ]
    return {"type": "FeatureCollection", "features": features}


def _measurements(streams: Sequence[str], shares: np.ndarray, relative: np.ndarray) -> dict[str, float]:
    named = {
        f"{CLASSES.get(stream, (stream,))[0]}: {what}": float(value)
        for stream, share, times in zip(streams, shares, relative, strict=True)
        for what, value in (("attention", share), ("times an even share", times))
    }
    return {name: value for name, value in named.items() if np.isfinite(value)}


def _detection(
    number: str, place: np.ndarray, side: float, stream: str, measurements: dict[str, float]
) -> dict[str, Any]:
    left, top, right, bottom = (round(float(value), DECIMALS) for value in (*place, *(place + side)))
    name, colour = CLASSES.get(stream, (stream, (100, 100, 100)))
    return {
        "type": "Feature",
        "id": number,
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]],
        },
        "properties": {
            "objectType": "detection",
            "classification": {"name": name, "color": list(colour)},
            "measurements": measurements,
        },
    }
