"""Regions drawn by class on slides: the share of each patch in each, worked by hand."""

import json

import numpy as np
import pytest
from slide_files import plain, write_slide

from ksfusion.slides import SlideError
from ksfusion.slides.config import ReadRegionsSettings
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.tiles.regions import region_shares

# Patches of 224 px at 0.5 um are 112 um; a raster of 4 um has 28 px a patch, of which a border takes one.
SETTINGS = ReadRegionsSettings()
COORDS = np.array([[0, 0], [224, 0], [448, 0], [0, 224]])


def feature(name, *corners, **more):
    (left, top), (right, bottom) = corners
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    properties = {"objectType": "annotation", **more}
    if name:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


@pytest.fixture
def shares(tmp_path):
    write_slide(tmp_path / "A.tiff", plain(1120, 896), 0.5)

    def read(*features, as_list=False, coords=COORDS, settings=SETTINGS):
        content = list(features) if as_list else {"type": "FeatureCollection", "features": list(features)}
        (tmp_path / "A.geojson").write_text(json.dumps(content))
        return region_shares(SlideSource(str(tmp_path / "A.tiff"), None), tmp_path / "A.geojson", coords, settings)

    return read


@pytest.mark.parametrize("as_list", [False, True])
def test_each_class_has_its_share_of_each_patch(shares, as_list):
    found = shares(
        feature("Tumor", (0, 0), (336, 224)),  # the first patch, and half of the second
        feature("Tumor", (0, 0), (112, 336)),  # overlaps; half of the fourth in one, half in the other way
        feature("Immune: cells", (448, 0), (672, 112)),
        feature("Stroma*", (0, 0), (1120, 896)),  # QuPath makes no objects of it
        feature("Ignore", (0, 0), (1120, 896)),
        feature("", (224, 0), (448, 224)),
        as_list=as_list,
    )
    assert list(found) == ["Immune: cells", "Tumor", "unclassified"]
    np.testing.assert_allclose(found["Tumor"], [1, 0.5, 0, 0.25], atol=0.06)
    np.testing.assert_allclose(found["Immune: cells"], [0, 0, 0.5, 0], atol=0.04)
    np.testing.assert_allclose(found["unclassified"], [0, 1, 0, 0], atol=0.04)


def test_a_file_without_polygons_has_no_class(shares):
    assert shares() == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "regions .*Expecting"),
        ('{"type": "FeatureCollection", "features": [7]}', "where a Polygon or MultiPolygon is expected"),
        (json.dumps(feature("Tumor", (0, 0), (99999, 224))), "reaches outside the slide of 1120 x 896 px"),
    ],
)
def test_what_are_no_regions_of_the_slide_is_said(shares, tmp_path, content, said):
    shares()
    (tmp_path / "A.geojson").write_text(content)
    with pytest.raises(SlideError, match=said) as raised:
        region_shares(SlideSource(str(tmp_path / "A.tiff"), None), tmp_path / "A.geojson", COORDS, SETTINGS)
    assert raised.value.reason == "unreadable"
