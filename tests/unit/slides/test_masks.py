"""Masks that a user draws, from what QuPath and LazySlide write down to what is no mask at all."""

import json
import re
import time

import cv2
import numpy as np
import pytest
from drawing import dice
from PIL import Image
from sections import tile
from slide_files import TISSUE, plain, write_slide
from small_cases import shared_case

from ksfusion.core.parquet import read_parquet
from ksfusion.slides import SlideError
from ksfusion.slides.tiles.masks import Frame, read_mask

pytestmark = pytest.mark.slow

# A slide of 3200 x 1600 px at 0.5 um/px has 200 x 100 px at 8 um/px: 16 px a px.
DIMENSIONS, SHAPE = (3200, 1600), (100, 200)
FRAME = Frame(DIMENSIONS, SHAPE, (0, 0, *DIMENSIONS))
# The same within glass that was not scanned: the canvas of 9600 x 8000 px begins 2000 px further left and 4000 px
# further up (125 and 250 px of the raster).
BOUNDS = (2000, 4000, *DIMENSIONS)
CANVAS = Frame((9600, 8000), (500, 600), BOUNDS)
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
    return read_mask(path, FRAME).tissue


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
    assert np.array_equal(read_mask(tmp_path / "s.png", FRAME).tissue, truth())


def test_a_png_of_another_slide_is_refused(tmp_path):
    Image.new("L", (200, 130), 255).save(tmp_path / "s.png")
    with pytest.raises(SlideError, match=r"200 x 130 px have not the proportions"):
        read_mask(tmp_path / "s.png", FRAME)
    (tmp_path / "t.png").write_bytes(b"no image")
    with pytest.raises(SlideError, match=r"t\.png"):
        read_mask(tmp_path / "t.png", FRAME)


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


def moved(rings, x=2000, y=4000):
    """Return rings in px of the whole canvas."""
    return [[[left + x, top + y] for left, top in ring] for ring in rings]


def on_canvas(mask):
    canvas = np.zeros(CANVAS.shape, dtype=bool)
    canvas[250:350, 125:325] = mask
    return canvas


def place(tmp_path, content, found=None, **options):
    path = tmp_path / "s.geojson"
    path.write_text(json.dumps(content))
    return read_mask(path, CANVAS, found=found, **options)


class TestOrigin:
    @pytest.mark.parametrize(
        ("rings", "origin"), [([OUTER, HOLE], "bounds"), (moved([OUTER, HOLE]), "level0")], ids=["bounds", "level0"]
    )
    @pytest.mark.parametrize("told", [True, False])
    def test_is_told_by_where_the_polygons_lie(self, tmp_path, rings, origin, told):
        mask = place(tmp_path, feature("Polygon", rings), origin=origin if told else "auto")
        assert mask.origin == origin
        assert dice(mask.tissue, on_canvas(truth())) > 0.98

    @pytest.mark.parametrize("rings", [[OUTER], moved([OUTER])])
    def test_a_wrong_setting_is_refused(self, tmp_path, rings):
        wrong = "level0" if rings == [OUTER] else "bounds"
        with pytest.raises(
            SlideError, match=r"s\.geojson: (lies|reaches) outside what was scanned, 3200 x 1600 px"
        ) as caught:
            place(tmp_path, feature("Polygon", rings), origin=wrong)
        assert caught.value.reason == "unreadable"

    @pytest.mark.parametrize("x", [0, 5500, 7000])
    def test_one_that_lies_outside_is_refused(self, tmp_path, x):
        square = [[[x, 5000], [x + 2500, 5000], [x + 2500, 7500], [x, 7500]]]
        with pytest.raises(SlideError, match=r"outside what was scanned, 3200 x 1600 px from \(2000, 4000\) on"):
            place(tmp_path, feature("Polygon", square))

    def test_a_generous_outline_of_the_canvas_will_do(self, tmp_path):
        """Drawn round all tissue and a little beyond what was scanned."""
        rings = [[[1500, 3800], [5400, 3800], [5400, 5800], [1500, 5800]]]
        mask = place(tmp_path, feature("Polygon", rings))
        assert mask.origin == "level0" and mask.tissue[250:350, 125:325].all()

    @pytest.mark.parametrize("origin", ["level0", "bounds"])
    def test_where_both_fit_the_tissue_tells(self, tmp_path, origin):
        """What was scanned begins 320 px from the corner only: the square below lies on it by either origin."""
        frame = Frame((3840, 2240), (140, 240), (320, 320, *DIMENSIONS))
        tissue = np.zeros(frame.shape, dtype=bool)
        start = 40 if origin == "level0" else 60
        tissue[start : start + 20, start : start + 20] = True
        square = [[[640, 640], [960, 640], [960, 960], [640, 960]]]
        path = tmp_path / "s.geojson"
        path.write_text(json.dumps(feature("Polygon", square)))
        mask = read_mask(path, frame, found=lambda: tissue)
        assert mask.origin == origin and dice(mask.tissue, tissue) > 0.95

    def test_a_png_of_what_was_scanned(self, tmp_path):
        small = truth().astype(np.uint8) * 255
        Image.fromarray(small).save(tmp_path / "s.png")
        assert np.array_equal(read_mask(tmp_path / "s.png", CANVAS).tissue, on_canvas(truth()))
        Image.fromarray(on_canvas(truth())).save(tmp_path / "s.png")
        mask = read_mask(tmp_path / "s.png", CANVAS)
        assert mask.origin == "level0" and np.array_equal(mask.tissue, on_canvas(truth()))

    def test_the_case(self, tmp_path):
        """Two squares of 1024 px in the scanned part, of 22 tiles each; at level 0 they would be on glass."""
        slide, mask = shared_case("slides/bounds.scn"), shared_case("slides/bounds.geojson")
        tiles = tiles_of(tmp_path, slide, mask)
        assert len(tiles) == 44 and set(tiles["masks_origin"]) == {"bounds"}
        assert tiles["x"].between(2000, 4560).all() and tiles["y"].between(4000, 5792).all()
        alone = tiles_of(tmp_path, slide)
        assert alone[["x", "y"]].equals(tiles[["x", "y"]]) and set(alone["masks_origin"]) == {""}


def tiles_of(tmp_path, slide, mask=None, **changes):
    """Tile a slide, with a mask or without one."""
    (tmp_path / "samples.tsv").write_text(f"sample_id\tslide_id\tslide\tmpp\ns\ts\t{slide}\t\n")
    masks = []
    if mask is not None:
        masks = [tmp_path / f"s{mask.suffix}"]
        masks[0].write_bytes(mask.read_bytes())
    tile(tmp_path / "samples.tsv", tmp_path / "tiles.parquet", masks=masks, **changes)
    return read_parquet(tmp_path / "tiles.parquet")


def classified(name, rings, **properties):
    return {**feature("Polygon", rings), "properties": properties or {"classification": {"name": name}}}


class TestClasses:
    @pytest.mark.parametrize("name", ["Ignore*", "Region*", "Background", "background", "Other: Ignore*"])
    def test_those_that_qupath_leaves_out(self, tmp_path, name):
        path = tmp_path / "s.geojson"
        path.write_text(json.dumps(collection(feature("Polygon", [SECOND]), classified(name, [OUTER]))))
        mask = read_mask(path, FRAME)
        assert dice(mask.tissue, truth(second=True) & ~truth()) > 0.95
        assert len(mask.left_out) == 1

    @pytest.mark.parametrize(
        "properties",
        [
            {"classification": "Background"},
            {"classification": {"names": ["Background"], "color": [1, 2, 3]}},
            {"classification": {"name": "Background", "colorRGB": -3670016}},
        ],
    )
    def test_however_their_names_are_written(self, tmp_path, properties):
        assert not read(tmp_path, classified("", [OUTER], **properties)).any()

    @pytest.mark.parametrize("name", ["Tumor", "Tissue", "Stroma: Immune cells", "No background"])
    def test_others_are_taken(self, tmp_path, name):
        assert read(tmp_path, classified(name, [OUTER])).any()

    @pytest.mark.parametrize("name", ["background", "ignore"])
    def test_the_cases(self, tmp_path, name):
        """Of two squares of 1024 px only the first, at (200, 300), is tissue by the mask."""
        tiles = tiles_of(tmp_path, shared_case("slides/plain.tif"), shared_case(f"slides/{name}.geojson"))
        assert (tiles["x"] < 1224).all() and tiles["y"].between(0, 1324).all() and 16 <= len(tiles) <= 25


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_whatever_mark_the_file_begins_with(tmp_path, encoding):
    path = tmp_path / "s.geojson"
    path.write_bytes(json.dumps(classified("Gr\u00fcn", [OUTER, HOLE])).encode(encoding))
    assert dice(read_mask(path, FRAME).tissue, truth()) > 0.98


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (collection(), "marks no tissue; draw it again"),
        (collection(classified("Ignore*", [SECOND])), r"marks no tissue \(polygons of Ignore\* are left out\)"),
    ],
)
def test_an_empty_mask_is_the_reason(tmp_path, caplog, content, said):
    slide = write_slide(tmp_path / "s.tiff", plain(1792, 896, TISSUE), 0.5)
    (tmp_path / "mine.geojson").write_text(json.dumps(content))
    (row,) = tiles_of(tmp_path, slide, tmp_path / "mine.geojson").to_dict("records")
    assert (row["reason"], row["mask"]) == ("no_tissue", "external")
    assert re.search(rf"s\tno_tissue: mask .*s\.geojson: {said}", caplog.text)


@pytest.mark.parametrize("name", ["s.geojson", "s.png"])
def test_what_is_no_file(tmp_path, name):
    path = tmp_path / name
    for make, said in [(lambda: path.symlink_to("/dev/zero"), "is not a file"), (lambda: None, "is not there")]:
        make()
        with pytest.raises(SlideError, match=said):
            read_mask(path, FRAME)
        path.unlink(missing_ok=True)


def test_polygons_that_overlap_are_one(tmp_path):
    """A tumour within the tissue is no hole in it."""
    content = collection(feature("Polygon", [OUTER]), feature("Polygon", [HOLE]), feature("Polygon", [HOLE]))
    assert dice(read(tmp_path, content), truth(hole=False)) > 0.98


def test_thousands_of_polygons_take_seconds(tmp_path):
    """20,000 circles on a slide of 50 x 40 mm; their area is known."""
    random, angles = np.random.default_rng(0), np.linspace(0, 2 * np.pi, 30, endpoint=False)
    circle = 80 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    columns, rows = np.meshgrid(np.arange(200), np.arange(100))
    centres = np.stack([columns, rows], axis=-1).reshape(-1, 2) * [500, 800] + 250 + random.random((20_000, 2))
    content = collection(*(feature("Polygon", [(centre + circle).round(2).tolist()]) for centre in centres))
    path = tmp_path / "s.geojson"
    path.write_text(json.dumps(content))
    started = time.process_time()
    tissue = read_mask(path, Frame((100_000, 80_000), (5000, 6250), (0, 0, 100_000, 80_000))).tissue
    # About a second; each drawn on a mask of its own, 18.
    assert time.process_time() - started < 8
    # OpenCV counts the px that an outline touches too: a circle of radius 5 px has up to half a px more.
    assert np.pi * 25 < tissue.sum() / 20_000 < np.pi * 5.8**2


def test_a_million_edges_that_cross_are_refused_in_time(tmp_path):
    points = np.random.default_rng(0).integers(0, (3200, 1600), (1_000_000, 2)).tolist()
    path = tmp_path / "s.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [points]}))
    started = time.process_time()
    with pytest.raises(SlideError, match=r"s\.geojson: has an outline that crosses itself, with .* edges side by side"):
        read_mask(path, FRAME)
    assert time.process_time() - started < 30


def test_a_long_outline_that_does_not_cross_is_drawn(tmp_path):
    """A comb of 20,000 teeth has 40,000 long edges, few of them in a row of a mask that is wide enough."""
    x = np.arange(40_000) * 0.07 + 100
    teeth = np.stack([x, np.where(np.arange(40_000) % 2, 200.0, 202.0)], axis=1)
    outline = [*teeth.tolist(), [x[-1], 1400.0], [100.0, 1400.0]]
    assert read(tmp_path, feature("Polygon", [outline])).mean() == pytest.approx(2800 * 1200 / (3200 * 1600), rel=0.02)


def test_drawing_that_takes_too_long_is_cut_off(tmp_path):
    slide = write_slide(tmp_path / "s.tiff", plain(1792, 896, TISSUE), 0.5)
    points = np.random.default_rng(0).integers(0, (1792, 896), (400_000, 2)).tolist()
    (tmp_path / "mine.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [points]}))
    (row,) = tiles_of(tmp_path, slide, tmp_path / "mine.geojson", timeout=0.05).to_dict("records")
    assert row["reason"] == "timeout"
