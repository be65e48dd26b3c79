"""Masks that a user draws, from what QuPath and LazySlide write down to what is no mask at all."""

import json

import cv2
import numpy as np
import pytest
from drawing import dice
from PIL import Image
from sections import tile
from slide_files import TISSUE, plain, write_slide

from ksfusion.core.storage import read_parquet
from ksfusion.slides import SlideError
from ksfusion.slides.tiles.masks import read_mask

# A slide of 3200 x 1600 px at 0.5 um/px has 200 x 100 px at 8 um/px: 16 px a px.
DIMENSIONS, SHAPE = (3200, 1600), (100, 200)
OUTER = [[320, 160], [2880, 160], [2880, 1440], [320, 1440], [320, 160]]
HOLE = [[800, 480], [800, 960], [1600, 960], [1600, 480], [800, 480]]
SECOND = [[0, 0], [160, 0], [160, 1600], [0, 1600], [0, 0]]


def truth(*, hole=True, second=False):
    """Return the rectangles above, worked by hand."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[10:90, 20:180] = True
    mask[30:60, 50:100] &= not hole
    mask[:, :10] |= second
    return mask


def feature(kind, coordinates):
    # QuPath's features have an id and a classification, LazySlide's a tissue_id; neither says what is tissue.
    properties = {"objectType": "annotation", "classification": {"name": "Tissue", "color": [200, 0, 0]}}
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": "0a1b", "geometry": geometry, "properties": properties}


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


def read(tmp_path, content):
    path = tmp_path / "s.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_mask(path, DIMENSIONS, SHAPE)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (collection(feature("Polygon", [OUTER])), truth(hole=False)),
        (collection(feature("Polygon", [OUTER, HOLE])), truth()),
        (collection(feature("Polygon", [OUTER, HOLE]), feature("Polygon", [SECOND])), truth(second=True)),
        (collection(feature("MultiPolygon", [[OUTER, HOLE], [SECOND]])), truth(second=True)),
        ([feature("Polygon", [OUTER, HOLE])], truth()),
        (feature("Polygon", [OUTER, HOLE]), truth()),
        (
            {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [OUTER]}]},
            truth(hole=False),
        ),
        (collection(), np.zeros(SHAPE, dtype=bool)),
    ],
)
def test_geojson(tmp_path, content, expected):
    mask = read(tmp_path, content)
    # Along an edge a px may count or not.
    changed = mask ^ expected
    assert changed.sum() <= 0.5 * (2 * (160 + 80) + 2 * (50 + 30) + 2 * (10 + 100))
    assert not cv2.erode(changed.astype(np.uint8), np.ones((2, 2))).any()
    if expected.any():
        assert dice(mask, expected) > 0.98


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1' + "0" * 400 + ", 0], [5, 5]]]}", "too large"),
        ("{", "correct or remove it"),
        ("[" * 100_000, "correct or remove it"),
        ('"tissue"', "holds str"),
        (collection(feature("LineString", OUTER)), "LineString"),
        (collection(feature("Polygon", [OUTER[:2]])), "three points"),
        (collection(feature("Polygon", [[["a", 1], [2, 3], [4, 5]]])), "could not convert"),
        (collection(feature("Polygon", [[[1, 2], [3], [4, 5]]])), "correct or remove it"),
        (collection(feature("Polygon", 7)), "correct or remove it"),
        (collection(feature("Polygon", [[[0, 0], [9000, 0], [0, 9000]]])), "outside the slide of 3200 x 1600 px"),
        ({"type": "FeatureCollection"}, "has no 'features'"),
        ({"type": "Feature", "geometry": None}, "holds NoneType"),
    ],
)
def test_a_broken_geojson_is_named(tmp_path, content, message):
    with pytest.raises(SlideError, match=message) as caught:
        read(tmp_path, content)
    assert caught.value.reason == "unreadable"
    assert "s.geojson" in str(caught.value)


@pytest.mark.parametrize("scale", [0.5, 1, 4])
@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "RGB", "RGBA"])
def test_png_of_any_scale_and_kind(tmp_path, scale, mode):
    small = cv2.resize(truth().astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    image = Image.fromarray(small.astype(np.uint16) if mode == "I;16" else small * 255)
    if mode == "P":
        image = Image.fromarray(small, mode="L").convert("P")
    elif mode not in ("L", "I;16"):
        image = image.convert(mode)
    image.save(tmp_path / "s.png")
    assert np.array_equal(read_mask(tmp_path / "s.png", DIMENSIONS, SHAPE), truth())


def test_a_png_of_another_slide_is_refused(tmp_path):
    Image.new("L", (200, 130), 255).save(tmp_path / "s.png")
    with pytest.raises(SlideError, match=r"200 x 130 px have not the proportions"):
        read_mask(tmp_path / "s.png", DIMENSIONS, SHAPE)
    (tmp_path / "t.png").write_bytes(b"no image")
    with pytest.raises(SlideError, match=r"t\.png"):
        read_mask(tmp_path / "t.png", DIMENSIONS, SHAPE)


def test_a_batch_takes_the_masks_that_are_there(tmp_path, caplog):
    """Of three like slides one has a mask of its left half, one a broken mask, one none."""
    masks = tmp_path / "masks"
    masks.mkdir()
    rows = ["sample_id\tslide_id\tslide\tmpp"]
    for name in ("broken", "drawn", "found"):
        path = write_slide(tmp_path / f"{name}.tiff", plain(1792, 896, TISSUE), 0.5)
        rows.append(f"{name}\t{name}\t{path}\t")
    (tmp_path / "samples.tsv").write_text("\n".join(rows) + "\n")
    Image.fromarray(np.repeat([[255, 0]], 14, axis=1).repeat(14, axis=0).astype(np.uint8)).save(masks / "drawn.png")
    (masks / "broken.geojson").write_text("{}")
    files = [masks / "broken.geojson", masks / "drawn.png"]
    tile(tmp_path / "samples.tsv", tmp_path / "tiles.parquet", masks=files)
    table = read_parquet(tmp_path / "tiles.parquet")
    slides = table.groupby("slide_id")[["mask", "reason"]].first()
    assert slides["mask"].to_dict() == {"broken": "external", "drawn": "external", "found": "automatic"}
    assert slides["reason"].to_dict() == {"broken": "unreadable", "drawn": "", "found": ""}
    assert table["slide_id"].value_counts()[["drawn", "found"]].tolist() == [16, 32]
    assert (table.loc[table["slide_id"] == "drawn", "x"] < 896).all()
    assert "broken.geojson" in caplog.text
