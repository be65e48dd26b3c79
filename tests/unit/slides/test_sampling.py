"""Sampling by hand, and the map."""

import numpy as np
import pandas as pd
import pytest
from sections import sample

from ksfusion.core.parquet import read_parquet
from ksfusion.slides import sample_patches
from ksfusion.slides.tiles.sampling import map_order


@pytest.mark.parametrize(
    ("n_tiles", "expected"),
    [
        (1, [0] * 9),
        (2, [0, 1, 0, 1, 0, 1, 0, 1, 0]),
        (4, [0, 1, 2, 3, 0, 1, 2, 3, 0]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7, 0]),
        (9, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        # i * 10 / 9: 0, 1.11, 2.22, 3.33, 4.44, 5.56, 6.67, 7.78, 8.89
        (10, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
        # i * 25 / 9: 0, 2.78, 5.56, 8.33, 11.11, 13.89, 16.67, 19.44, 22.22
        (25, [0, 3, 6, 8, 11, 14, 17, 19, 22]),
    ],
)
def test_nine_patches_by_hand(n_tiles, expected):
    assert sample_patches(n_tiles, 9).tolist() == expected


def test_halves_go_to_the_even_tile():
    # i * 6 / 4: 0, 1.5, 3, 4.5
    assert sample_patches(6, 4).tolist() == [0, 2, 3, 4]
    # i * 10 / 4: 0, 2.5, 5, 7.5
    assert sample_patches(10, 4).tolist() == [0, 2, 5, 8]


def test_never_leaves_the_list():
    for n_tiles in range(1, 300):
        chosen = sample_patches(n_tiles, 144)
        assert chosen.shape == (144,) and chosen.max() < n_tiles
        assert len(np.unique(chosen)) == min(n_tiles, 144)


@pytest.mark.parametrize(("n_tiles", "count"), [(0, 9), (3, 0)])
def test_nothing_to_choose(n_tiles, count):
    with pytest.raises(ValueError, match="cannot choose"):
        sample_patches(n_tiles, count)


def test_hilbert_keeps_neighbours():
    # On a full square of as many tiles as patches both curves are the same, so that the map is the slide.
    y, x = np.divmod(np.arange(64), 8)
    tiles = pd.DataFrame({"x": x * 224, "y": y * 224})
    assert map_order(tiles, 64, "hilbert").tolist() == list(range(64))
    # With four tiles a cell, cells that touch on the map hold tiles that are close on the slide.
    y, x = np.divmod(np.arange(256), 16)
    chosen = map_order(pd.DataFrame({"x": x * 224, "y": y * 224}), 64, "hilbert")
    cell_x, cell_y = (values[chosen].reshape(8, 8) for values in (x, y))
    assert np.array_equal(cell_x // 2, np.tile(np.arange(8), (8, 1)))
    assert np.array_equal(cell_y // 2, np.tile(np.arange(8)[:, None], 8))


def test_hilbert_with_fewer_tiles_than_patches_by_hand():
    # Three tiles, left above, right above, left below: along the curve 0, 2, 1. On a map of 3 x 3 the curve enters at
    # the left above, takes that quarter (two cells a side), the left below, the right below, and the right above.
    tiles = pd.DataFrame({"x": [0, 224, 0], "y": [0, 0, 224]})
    curve = [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2)]
    expected = np.empty((3, 3), int)
    for cell, tile in zip(curve, [0, 2, 1, 0, 2, 1, 0, 2, 1], strict=True):
        expected[cell] = tile
    assert expected.tolist() == [[0, 2, 1], [0, 1, 2], [2, 1, 0]]
    assert map_order(tiles, 9, "hilbert").reshape(3, 3).tolist() == expected.tolist()


# Along the curve from tile 0: down to tile 2, right to the third cell with tile 1, up to the last with tile 0 again.
@pytest.mark.parametrize(("order", "chosen"), [("raster", [0, 1, 2, 0]), ("hilbert", [0, 0, 2, 1])])
def test_a_batch(tmp_path, order, chosen):
    tiles = pd.DataFrame(
        {
            "slide_id": ["b", "b", "b", "a"],
            "status": ["ok", "ok", "ok", "failed"],
            "reason": ["", "", "", "no_tissue"],
            "tile": [0, 1, 2, -1],
            "x": [0, 224, 0, -1],
            "y": [0, 0, 224, -1],
        }
    )
    tiles.to_parquet(tmp_path / "tiles.parquet")
    sample(tmp_path / "tiles.parquet", tmp_path / "out.parquet", order=order)
    table = read_parquet(tmp_path / "out.parquet")
    assert table["slide_id"].tolist() == ["a", "b", "b", "b", "b"]
    assert table["position"].tolist() == [-1, 0, 1, 2, 3]
    assert table["reason"].tolist() == ["no_tissue", "", "", "", ""]
    assert table["tile"].tolist() == [-1, *chosen]
    found = table[table["status"] == "ok"].merge(tiles, on=["slide_id", "tile", "x", "y"])
    assert len(found) == 4


def flagged_tiles(folder):
    """Write the tiles of two slides: of "a" the last two are folded, and the last is marked too; of "b" all are."""
    tiles = pd.DataFrame({"slide_id": ["a"] * 4 + ["b"] * 2, "status": "ok", "reason": "", "tile": [0, 1, 2, 3, 0, 1]})
    tiles = tiles.assign(x=tiles["tile"] * 224, y=0, fold=[False, False, True, True, True, True], blur=False)
    tiles["pen"] = tiles["slide_id"].eq("a") & tiles["tile"].eq(3)
    tiles.to_parquet(folder / "tiles.parquet")
    return folder / "tiles.parquet"


@pytest.mark.parametrize(
    ("exclude", "chosen"),
    [([], [0, 1, 2, 3]), (["pen"], [0, 1, 2, 0]), (["fold"], [0, 1, 0, 1]), (["pen", "blur"], [0, 1, 2, 0])],
)
def test_flagged_tiles_are_left_out_when_asked(tmp_path, exclude, chosen):
    sample(flagged_tiles(tmp_path), tmp_path / "out.parquet", exclude=exclude)
    table = read_parquet(tmp_path / "out.parquet")
    slide = table[table["slide_id"] == "a"]
    assert slide["tile"].tolist() == chosen
    assert slide["x"].tolist() == [tile * 224 for tile in chosen]


def test_a_slide_with_too_few_unflagged_tiles_fails(tmp_path):
    tiles = flagged_tiles(tmp_path)
    sample(tiles, tmp_path / "all.parquet", min_tiles=2)
    assert set(read_parquet(tmp_path / "all.parquet")["status"]) == {"ok"}
    sample(tiles, tmp_path / "kept.parquet", exclude=["fold"], min_tiles=2)
    rows = read_parquet(tmp_path / "kept.parquet").groupby("slide_id")
    assert rows["reason"].first().to_dict() == {"a": "", "b": "too_few_tiles"}
    assert rows.size().to_dict() == {"a": 4, "b": 1}
    failed = rows.get_group("b").iloc[0]
    assert (failed["status"], failed["position"], failed["tile"]) == ("failed", -1, -1)
