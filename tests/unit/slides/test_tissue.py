"""Tissue on drawn slides whose outline is known."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawing import GLASS, INKS, dice, ellipse, optical_density, slide_of, stroke
from slide_files import plain, real_file, write_slide

from ksfusion.core.errors import UserError
from ksfusion.slides import open_slide, tissue_mask
from ksfusion.slides.reading.disk_image import DiskImage
from ksfusion.slides.reading.fingerprint import thumbnail_hash
from ksfusion.slides.tiles.tissue import _otsu, _without_small_objects, glass_colour, ink_mask
from ksfusion.slides.tiles.tissue import optical_density as measured_density

MPP, SHAPE = 2.0, (1500, 2000)
SECTION = ellipse(SHAPE, (0.5, 0.38), (0.3, 0.2), 15)


def draw(truth=SECTION, strength=1.0):
    return slide_of(truth, optical_density(SHAPE, MPP, strength))


def found(tmp_path, rgb):
    with open_slide(write_slide(tmp_path / "a.tiff", rgb, MPP)) as slide:
        return tissue_mask(slide.thumbnail(8.0))


def expected(truth):
    """Bring an outline to the scale of the mask."""
    size = (round(SHAPE[1] * MPP / 8), round(SHAPE[0] * MPP / 8))
    return cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5


@pytest.mark.parametrize("strength", [0.2, 0.4, 1.0, 2.0])
def test_pale_and_dense_tissue(tmp_path, strength):
    assert dice(found(tmp_path, draw(strength=strength)), expected(SECTION)) >= 0.95


def test_pale_tissue_beside_dense(tmp_path):
    pale, dense = ellipse(SHAPE, (0.28, 0.38), (0.18, 0.25)), ellipse(SHAPE, (0.74, 0.38), (0.18, 0.25))
    strength = np.where(pale, 0.3, 1.8)[..., None]
    rgb = slide_of(pale | dense, optical_density(SHAPE, MPP) * strength)
    assert dice(found(tmp_path, rgb), expected(pale | dense)) >= 0.95


def test_holes_stay_out(tmp_path):
    holes = [ellipse(SHAPE, centre, (0.03, 0.02)) for centre in [(0.4, 0.36), (0.55, 0.42), (0.6, 0.3)]]
    truth = SECTION & ~np.any(holes, axis=0)
    mask = found(tmp_path, draw(truth))
    assert dice(mask, expected(truth)) >= 0.95
    for hole in holes:
        assert mask[expected(hole)].mean() < 0.1


def test_fragments(tmp_path):
    # Biopsy cores and crumbs of 160 to 480 um.
    random = np.random.default_rng(1)
    centres = [(x, y) for x in np.linspace(0.08, 0.92, 8) for y in np.linspace(0.08, 0.66, 5)]
    pieces = [(centre, random.uniform(0.02, 0.06, 2), random.uniform(0, 180)) for centre in centres]
    truth = np.any([ellipse(SHAPE, *piece) for piece in pieces], axis=0)
    assert dice(found(tmp_path, draw(truth)), expected(truth)) >= 0.95


@pytest.mark.parametrize("colour", INKS)
def test_pen_on_glass_is_no_tissue(tmp_path, colour):
    rgb = draw()
    stroke(rgb, [(0.1, 0.05), (0.12, 0.7), (0.9, 0.72)], 60, INKS[colour])
    cv2.circle(rgb, (1750, 250), 120, INKS[colour], 40)
    assert dice(found(tmp_path, rgb), expected(SECTION)) >= 0.95


def test_dust_and_the_edge_of_a_coverslip(tmp_path):
    rgb = draw()
    rgb[:, 1850:1862] = (150, 150, 152)  # its edge, and the rest of the slide a little darker
    rgb[:, 1862:] = np.rint(rgb[:, 1862:] * 0.96).astype(np.uint8)
    random = np.random.default_rng(2)
    for x, y in random.integers(0, SHAPE[::-1], (150, 2)):
        cv2.circle(rgb, (int(x), int(y)), int(random.integers(1, 9)), (70, 68, 66), -1)
    assert dice(found(tmp_path, rgb), expected(SECTION)) >= 0.95


@pytest.mark.parametrize("tint", [(1.0, 0.97, 0.94), (0.95, 0.97, 1.0), (0.9, 0.9, 0.9)])
def test_tinted_glass(tmp_path, tint):
    rgb = np.rint(draw(strength=0.4) * np.array(tint)).astype(np.uint8)
    assert dice(found(tmp_path, rgb), expected(SECTION)) >= 0.95


# Eosin that was not washed out, a yellowed mount, a bluish or green lamp.
STRONG_TINTS = [(1.0, 0.8, 0.9), (1.0, 0.7, 0.85), (1.0, 0.9, 0.75), (1.0, 0.85, 0.6), (0.85, 0.95, 1.0), (0.9, 1, 0.8)]


@pytest.mark.parametrize("tint", STRONG_TINTS)
@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_strongly_tinted_glass(tmp_path, tint, strength):
    rgb = np.rint(draw(strength=strength) * np.array(tint)).astype(np.uint8)
    assert dice(found(tmp_path, rgb), expected(SECTION)) >= 0.95


@pytest.mark.parametrize("tint", STRONG_TINTS[:3])
def test_strongly_tinted_glass_at_whose_border_tissue_lies(tmp_path, tint):
    """Tissue reaches two sides in the middle, and a corner; the other corners are glass."""
    truth = ellipse(SHAPE, (0.5, 0.38), (0.55, 0.15)) | ellipse(SHAPE, (0.0, 0.0), (0.3, 0.3))
    rgb = np.rint(draw(truth) * np.array(tint)).astype(np.uint8)
    assert dice(found(tmp_path, rgb), expected(truth)) >= 0.95


def test_strongly_tinted_glass_within_what_was_not_scanned():
    """White round it is what the reader pads with, not the glass."""
    rgb = np.full((400, 700, 3), 255, np.uint8)
    small = ellipse((188, 250), (0.5, 0.38), (0.3, 0.2), 15)
    inner = slice(100, 288), slice(200, 450)
    tissue = slide_of(small, optical_density(small.shape, 8.0))
    rgb[inner] = np.rint(tissue * np.array(STRONG_TINTS[0])).astype(np.uint8)
    assert tissue_mask(rgb)[inner].mean() > 0.9  # which nobody can tell from pale tissue on white
    mask = tissue_mask(rgb, scanned=inner)
    assert dice(mask[inner], small) >= 0.95 and not mask[:100].any()


@pytest.mark.parametrize("name", ["TCGA-06-0174_gbm_roi_0.5mpp.png", "TCGA-HT-7470_lgg_roi_0.5mpp.png"])
@pytest.mark.parametrize("blur_um", [0, 2, 4, 8, 16])
def test_tissue_all_over_is_not_taken_for_glass(name, blur_um):
    """Regions cut out of real slides, sharp and out of focus."""
    with open_slide(real_file(name), 0.5) as slide:
        rgb = slide.thumbnail(0.5)
    rgb = cv2.GaussianBlur(rgb, (0, 0), blur_um / 0.5) if blur_um else rgb
    assert tissue_mask(cv2.resize(rgb, (64, 64), interpolation=cv2.INTER_AREA)).mean() > 0.99


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_drawn_tissue_all_over_is_not_taken_for_glass(strength):
    whole = np.ones((300, 400), dtype=bool)
    assert tissue_mask(slide_of(whole, optical_density(whole.shape, 8.0, strength))).mean() > 0.9


def test_the_glass_is_found_beside_pale_tissue():
    rgb = draw(strength=0.2)
    assert np.abs(glass_colour(rgb) - GLASS).max() <= 2
    assert glass_colour(plain(50, 50, (190, 110, 170))).tolist() == [255, 255, 255]


def test_ink_is_told_from_stain():
    stained = np.exp(-optical_density((200, 200), 8.0, 1.5)) * GLASS
    blood = plain(50, 50, (190, 70, 85))
    for rgb in (stained.astype(np.uint8), blood):
        assert ink_mask(measured_density(rgb, np.array(GLASS))).mean() < 0.01
    for colour in INKS.values():
        assert ink_mask(measured_density(plain(5, 5, colour), np.array(GLASS))).all()


def test_surgical_ink_on_a_real_slide():
    # Green ink marks the margin at the right side of this piece of skin; its left half has none.
    with open_slide(real_file("cmu-1-small-region.svs")) as slide:
        thumbnail = slide.thumbnail(8.0)
    ink = ink_mask(measured_density(thumbnail, glass_colour(thumbnail)))
    assert ink[:, 90:].sum() > 40
    assert (ink & tissue_mask(thumbnail))[:, 20:80].sum() <= 5


@pytest.mark.slow
def test_strips_make_no_difference(monkeypatch):
    rgb = draw()
    expected = tissue_mask(rgb), glass_colour(rgb)
    monkeypatch.setattr("ksfusion.slides.reading.disk_image.STRIP_PIXELS", 7 * rgb.shape[1])
    assert np.array_equal(tissue_mask(rgb), expected[0]) and np.array_equal(glass_colour(rgb), expected[1])


def test_the_glass_is_the_median_of_the_brighter_half():
    # Of 100 px, 60 may be glass; the brighter half of these are the 20 brightest and the 20 in the middle.
    rgb = np.array([(90, 40, 90)] * 40 + [(210, 212, 214)] * 20 + [(230, 231, 233)] * 20 + [(240, 242, 246)] * 20)
    assert glass_colour(rgb.astype(np.uint8).reshape(10, 10, 3)).tolist() == [235, 236.5, 239.5]


@pytest.mark.parametrize("seed", range(3))
def test_otsu_is_that_of_opencv(seed):
    random = np.random.default_rng(seed)
    values = np.concatenate([random.gamma(2, 0.01, 3000), random.normal(0.12, 0.02 + 0.01 * seed, 2000).clip(0)])
    values = values.astype(np.float16)
    levels = np.round(values.astype(np.float32) * (255 / float(values.max()))).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    found = _otsu(np.bincount(values.view(np.uint16), minlength=1 << 16), (0, 1))
    assert found == pytest.approx(threshold * float(values.max()) / 255)
    assert _otsu(np.bincount(values.view(np.uint16), minlength=1 << 16), (0.3, 0.4)) == 0.3


def test_small_objects_are_left_out():
    mask = np.zeros((120, 120), np.uint8)
    mask[5:45, 5:45], mask[10:40, 10:40] = 1, 0  # a frame of 700 px
    mask[15:25, 15:30] = 1  # 150 px within it
    mask[30:38, 30:38] = 1  # 64 px within it
    mask[60:70, 60:70], mask[70:77, 70:77] = 1, 1  # 149 px that touch at a corner
    mask[0:1, 50:120], mask[119, 50:107] = 1, 1  # 70 and 57 px at the rim
    expected = mask.astype(bool)
    expected[30:38, 30:38] = expected[0, 50:] = expected[119] = False
    assert np.array_equal(_without_small_objects(mask), expected)


def test_a_thumbnail_in_a_file(tmp_path):
    rgb = draw()[:1480, :1930]
    with open_slide(write_slide(tmp_path / "a.tiff", rgb, 0.25)) as slide:
        thumbnail = slide.thumbnail(0.5)  # 740 x 965 px, of blocks of 512
        with slide.thumbnail_on_disk(0.5) as on_disk:
            assert on_disk.shape == thumbnail.shape == (740, 965, 3)
            for rows in (slice(0, 740), slice(500, 530), slice(700, 900)):
                assert np.array_equal(on_disk[rows], thumbnail[rows])
            assert np.array_equal(tissue_mask(on_disk), tissue_mask(thumbnail))
            assert thumbnail_hash(on_disk) == thumbnail_hash(thumbnail) != ""


def test_no_room_for_a_thumbnail_is_one_line(monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full, the disk that is always full")
    monkeypatch.setattr("tempfile.TemporaryFile", partial(Path("/dev/full").open, "rb+"))
    with DiskImage(40, 30) as image, pytest.raises(UserError, match=r"3,600 bytes .No space left .*set TMPDIR"):
        image.write(0, 0, plain(30, 40))


MEASURE = """
import sys
from functools import partial
from pathlib import Path
import numpy as np
from ksfusion.slides.reading.disk_image import DiskImage
from ksfusion.slides.reading.fingerprint import thumbnail_hash
from ksfusion.slides.tiles.tissue import tissue_mask

height = int(sys.argv[1])
with DiskImage(height, 4000) as image:
    for top in range(0, height, 100):
        rows = np.full((100, 4000, 3), 242, np.uint8)
        rows[20:, 300:3500] = (190, 110, 170)
        image.write(top, 0, rows)
    assert thumbnail_hash(image)
    assert tissue_mask(image).mean() > 0.5
status = Path("/proc/self/status").read_text()
print(status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
def test_memory_grows_with_the_mask_alone():
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to read the peak of the memory from")
    low, high = (
        int(subprocess.run([sys.executable, "-c", MEASURE, height], check=True, capture_output=True).stdout)
        for height in ("600", "6000")
    )
    # The mask and its working copies: a px of the thumbnail itself would take three bytes more, of its density twelve.
    assert (high - low) * 1024 / (5400 * 4000) < 2
