"""What is said to lie on each tile of a demo slide: against cells, a vessel and areas put there by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from ksfusion.demo.appearance import draw_slides, planted_appearances
from ksfusion.demo.looks import SlideAppearance
from ksfusion.demo.nuclei import paste_cells
from ksfusion.demo.slides import draw_slide
from ksfusion.demo.tissue import TissueMaps
from ksfusion.demo.truth import Drawn, tile_truth
from ksfusion.demo.vessels import Vessel
from ksfusion.slides.tiles.grid import grid_corners

# 2 x 3 tiles of 112 um, and 10 um more than a whole tile to the right and below.
SIZE_UM = (234.0, 346.0)


def maps_of(tissue, necrosis):
    """Return maps at 4 um, given the rectangles (top, bottom, left, right; in um) of tissue and of necrosis."""
    inside = []
    for top, bottom, left, right in (tissue, necrosis):
        mask = np.full((59, 87), -50, np.float32)
        mask[top // 4 : bottom // 4, left // 4 : right // 4] = 50
        inside.append(mask)
    return TissueMaps(SIZE_UM, *inside, np.zeros((59, 87)), np.ones((59, 87), bool))


@pytest.mark.parametrize("mpp", [0.5, 0.25])
def test_cells_a_vessel_and_areas_put_by_hand(mpp):
    cells = {
        # On the two sides of the border between the first two tiles; the third lies beyond the last whole tile.
        "tumour_long": np.array([[111.9, 50], [112.1, 50], [340, 50]]),
        "mitosis": np.array([[10, 120.0]]),
        "lymphocyte": np.array([[230, 223.9], [300, 0], [300, 5], [300, 230]]),
        "neuron": np.array([[20, 20.0], [30, 30], [300, 10]]),
        # Dead cells are no nuclei.
        "ghost": np.array([[20, 20.0]]),
    }
    # A square of 56 x 28 um: an eighth of the second tile of the second row.
    square = Vessel([np.array([[120, 130], [176, 130], [176, 158], [120, 158.0]])], [], thin=False)
    maps = maps_of(tissue=(0, 112, 56, 336), necrosis=(56, 168, 224, 336))
    truth = tile_truth(Drawn(cells, [square], maps), (round(234 / mpp), round(346 / mpp)), mpp)
    step = 112 / mpp
    assert truth["x"].tolist() == [0, step, 2 * step] * 2
    assert truth["y"].tolist() == [0] * 3 + [step] * 3
    assert truth["tumour"].tolist() == [1, 1, 0, 1, 0, 0]
    assert truth["lymphocytes"].tolist() == [0, 0, 2, 0, 0, 1]
    assert truth["nuclei"].tolist() == [3, 1, 3, 1, 0, 1]
    assert truth["tissue"].tolist() == [0.5, 1, 1, 0, 0, 0]
    assert truth["necrosis"].tolist() == [0, 0, 0.5, 0, 0, 0.5]
    # The outline is drawn on pixels of 1 um.
    np.testing.assert_allclose(truth["vessels"], [0, 0, 0, 0, 0.125, 0], atol=0.01)


def test_what_is_counted_is_in_the_pixels():
    """Cells far from one another are as many dark spots as the truth says, tile by tile."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(12, 336, 24.0), np.arange(12, 224, 24.0))
    places = np.stack([x.ravel(), y.ravel()], axis=1)[rng.random(x.size) < 0.6]
    fields = np.zeros((448, 672, 2), np.float32)
    drawn = paste_cells(fields, "lymphocyte", places, 0.5, rng)
    # Those whose stamp would reach over the border are left out.
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, places[((places > 20) & (places < (316, 204))).all(axis=1)]))
    spots, count = ndimage.label(fields[..., 0] > 0.4)
    centres = np.array(ndimage.center_of_mass(fields[..., 0], spots, range(1, count + 1)))
    seen = np.zeros((2, 3), int)
    np.add.at(seen, tuple((centres // 224).astype(int).T), 1)
    maps = TissueMaps((224.0, 336.0), *np.zeros((3, 56, 84)), np.ones((56, 84), bool))
    truth = tile_truth(Drawn({"lymphocyte": drawn}, [], maps), (448, 672), 0.5)
    assert truth["lymphocytes"].tolist() == seen.ravel().tolist()
    assert seen.sum() == len(drawn) > 40


APPEARANCE = SlideAppearance(
    diagnosis="glioblastoma",
    tumour=0.7,
    lymphocytes=0.6,
    vessels=0.6,
    necrosis=0.8,
    site=1,
    width_um=896,
    height_um=784,
    mpp=0.5,
)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return draw_slide(tmp_path_factory.mktemp("slide") / "slide.tiff", APPEARANCE, 3)


def test_the_tiles_add_up_to_the_slide(truth):
    assert len(truth.tiles) == 7 * 8
    assert truth.tiles["tumour"].sum() == truth.n_tumour_nuclei > 500
    assert truth.tiles["lymphocytes"].sum() == truth.n_lymphocytes > 100
    tile_mm2 = 0.112**2
    assert truth.tiles["necrosis"].sum() * tile_mm2 == pytest.approx(truth.necrosis_mm2)
    assert truth.tiles["tissue"].sum() * tile_mm2 == pytest.approx(truth.tissue_mm2)
    assert 0 < truth.tiles["vessels"].max() < 1 and truth.n_vessels > 5


def test_where_there_is_more_of_one_there_is_less_of_another(truth):
    tiles = truth.tiles[truth.tiles["tissue"] > 0.9]
    assert (tiles["tumour"] + tiles["lymphocytes"] <= tiles["nuclei"]).all()
    # At the border of necrosis nuclei stand in a palisade; within it there are none.
    dead, alive = tiles.loc[tiles["necrosis"].idxmax()], tiles[tiles["necrosis"] == 0]
    assert dead["necrosis"] > 0.9 and dead["nuclei"] < alive["nuclei"].median() / 10


def test_the_corners_are_those_of_the_pipeline(truth):
    assert sorted(set(truth.tiles["x"])) == grid_corners(1792, 224.0).tolist()
    assert sorted(set(truth.tiles["y"])) == grid_corners(1568, 224.0).tolist()


def test_a_table_of_all_tiles_of_all_slides(tmp_path):
    shown = planted_appearances(["KG-001-DX1", "KI-001-W1"])
    slides, tiles = draw_slides(shown, tmp_path, threads=2)
    assert slides["slide_id"].tolist() == list(shown) and "tiles" not in slides
    assert tiles.columns.tolist() == [
        "slide_id", "x", "y", "tissue", "nuclei", "tumour", "lymphocytes", "vessels", "necrosis"
    ]  # fmt: skip
    whole = {slide_id: int(look.width_um // 112) * int(look.height_um // 112) for slide_id, look in shown.items()}
    assert tiles.groupby("slide_id").size().to_dict() == whole
    assert not tiles.duplicated(["slide_id", "x", "y"]).any()
    counted = tiles.groupby("slide_id")["tumour"].sum()
    drawn = slides.set_index("slide_id")["n_tumour_nuclei"]
    assert (counted <= drawn).all() and (counted > 0.9 * drawn).all()
    assert isinstance(tiles.index, pd.RangeIndex)
