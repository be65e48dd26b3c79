"""Tissue and tiles of drawn slides whose outline is known, and the failures of a batch."""

import os

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sections import draw_section, tile
from slide_files import GLASS, TISSUE, plain, real_file, write_slide

from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_provenance
from ksfusion.slides import SlideError, open_slide, tile_grid, tissue_mask
from ksfusion.slides.tiles.grid import grid_corners


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


class TestTissue:
    @pytest.mark.slow
    @pytest.mark.parametrize("mpp", [0.25, 0.5])
    def test_matches_a_drawn_outline(self, tmp_path, mpp):
        rgb, truth = draw_section(1000, mpp)
        with open_slide(write_slide(tmp_path / "a.tiff", rgb, mpp)) as slide:
            mask = tissue_mask(slide.thumbnail(8.0))
        expected = cv2.resize(truth.astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
        assert dice(mask, expected) >= 0.95
        side = len(mask)
        assert not mask[side // 2, round(0.55 * side)]  # the hole

    def test_ignores_pen_dust_and_tint(self):
        thumbnail = plain(300, 300, (236, 232, 240))
        thumbnail[40:60, 20:280] = 30  # black pen
        thumbnail[200:204, 200:204] = (150, 60, 140)  # a speck
        thumbnail[100:160, 50:150] = TISSUE
        expected = np.zeros((300, 300), dtype=bool)
        expected[100:160, 50:150] = True
        assert dice(tissue_mask(thumbnail), expected) > 0.97

    @pytest.mark.parametrize("colour", [(255, 255, 255), (242, 242, 242), (225, 222, 226)])
    def test_finds_none_on_glass(self, colour):
        noise = np.random.default_rng(0).normal(0, 3, (200, 200, 3))
        assert not tissue_mask((plain(200, 200, colour) + noise).clip(0, 255).astype(np.uint8)).any()

    @pytest.mark.parametrize("name", ["TCGA-06-0174_gbm_roi_0.5mpp.png", "TCGA-HT-7470_lgg_roi_0.5mpp.png"])
    def test_of_a_region_that_is_tissue_everywhere(self, name):
        with open_slide(real_file(name), 0.5) as slide:
            assert tissue_mask(slide.thumbnail(8.0)).mean() > 0.97


class TestGrid:
    # 112 um are 454.9147, 448, 224.4489 and 224 level-0 px; corners worked by hand.
    @pytest.mark.parametrize(
        ("mpp", "length", "corners"),
        [
            (0.2462, 2300, [0, 455, 910, 1365, 1820]),
            (0.25, 2240, [0, 448, 896, 1344, 1792]),
            (0.499, 1200, [0, 224, 449, 673, 898]),
            (0.5, 1119, [0, 224, 448, 672]),
        ],
    )
    def test_corners_by_hand(self, mpp, length, corners):
        assert grid_corners(length, 224 * 0.5 / mpp).tolist() == corners

    def test_does_not_drift(self):
        # 100 tiles of 112 um end 11,200 um from the origin; the corner of the last is at 11,088 um.
        assert grid_corners(45500, 112 / 0.2462)[99] == round(11088 / 0.2462)

    def test_raster_order_and_tissue_share(self, tmp_path):
        # Tissue from x = 336 px on: of the second column of tiles (224 to 448) half, of the first none.
        rgb = plain(1120, 896, GLASS)
        rgb[:, 336:] = TISSUE
        with open_slide(write_slide(tmp_path / "a.tiff", rgb, 0.5)) as slide:
            grid = tile_grid(slide, min_tissue=0.4)
        assert grid["tile"].tolist() == list(range(16))
        assert grid["x"].tolist() == [224, 448, 672, 896] * 4
        assert grid["y"].tolist() == [0] * 4 + [224] * 4 + [448] * 4 + [672] * 4
        assert np.allclose(grid["tissue"], [0.5, 1, 1, 1] * 4, atol=0.05)
        assert grid.attrs["tissue_mm2"] == pytest.approx(784 * 896 * 0.25e-6, rel=0.03)

    def test_a_tile_of_exactly_the_least_tissue_counts(self, tmp_path):
        # Eight tiles of 14 x 14 px of the mask: of four 98 px are tissue, of the others 97.
        random, mask = np.random.default_rng(0), np.zeros((28, 56), dtype=bool)
        for row, column in np.ndindex(2, 4):
            inside = random.permutation(196) < (98 if column % 2 else 97)
            mask[14 * row :, 14 * column :][:14, :14] = inside.reshape(14, 14)
        with open_slide(write_slide(tmp_path / "a.tiff", plain(896, 448), 0.5)) as slide:
            grid = tile_grid(slide, min_tiles=1, mask=mask)
        assert grid[["x", "y"]].to_numpy().tolist() == [[224, 0], [672, 0], [224, 224], [672, 224]]
        assert grid["tissue"].tolist() == [0.5] * 4

    def test_reasons(self, tmp_path):
        with open_slide(write_slide(tmp_path / "a.tiff", plain(700, 700), 0.56)) as slide:
            for settings, reason in [({}, "too_coarse"), ({"max_upsampling": 1.2}, "too_few_tiles")]:
                with pytest.raises(SlideError) as caught:
                    tile_grid(slide, **settings)
                assert caught.value.reason == reason


@pytest.mark.slow
def test_a_batch_reports_every_slide(tmp_path, caplog):
    good, _ = draw_section(800, 0.5)
    files = {
        "glass": write_slide(tmp_path / "glass.tiff", plain(900, 900, GLASS), 0.5),
        "good": write_slide(tmp_path / "good.tiff", good, 0.5),
        "hanging": tmp_path / "hanging.svs",
        "missing": "",
        "scaleless": tmp_path / "scaleless.png",
        "small": write_slide(tmp_path / "small.tiff", plain(300, 300), 0.5),
        "wide": write_slide(tmp_path / "wide.tiff", plain(900, 900), 1.0),
        "wrong": write_slide(tmp_path / "wrong.tiff", plain(900, 900), 0.05),
        "forbidden": "b" * 300 + ".svs",
    }
    # Opening a pipe that nobody writes to never returns.
    os.mkfifo(files["hanging"])
    Image.fromarray(plain(500, 500)).save(files["scaleless"])
    samples = pd.DataFrame({"slide_id": list(files), "slide": [str(path) for path in files.values()], "mpp": np.nan})
    samples = pd.concat([samples, samples.iloc[[1]]])  # a slide may serve two samples
    samples.to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    output = tmp_path / "tiles.parquet"
    tile(tmp_path / "samples.tsv", output, min_tiles=2, timeout=15)

    table = read_parquet(output)
    reasons = table.drop_duplicates("slide_id").set_index("slide_id")["reason"].to_dict()
    assert reasons == {
        "glass": "no_tissue",
        "good": "",
        "hanging": "timeout",
        "missing": "missing_file",
        "scaleless": "missing_mpp",
        "small": "too_few_tiles",
        "wide": "too_coarse",
        "wrong": "implausible_mpp",
        "forbidden": "unreadable",
    }
    failed = table[table["status"] == "failed"]
    assert (failed["tile"] == -1).all() and failed["slide_id"].is_unique
    assert failed.set_index("slide_id").loc["wide", "mpp"] == pytest.approx(1.0)
    assert failed.set_index("slide_id").loc["wrong", "mpp"] == pytest.approx(0.05)
    assert failed.set_index("slide_id").loc["wrong", "mpp_source"] == "resolution_tag"
    tiles = table[table["status"] == "ok"]
    assert tiles["tile"].tolist() == list(range(len(tiles))) and len(tiles) > 5
    assert (tiles["width"] == 1600).all() and (tiles["mpp_source"] == "resolution_tag").all()
    assert read_provenance(output)["settings"]["slides"]["patch_px"] == 224
    assert "hanging\ttimeout" in caplog.text


def test_an_empty_batch_is_an_empty_table(tmp_path):
    pd.DataFrame({"slide_id": ["a"], "slide": [""], "mpp": [np.nan]}).to_csv(
        tmp_path / "samples.tsv", sep="\t", index=False
    )
    batches = range(2)
    for batch in batches:
        tile(tmp_path / "samples.tsv", tmp_path / f"{batch}.parquet", batch=batch, batches=2)
    assert sorted(len(read_parquet(tmp_path / f"{batch}.parquet")) for batch in batches) == [0, 1]


def test_the_same_slides_give_the_same_bytes(tmp_path):
    path = write_slide(tmp_path / "a.tiff", plain(500, 500), 0.5)
    pd.DataFrame({"slide_id": ["a"], "slide": [str(path)], "mpp": [np.nan]}).to_csv(
        tmp_path / "samples.tsv", sep="\t", index=False
    )
    for name in ("first", "second"):
        tile(tmp_path / "samples.tsv", tmp_path / f"{name}.parquet")
    assert (tmp_path / "first.parquet").read_bytes() == (tmp_path / "second.parquet").read_bytes()


@pytest.mark.parametrize(("width", "share"), [(1000, 1.0), (500, 0.5)])
def test_a_slide_that_is_nearly_all_tissue_is_told(tmp_path, caplog, width, share):
    rgb = plain(1000, 1000, GLASS)
    rgb[:, :width] = TISSUE
    path = write_slide(tmp_path / "a.tiff", rgb, 0.5)
    (tmp_path / "samples.tsv").write_text(f"sample_id\tslide_id\tslide\tmpp\na\ta\t{path}\t\n")
    tile(tmp_path / "samples.tsv", tmp_path / "tiles.parquet")
    table = read_parquet(tmp_path / "tiles.parquet")
    assert table["tissue_share"].iloc[0] == pytest.approx(share, abs=0.02)
    assert ("a\t100 % of it is taken for tissue" in caplog.text) == (share == 1)
