"""Tiles that are decoded without OpenSlide: the same pixels as with it, or left to it."""

import contextlib
import struct
from itertools import product

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from slide_files import REAL_DATA, real_file

from ksfusion.slides import SlideError, open_slide
from ksfusion.slides.reading import tiff_tiles
from ksfusion.slides.reading.openslide_backend import OpenSlideBackend, TileBackend

APERIO = "Aperio Image Library v11.2.1 \r\n700x600 (256x256) JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990"
SUBSAMPLINGS = {"444": (1, 1), "422": (2, 1), "420": (2, 2)}
DATETIME, TABLES = 306, 347


def texture(height, width, seed=0):
    """Draw coloured detail, as sharp as nuclei."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(noise.repeat(4, 0).repeat(4, 1)[:height, :width])


def tiles_of(rgb, side, encode):
    """Yield the tiles of an image, encoded; those at its ends are filled up."""
    down, across = (-(-length // side) for length in rgb.shape[:2])
    full = np.pad(
        rgb, ((0, down * side - rgb.shape[0]), (0, across * side - rgb.shape[1]), (0, 0)), constant_values=255
    )
    for row, column in product(range(down), range(across)):
        yield encode(np.ascontiguousarray(full[row * side :, column * side :][:side, :side]))


def jpeg(photometric, subsampling):
    """Return an encoder of tiles, as scanners write them."""
    colours = "ycbcr" if photometric == "ycbcr" else "rgb"
    return lambda tile: imagecodecs.jpeg8_encode(
        tile, level=80, colorspace="rgb", outcolorspace=colours, subsampling=subsampling
    )


# Else tifffile would call a JPEG of RGB one of YCbCr.
RGB = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}}
YCBCR = {"photometric": "ycbcr", "compression": "jpeg"}
JPEG_RGB = {"encode": jpeg("rgb", "444"), **RGB}


def jpeg2000(tile):
    return imagecodecs.jpeg2k_encode(tile, level=40, codecformat="j2k", mct=False)


def write(path, *levels, encode, side=256, sparse=(), description=None, bigtiff=False, order="<", **options):
    """Write levels, each so many times coarser as it is smaller, with tiles encoded apart."""
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=order) as file:
        for number, rgb in enumerate(levels):
            scale = 2e4 * rgb.shape[1] / levels[0].shape[1]
            tiles = [b"" if (number, n) in sparse else tile for n, tile in enumerate(tiles_of(rgb, side, encode))]
            file.write(
                iter(tiles), shape=rgb.shape, dtype=np.uint8, tile=(side, side), resolution=(scale, scale),
                resolutionunit="CENTIMETER", metadata=None, subfiletype=int(number > 0), description=description,
                **options,
            )  # fmt: skip
    return path


@contextlib.contextmanager
def both(path, mpp=None):
    """Open a slide with and without OpenSlide's decoder."""
    with open_slide(path, mpp, reader="openslide") as slow, open_slide(path, mpp) as fast:
        assert type(slow._backend) is OpenSlideBackend
        yield slow, fast


def assert_same_pixels(slow, fast, *, decoded=True, steps=(97, 448)):
    """Compare regions of every level: on tiles and across them, beyond all ends, at scales of and between levels."""
    assert (getattr(fast._backend, "_tiles", None) is not None) == decoded
    width, height = slow.dimensions
    corners = [(0, 0), (-50, -30), (width - 100, height - 90), (width // 2, height // 3), (width + 5, 0), (256, 256)]
    random = np.random.default_rng(1)
    corners += [(int(random.integers(-20, width)), int(random.integers(-20, height))) for _ in range(6)]
    for level, (x, y), side in product(range(len(slow.level_mpp)), corners, steps):
        expected = slow._backend.region(x, y, level, side, side + 3)
        assert np.array_equal(fast._backend.region(x, y, level, side, side + 3), expected), (level, x, y, side)
    for mpp in (0.9, 1, 2.3):
        (x, y), factor = corners[3], mpp * slow.mpp / 0.5
        assert np.array_equal(fast.read(x, y, 224, factor), slow.read(x, y, 224, factor)), mpp
    assert np.array_equal(fast.thumbnail(8), slow.thumbnail(8))


# Classic TIFF of the other byte order OpenSlide does not open; it is read with tiffslide.
@pytest.mark.parametrize(("order", "bigtiff"), [("<", False), ("<", True), (">", True)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg(tmp_path, photometric, subsampling, bigtiff, order):
    levels = texture(600, 704), texture(150, 176, 1), texture(75, 88, 2)
    options = YCBCR | {"subsampling": SUBSAMPLINGS[subsampling]} if photometric == "ycbcr" else RGB
    path = write(
        tmp_path / "a.tiff", *levels, encode=jpeg(photometric, subsampling), bigtiff=bigtiff, order=order, **options,
    )  # fmt: skip
    with both(path) as (slow, fast):
        assert {layout.colours for layout in fast._backend._tiles._layouts.values()} == {photometric}
        assert_same_pixels(slow, fast)
        assert sorted(fast._backend._tiles._layouts) == [0, 1, 2]


def test_tiles_are_what_was_encoded(tmp_path):
    rgb = texture(512, 512)
    path = write(tmp_path / "a.tiff", rgb, **JPEG_RGB)
    with open_slide(path) as slide:
        assert isinstance(slide._backend, TileBackend)
        assert np.abs(slide.read(100, 30, 224, 0.5).astype(int) - rgb[30:254, 100:324]).mean() < 8


@pytest.mark.parametrize("side", [240, 256, 16])
def test_pixels_are_written_where_the_caches_hold_them(side):
    """The decoder writes around them where a row begins on a multiple of 16 or 32 bytes."""
    pixels = [tiff_tiles._pixels_within_caches(side, side + 16) for _ in range(9)]
    assert all(place.shape == (side + 16, side, 3) and place.flags["C_CONTIGUOUS"] for place in pixels)
    assert all(row.ctypes.data % 16 for place in pixels for row in place)


def _without_tables(tile):
    """Return the tables of a JPEG, as a file of their own, and the JPEG without them."""
    position, tables, rest = 2, [], [tile[:2]]
    while tile[position + 1] != 0xDA:
        length = 2 + struct.unpack(">H", tile[position + 2 : position + 4])[0]
        part = tile[position : position + length]
        (tables if part[1] in (0xDB, 0xC4) else rest).append(part)
        position += length
    return b"\xff\xd8" + b"".join(tables) + b"\xff\xd9", b"".join(rest) + tile[position:]


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_tables_apart_from_tiles(tmp_path, photometric):
    encode, rgb = jpeg(photometric, "420"), texture(600, 700)
    tables, _ = _without_tables(encode(rgb[:256, :256]))
    path = write(
        tmp_path / "a.tiff", rgb, encode=lambda tile: _without_tables(encode(tile))[1],
        extratags=[(TABLES, 7, len(tables), tables, True)],
        **(YCBCR | {"subsampling": (2, 2)} if photometric == "ycbcr" else RGB),
    )  # fmt: skip
    with both(path) as (slow, fast):
        assert fast._backend._tiles._layouts[0].tables == tables
        assert_same_pixels(slow, fast)


def test_tiles_that_are_not_stored(tmp_path):
    levels = texture(768, 1024), texture(384, 512, 1)
    path = write(
        tmp_path / "a.tiff", *levels, **JPEG_RGB,
        sparse={(0, 0), (0, 5), (0, 11), (1, 1)},
    )  # fmt: skip
    with both(path) as (slow, fast):
        assert (fast.read(256, 256, 224, 0.5) == 255).all()
        assert_same_pixels(slow, fast)


@pytest.mark.parametrize(("sparse", "decoded"), [((), True), ({(0, 1)}, False), ({(1, 0)}, False)])
def test_aperio(tmp_path, sparse, decoded):
    path = write(
        tmp_path / "a.svs", texture(600, 720), texture(300, 360, 1), encode=jpeg("rgb", "422"), side=240,
        **RGB, sparse=sparse, description=APERIO,
    )  # fmt: skip
    assert openslide.OpenSlide.detect_format(path) == "aperio"
    with both(path) as (slow, fast):
        assert_same_pixels(slow, fast, decoded=decoded)


@pytest.mark.parametrize(("code", "decoded"), [(33005, True), (33003, False)])
def test_jpeg_2000(tmp_path, code, decoded):
    path = write(
        tmp_path / "a.svs", texture(500, 720), texture(250, 360, 1), encode=jpeg2000, side=240,
        photometric="rgb", compression=code, description=APERIO,
    )  # fmt: skip
    with both(path) as (slow, fast):
        assert_same_pixels(slow, fast, decoded=decoded)


def test_levels_between_whole_pixels_are_left_to_openslide(tmp_path):
    levels = texture(601, 703), texture(150, 176, 1)
    path = write(tmp_path / "a.tiff", *levels, **JPEG_RGB)
    with both(path) as (slow, fast):
        assert list(fast._backend._tiles._layouts) == [0]
        assert_same_pixels(slow, fast)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "deflate", "photometric": "rgb"},
        {"compression": "lzw", "photometric": "rgb", "predictor": True},
        {"compression": "jpeg", "photometric": "minisblack"},
    ],
)
def test_what_is_stored_otherwise_is_left_to_openslide(tmp_path, options):
    rgb = texture(600, 700)
    pixels = rgb[..., 0] if options["photometric"] == "minisblack" else rgb
    tifffile.imwrite(
        tmp_path / "a.tiff", pixels, tile=(256, 256), resolution=(2e4, 2e4), resolutionunit="CENTIMETER", **options
    )
    with both(tmp_path / "a.tiff") as (slow, fast):
        assert_same_pixels(slow, fast, decoded=False)


def test_one_of_two_pages_of_a_size_is_left_to_openslide(tmp_path):
    levels = texture(512, 512), texture(128, 128, 1), texture(128, 128, 2)
    path = write(tmp_path / "a.tiff", *levels, **JPEG_RGB)
    with both(path) as (slow, fast):
        assert list(fast._backend._tiles._layouts) == [0]
        assert_same_pixels(slow, fast)


def test_a_decoder_of_other_pixels_is_noticed(tmp_path, monkeypatch):
    original = tiff_tiles._decode
    monkeypatch.setattr(tiff_tiles, "_decode", lambda data, layout: original(data, layout) ^ 1)
    path = write(tmp_path / "a.tiff", texture(600, 700), **JPEG_RGB)
    with both(path) as (slow, fast):
        assert_same_pixels(slow, fast)
        assert fast._backend._tiles._layouts == {}


def test_glass_does_not_stand_for_tissue_in_the_comparison(tmp_path, monkeypatch):
    """A decoder that differs in detail alone is noticed at the first tile with any."""
    original, rgb = tiff_tiles._decode, texture(512, 2048)
    rgb[:, :1536] = 242
    monkeypatch.setattr(
        tiff_tiles, "_decode", lambda data, layout: (tile := original(data, layout)) ^ np.uint8(np.ptp(tile) > 100)
    )
    path = write(tmp_path / "a.tiff", rgb, **JPEG_RGB)
    with both(path) as (slow, fast):
        assert np.array_equal(fast._backend.region(0, 0, 0, 2048, 512), slow._backend.region(0, 0, 0, 2048, 512))


@pytest.mark.parametrize("seed", range(6))
def test_damaged_tiles(tmp_path, seed):
    """Whatever OpenSlide says of a damaged tile is said."""
    path = write(
        tmp_path / "a.tiff", texture(256, 2048), encode=jpeg("rgb", "420"), photometric="rgb", compression="jpeg"
    )
    with tifffile.TiffFile(path) as file:
        stored = list(zip(file.pages[0].dataoffsets, file.pages[0].databytecounts, strict=True))
    random, data = np.random.default_rng(seed), bytearray(path.read_bytes())
    for start, length in stored[3:]:
        for _ in range(3):
            data[start + int(random.integers(length))] ^= 1 << int(random.integers(8))
    path.write_bytes(data)

    def outcome(slide, x):
        try:
            return slide._backend.region(x, 0, 0, 256, 256).tobytes()
        except SlideError as error:
            return error.reason

    # OpenSlide keeps an error for good: each tile is read by a slide that is opened anew.
    for x in range(0, 2048, 256):
        with both(path) as (slow, fast):
            for whole in (0, 256):
                outcome(fast, whole)
            assert outcome(fast, x) == outcome(slow, x)


class TestRealSlides:
    @pytest.mark.parametrize(
        "path", sorted([*(REAL_DATA / "slides").glob("*.svs"), *(REAL_DATA.parent / "cases" / "slides").glob("*.tif")])
    )
    def test_same_pixels(self, path):
        try:
            slow = open_slide(path, 0.5, reader="openslide")
        except SlideError:
            pytest.skip("OpenSlide does not read it")
        with slow, open_slide(path, 0.5) as fast:
            assert_same_pixels(slow, fast, decoded=getattr(fast._backend, "_tiles", None) is not None)

    def test_an_aperio_slide_is_decoded_so(self):
        with open_slide(real_file("cmu-1-small-region.svs")) as slide:
            assert list(slide._backend._tiles._layouts) == [0]
