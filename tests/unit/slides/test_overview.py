"""The picture of a slide shows what was found and chosen, where it is."""

import hashlib
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sections import SETTINGS, sample, tile
from slide_files import GLASS, TISSUE, plain, write_slide

from ksfusion.core.storage import read_tsv
from ksfusion.slides import open_slide
from ksfusion.slides.config import DrawOverviewsSettings, Reading
from ksfusion.slides.tiles.overview import CHOSEN, CONTOUR, FLAG_COLOURS, draw_overview
from ksfusion.stages.draw_overviews import draw_overviews

READING = Reading.of(SETTINGS)


def near(image, x, y, colour, radius=3, tolerance=60):
    """Return whether a colour is seen close to a place."""
    part = image[y - radius : y + radius + 1, x - radius : x + radius + 1].astype(int)
    return bool((np.abs(part - colour).max(axis=2) <= tolerance).any())


def test_contour_dots_and_flags_lie_where_they_belong(tmp_path):
    """A slide of 2240 x 1120 px at 0.5 um/px, tissue from its middle on: shown at half its size, 1120 x 560 px."""
    rgb = plain(2240, 1120, GLASS)
    rgb[:, 1120:] = TISSUE
    tiles = pd.DataFrame({"x": [1120, 1344, 1568], "y": 224, "pen": False, "fold": [False, True, False]})
    tiles = tiles.assign(blur=[False, False, True], chosen=[2, 0, 1])
    tissue = np.zeros((70, 140), dtype=bool)
    tissue[:, 70:] = True
    with open_slide(write_slide(tmp_path / "a.tiff", rgb, 0.5)) as slide:
        picture = draw_overview(slide, tissue, tiles, tile_um=112, title="a slide")
    image = np.asarray(picture)
    # 1200 px are the longest side, so that a px is 1120 / 1200 um; margins come on top.
    scale, left, top = 1200 / 2240, 16, 46
    assert picture.size == (1200 + 32, 600 + 48 + 90)

    def at(x, y):
        return round(x * scale) + left, round(y * scale) + top

    assert near(image, *at(1120, 900), CONTOUR, radius=8)
    assert not near(image, *at(700, 900), CONTOUR, radius=8)
    for number, colour in [(0, CHOSEN), (2, CHOSEN)]:
        assert near(image, *at(1120 + 224 * number + 112, 336), colour)
    assert not near(image, *at(1344 + 112, 336), CHOSEN)
    for x, flag in [(1344, "fold"), (1568, "blur")]:
        assert near(image, *at(x + 5, 336), FLAG_COLOURS[flag])
    assert not near(image, *at(1120 + 5, 336), FLAG_COLOURS["fold"], tolerance=40)


@pytest.mark.slow
def test_a_batch_has_a_picture_of_each_good_slide(tmp_path):
    good, glass = plain(1200, 900), plain(900, 900, GLASS)
    paths = {"glass": write_slide(tmp_path / "g.tiff", glass, 0.5), "good": write_slide(tmp_path / "a.tiff", good, 0.5)}
    rows = [f"{name}\t{name}\t{path}\t" for name, path in (paths | {"lost": ""}).items()]
    (tmp_path / "samples.tsv").write_text("\n".join(["sample_id\tslide_id\tslide\tmpp", *rows]) + "\n")
    files = [tmp_path / name for name in ("samples.tsv", "tiles.parquet", "patches.parquet")]
    tile(*files[:2])
    sample(*files[1:])
    output = tmp_path / "slides" / "0.tsv"
    output.parent.mkdir()
    (output.parent / "glass.png").write_bytes(b"of an earlier run")
    draw_overviews(*files, output, settings=DrawOverviewsSettings(slides=READING))
    table = read_tsv(output).set_index("slide_id")
    assert table["reason"].fillna("").to_dict() == {"glass": "no_tissue", "good": "", "lost": "missing_file"}
    assert table["overview"].fillna("").to_dict() == {"glass": "", "good": "good.png", "lost": ""}
    assert not (output.parent / "glass.png").exists()
    data = (output.parent / "good.png").read_bytes()
    assert table.loc["good", "sha256"] == hashlib.sha256(data).hexdigest()
    assert Image.open(io.BytesIO(data)).size[0] > 1200
    first = output.read_bytes(), data
    draw_overviews(*files, output, settings=DrawOverviewsSettings(slides=READING))
    assert (output.read_bytes(), (output.parent / "good.png").read_bytes()) == first


@pytest.mark.parametrize("timeout", [0.001])
def test_a_slide_that_takes_too_long_has_none(tmp_path, timeout):
    path = write_slide(tmp_path / "a.tiff", plain(900, 900), 0.5)
    (tmp_path / "samples.tsv").write_text(f"sample_id\tslide_id\tslide\tmpp\ns\ta\t{path}\t\n")
    files = [tmp_path / name for name in ("samples.tsv", "tiles.parquet", "patches.parquet")]
    tile(*files[:2])
    sample(*files[1:])
    hurried = DrawOverviewsSettings(slides=READING.model_copy(update={"timeout": timeout}))
    draw_overviews(*files, tmp_path / "0.tsv", settings=hurried)
    assert read_tsv(tmp_path / "0.tsv")[["slide_id", "reason"]].to_numpy().tolist() == [["a", "timeout"]]
    assert not (tmp_path / "a.png").exists()
