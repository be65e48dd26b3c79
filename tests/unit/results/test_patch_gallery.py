"""The patches that a model looks at most and least, chosen and laid out by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from ksfusion.results.attention.patch_gallery import extreme_patches, gallery, gallery_png


@pytest.mark.parametrize(
    ("shares", "cells", "most", "expected"),
    [
        # Of their even share: 1, 0.5, 3, 0, 2.
        ([0.2, 0.1, 0.3, 0.0, 0.4], [2, 2, 1, 1, 2], 2, ([2, 4], [1, 3])),
        ([0.2, 0.1, 0.3, 0.0, 0.4], [2, 2, 1, 1, 2], 5, ([2, 4, 0], [1, 3])),
        ([0.25] * 4, [1] * 4, 1, ([0], [3])),
        ([1.0], [4], 5, ([0], [])),
    ],
)
def test_the_ends_by_hand(shares, cells, most, expected):
    assert extreme_patches(np.array(shares), np.array(cells), most) == expected


def test_a_sheet_shows_the_patches_in_their_order():
    colours = {0: (250, 0, 0), 1: (0, 250, 0), 2: (0, 0, 250), 3: (90, 90, 0)}
    pixels = {number: np.full((20, 20, 3), colour, np.uint8) for number, colour in colours.items()}
    shares = {"tumour": np.array([0.5, 0.3, 0.2, 0.0])}
    rows = gallery({"tumour": ([0, 1], [2, 3])}, pixels, shares, np.array([1, 1, 1, 1]))
    assert [row.label for row in rows] == ["Tumour stream, most", "Tumour stream, least"]
    assert rows[0].relative == pytest.approx([2, 1.2]) and rows[1].relative == pytest.approx([0.8, 0])
    with Image.open(io.BytesIO(gallery_png(rows, title="A title", description="made by me"))) as sheet:
        assert sheet.text["Description"] == "made by me"
        found = np.asarray(sheet)
    # Squares of 168 px, 12 apart, in rows that are 224 apart.
    for (y, x), number in zip(((130, 60), (130, 240), (354, 60), (354, 240)), colours, strict=True):
        assert found[y, x].tolist() == list(colours[number])
    assert (found[130, 185] == 255).all()


def test_a_slide_with_one_patch_has_one_row():
    rows = gallery({"attention": ([0], [])}, {0: np.zeros((4, 4, 3), np.uint8)}, {"attention": np.ones(1)}, np.ones(1))
    assert [(row.label, len(row.patches)) for row in rows] == [("Attention, most", 1)]
    assert gallery_png(rows, title="", description="")
