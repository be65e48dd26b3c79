"""Attention for QuPath and as a table, read back by QuPath's own rules of import.

These rules (of its type adapters for PathObject, ROI and MeasurementList): a FeatureCollection, or a list, of features;
an id that is a UUID; a geometry of x and y in px of the image; properties.objectType, of which "detection" makes a
detection; a classification with a name and a colour of three numbers, 0 to 255; measurements as an object of numbers.
"""

import json
import uuid

import numpy as np
import pandas as pd
import pytest
from slide_files import plain, write_slide

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.results.attention.export import feature_collection, long_attention
from ksfusion.stages.export_attention import export_attention

TABLE = pd.DataFrame(
    {
        "sample_id": ["S1", "S1", "S1", "S2"],
        "x": [0, 448, 896, 0],
        "y": [0, 0, 448, 0],
        "cells": [2, 1, 1, 4],
        "tumour": [0.2, 0.7, 0.1, 1.0],
        "tme": [0.6, 0.2, 0.2, 1.0],
    }
)


def as_qupath_reads(text: str) -> list[dict]:
    """Return the objects that QuPath makes of a file, or fail where it would."""
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["type"] == "FeatureCollection"
    found = []
    for feature in content["features"]:
        assert feature["type"] == "Feature"
        geometry, properties = feature["geometry"], feature["properties"]
        assert geometry["type"] == "Polygon"
        (ring,) = geometry["coordinates"]
        # JTS makes a ring of a closed line of four points at least.
        assert len(ring) >= 4 and ring[0] == ring[-1]
        points = np.array(ring, dtype=float)
        assert points.shape[1] == 2 and np.isfinite(points).all()
        colour = properties["classification"]["color"]
        assert len(colour) == 3 and all(isinstance(part, int) and 0 <= part <= 255 for part in colour)
        measured = properties["measurements"]
        assert all(isinstance(value, float) for value in measured.values())
        found.append(
            {
                "id": uuid.UUID(feature["id"]),
                "type": properties["objectType"],
                "class": properties["classification"]["name"],
                "bounds": (*points.min(axis=0), *points.max(axis=0)),
                "measured": measured,
            }
        )
    assert len({one["id"] for one in found}) == len(found)
    return found


def test_each_patch_is_a_detection_with_the_attention_of_each_stream():
    one = TABLE[TABLE["sample_id"] == "S1"]
    found = as_qupath_reads(json.dumps(feature_collection(one, side=447.75, corner=(100, 40))))
    assert [each["type"] for each in found] == ["detection"] * 3
    assert found[1]["bounds"] == pytest.approx((348, -40, 795.75, 407.75))
    # Of even shares of 1/2, 1/4 and 1/4.
    assert found[0]["measured"] == pytest.approx(
        {
            "Tumour stream: attention": 0.2,
            "Tumour stream: times an even share": 0.4,
            "TME stream: attention": 0.6,
            "TME stream: times an even share": 1.2,
        }
    )
    assert [each["class"] for each in found] == ["TME stream", "Tumour stream", "TME stream"]
    again = as_qupath_reads(json.dumps(feature_collection(one, side=447.75, corner=(100, 40))))
    assert [each["id"] for each in again] == [each["id"] for each in found]


def test_what_is_not_finite_is_left_out():
    one = TABLE[TABLE["sample_id"] == "S1"].assign(tumour=np.nan)
    found = as_qupath_reads(json.dumps(feature_collection(one, side=1.0), allow_nan=False))
    assert list(found[0]["measured"]) == ["TME stream: attention", "TME stream: times an even share"]
    alone = TABLE[["sample_id", "x", "y", "cells"]].iloc[:2].assign(attention=[0.5, 0.5])
    assert {each["class"] for each in as_qupath_reads(json.dumps(feature_collection(alone, side=1.0)))} == {"Attention"}


def test_the_long_table_by_hand():
    long = long_attention(TABLE, {"S1": "A", "S2": "B"}).set_index(["slide_id", "stream", "x", "y"])["attention"]
    assert long["A", "tme", 896, 448] == 0.2 and long["B", "tumour", 0, 0] == 1.0 and len(long) == 8
    assert long.groupby(level=["slide_id", "stream"]).sum().tolist() == pytest.approx([1.0] * 4)


@pytest.fixture
def results(tmp_path):
    """Return a folder of results with the attention of two samples, of whose slides one is there."""
    heatmaps = tmp_path / "results/heatmaps/grading/ksfusion/fold0/seed0"
    heatmaps.mkdir(parents=True)
    reading = {"reader": "auto", "mpp": 0.5, "patch_px": 224, "max_upsampling": 1.1, "icc": "none", "timeout": 60}
    write_parquet(TABLE, heatmaps / "attention.parquet", {"stage": "s", "code": "c", "settings": {"slides": reading}})
    (heatmaps / "heatmaps.tsv").write_text("sample_id\tslide_id\nS1\tA\nS2\tB\n")
    (tmp_path / "results/cohort").mkdir()
    write_slide(tmp_path / "A.tiff", plain(1400, 1000), 0.25)
    (tmp_path / "results/cohort/manifest.tsv").write_text(
        f"slide_id\tslide\tmpp\nA\t{tmp_path}/A.tiff\t\nB\tgone.tiff\t\n"
    )
    (tmp_path / "results/slides.tsv").write_text("slide_id\tmpp\nA\t0.25\nB\t0.5\n")
    return tmp_path / "results"


def test_the_verb_writes_a_file_for_each_sample(results, tmp_path, caplog):
    heatmaps = results / "heatmaps/grading/ksfusion/fold0/seed0"
    export_attention(heatmaps, tmp_path / "out", format="geojson", results=results)
    first, second = (as_qupath_reads((tmp_path / f"out/{name}.geojson").read_text()) for name in ("S1", "S2"))
    # Patches of 112 um: 448 px of 0.25 um, 224 of 0.5 um.
    assert first[2]["bounds"] == (896, 448, 1344, 896) and second[0]["bounds"] == (0, 0, 224, 224)
    assert "B\tmissing_file" in caplog.text
    export_attention(heatmaps, tmp_path / "all.parquet", format="parquet", results=results)
    assert list(read_parquet(tmp_path / "all.parquet")) == ["sample_id", "slide_id", "x", "y", "stream", "attention"]


def test_a_folder_without_attention_is_a_line(results, tmp_path):
    with pytest.raises(UserError, match=r"has no attention\.parquet; name the folder of a run"):
        export_attention(results, tmp_path / "out", format="geojson", results=results)
    heatmaps = results / "heatmaps/grading/ksfusion/fold0/seed0"
    write_parquet(TABLE, heatmaps / "attention.parquet", {"stage": "s", "code": "c", "settings": {"slides": None}})
    with pytest.raises(UserError, match="size of a patch is not known"):
        export_attention(heatmaps, tmp_path / "out", format="geojson", results=results)
