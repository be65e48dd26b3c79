"""Pen marks, folds and blur that were drawn, and none where there are none."""

import cv2
import numpy as np
import pytest
from drawing import INKS, ellipse, optical_density, share_per_tile, slide_of, stroke
from slide_files import plain, real_file, write_slide

from ksfusion.demo.looks import SlideAppearance
from ksfusion.demo.pyramid import write_pyramid
from ksfusion.demo.slides import draw_slide
from ksfusion.slides import open_slide, tile_grid
from ksfusion.slides.tiles.quality import flag_tiles
from ksfusion.slides.tiles.tissue import glass_colour
from ksfusion.terms.flags import FLAGS

TILE_UM = 112
REGIONS = ["TCGA-06-0174_gbm_roi_0.5mpp.png", "TCGA-HT-7470_lgg_roi_0.5mpp.png"]


def flagged(path, mpp=None):
    """Return the tiles of a slide with their flags."""
    with open_slide(path, mpp) as slide:
        tiles = tile_grid(slide, min_tiles=1)
        return tiles.assign(**flag_tiles(slide, tiles, glass_colour(slide.thumbnail(8.0))))


@pytest.fixture(scope="module")
def demo_slides(tmp_path_factory):
    """Draw the demo's kinds of slide, sharp and clean: name to pixels, at 0.5 um/px."""
    slides = {}
    for number, diagnosis in enumerate(["glioblastoma", "astrocytoma", "oligodendroglioma"]):
        appearance = SlideAppearance(diagnosis, 0.6, 0.5, 0.4, 0.4, number, 1500, 1400, 0.5)
        path = tmp_path_factory.mktemp("demo") / f"{diagnosis}.tiff"
        draw_slide(path, appearance, number)
        slides[diagnosis] = path
    return slides


def pixels_of(path):
    with open_slide(path) as slide:
        return slide.thumbnail(slide.mpp)


class TestClean:
    def test_drawn_slides_have_no_flags(self, demo_slides):
        tiles = [flagged(path) for path in demo_slides.values()]
        assert sum(map(len, tiles)) > 250
        for name in FLAGS:
            assert sum(table[name].sum() for table in tiles) <= 2, name

    @pytest.mark.parametrize("name", REGIONS)
    def test_real_glioma_has_no_flags(self, name):
        tiles = flagged(real_file(name), 0.5)
        assert len(tiles) == 16
        assert not tiles[list(FLAGS)].any(axis=None)

    def test_a_real_slide_is_sharp_and_marked_where_its_margin_is_inked(self):
        tiles = flagged(real_file("cmu-1-small-region.svs"))
        assert len(tiles) > 40
        assert not tiles["blur"].any()
        assert not tiles.loc[tiles["x"] < 1200, "pen"].any()


class TestBlur:
    @pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
    def test_drawn_blur(self, tmp_path, demo_slides, mpp):
        """The left half out of focus by 5 um: flagged at 2 um/px (levels 0.5, 2) and at 4 um/px (levels 1, 4)."""
        rgb = pixels_of(demo_slides["glioblastoma"])
        rgb[:, : rgb.shape[1] // 2] = cv2.GaussianBlur(rgb, (0, 0), 5 / 0.5)[:, : rgb.shape[1] // 2]
        rgb = cv2.resize(rgb, None, fx=0.5 / mpp, fy=0.5 / mpp, interpolation=cv2.INTER_AREA)
        write_pyramid(tmp_path / "a.tiff", rgb, mpp)
        with open_slide(tmp_path / "a.tiff") as slide:
            tiles = tile_grid(slide, min_tiles=1, max_upsampling=2)
            blur = flag_tiles(slide, tiles, glass_colour(slide.thumbnail(8.0)))["blur"]
        middle = rgb.shape[1] / 2
        inside, outside = tiles["x"] + TILE_UM / mpp <= middle, tiles["x"] >= middle
        assert inside.sum() > 30 and outside.sum() > 30
        assert blur[inside].mean() >= 0.95
        assert blur[outside].mean() <= 0.02

    @pytest.mark.parametrize("name", REGIONS)
    @pytest.mark.parametrize("sigma_um", [2.5, 4, 8])
    def test_blurred_real_glioma(self, tmp_path, name, sigma_um):
        with open_slide(real_file(name), 0.5) as slide:
            rgb = slide.thumbnail(0.5)
        tiles = flagged(write_slide(tmp_path / "a.tiff", cv2.GaussianBlur(rgb, (0, 0), sigma_um / 0.5), 0.5))
        assert tiles["blur"].mean() >= 0.95

    @pytest.mark.slow
    def test_pale_and_dense_tissue_are_equally_sharp(self, tmp_path):
        for strength in (0.4, 1.0, 1.6):
            shape = (1400, 1400)
            rgb = slide_of(np.ones(shape, dtype=bool), optical_density(shape, 1.0, strength))
            tiles = flagged(write_slide(tmp_path / f"{strength}.tiff", rgb, 0.5))
            assert not tiles["blur"].any()


class TestPen:
    @pytest.mark.parametrize("colour", INKS)
    def test_drawn_strokes(self, tmp_path, demo_slides, colour):
        rgb = pixels_of(demo_slides["astrocytoma"])
        mark = stroke(rgb, [(0.05, 0.1), (0.5, 0.35), (0.4, 0.8), (0.95, 0.5)], 60, INKS[colour])
        write_pyramid(tmp_path / "a.tiff", rgb, 0.5)
        tiles = flagged(tmp_path / "a.tiff")
        share = share_per_tile(mark, tiles["x"], tiles["y"], 224)
        assert (share > 0.1).sum() > 10
        assert tiles.loc[share > 0.1, "pen"].mean() >= 0.95
        assert tiles.loc[share == 0, "pen"].mean() <= 0.02

    def test_translucent_ink_over_tissue(self, tmp_path, demo_slides):
        """A felt pen lets half of the light through; what it takes adds to what the tissue takes."""
        rgb = pixels_of(demo_slides["astrocytoma"])
        mark = stroke(rgb.copy(), [(0.1, 0.2), (0.9, 0.7)], 160, INKS["green"])
        ink = np.where(mark[..., None], np.array([70, 215, 120]) / 255, 1.0)
        write_pyramid(tmp_path / "a.tiff", np.rint(rgb * ink).astype(np.uint8), 0.5)
        tiles = flagged(tmp_path / "a.tiff")
        share = share_per_tile(mark, tiles["x"], tiles["y"], 224)
        assert tiles.loc[share > 0.2, "pen"].mean() >= 0.9
        assert tiles.loc[share == 0, "pen"].mean() <= 0.02


class TestFold:
    @pytest.mark.slow
    @pytest.mark.parametrize("width_um", [60, 200])
    def test_drawn_folds(self, tmp_path, demo_slides, width_um):
        """Along a band the tissue 150 um further on lies on top: its light passes both layers."""
        hits, folded, false, flat = 0, 0, 0, 0
        for name, path in demo_slides.items():
            rgb = pixels_of(path)
            band = stroke(rgb.copy(), [(0.3, 0.0), (0.45, 0.5), (0.4, 0.9)], round(width_um / 0.5), (0, 0, 0))
            glass = glass_colour(rgb[::8, ::8])
            doubled = rgb * (np.roll(rgb, 300, axis=1) / glass.astype(np.float32))
            doubled = np.where(band[..., None], doubled, rgb).clip(0, 255).astype(np.uint8)
            write_pyramid(tmp_path / f"{name}.tiff", doubled, 0.5)
            tiles = flagged(tmp_path / f"{name}.tiff")
            share = share_per_tile(band, tiles["x"], tiles["y"], 224)
            hits += tiles.loc[share > 0.25, "fold"].sum()
            folded += (share > 0.25).sum()
            false += tiles.loc[share == 0, "fold"].sum()
            flat += (share == 0).sum()
        assert folded >= 25 and flat >= 100
        assert hits / folded >= 0.8
        assert false / flat <= 0.02

    @pytest.mark.slow
    def test_a_dense_lobe_and_blood_are_no_folds(self, tmp_path):
        """Half the slide twice as cellular, and a pool of blood: denser than the rest, in another colour."""
        shape = (2800, 2800)
        density = optical_density(shape, 0.5)
        crowded = optical_density(shape, 0.5, seed=9)[..., :] * 0.5 + density * 0.9
        density[:, 1400:] = crowded[:, 1400:]
        density[ellipse(shape, (0.3, 0.5), (0.06, 0.04))] = -np.log(np.array([190, 70, 85]) / 243)
        rgb = slide_of(np.ones(shape, dtype=bool), density)
        tiles = flagged(write_slide(tmp_path / "a.tiff", rgb, 0.5))
        assert len(tiles) == 144
        assert tiles["fold"].sum() <= 2


def test_tiles_that_are_not_whole_blocks_or_px(tmp_path):
    """A slide of three tiles, read through a level that does not divide them: the sharp one stays unflagged."""
    rgb = plain(800, 300)
    random = np.random.default_rng(0)
    rgb[:, :260] = random.normal((190, 110, 170), 25, (300, 260, 3)).clip(0, 255).astype(np.uint8)
    with open_slide(write_slide(tmp_path / "a.tiff", rgb, 0.52, compression="deflate")) as slide:
        tiles = tile_grid(slide, patch_px=200, min_tiles=1)
        flags = flag_tiles(slide, tiles, np.array([243.0, 243, 243]), patch_px=200)
    assert tiles["x"].tolist() == [0, 192, 385, 577]
    assert flags["blur"].tolist()[0::2] == [False, True]
    assert not flags["pen"].any() and not flags["fold"].any()
