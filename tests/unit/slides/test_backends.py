"""Odd pixels, compressions and paths: read as they should be, or a slide with a reason."""

import contextlib
import errno
import os
import pickle
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from slide_files import plain, reason_of, write_slide

from ksfusion import plan
from ksfusion.core.errors import UserError
from ksfusion.preflight import inputs, named_files
from ksfusion.preflight.parsing import parse_config
from ksfusion.slides import SlideError, open_slide
from ksfusion.slides.reading.slide_files import SlideSource, file_size, is_readable
from ksfusion.slides.reading.tiffslide_backend import TiffSlideBackend
from ksfusion.slides.reading.workers import WorkerCrashed
from ksfusion.slides.tiles.mask_files import mask_problems

NOISE = np.random.default_rng(0).integers(60, 256, (512, 512, 3), dtype=np.uint8)
ODD = {
    "two channels": NOISE[..., :2],
    "five channels": np.concatenate([NOISE, NOISE[..., :2]], axis=2),
    "sixteen bits": NOISE.astype(np.uint16) * 257,
    "float": NOISE.astype(np.float32) / 255,
    "one bit": NOISE[..., 0] > 128,
}


def write(path, pixels, **options):
    kind = "rgb" if pixels.ndim == 3 and pixels.shape[2] in (3, 4) else "minisblack"
    layout = {"photometric": kind, "planarconfig": "contig"} if pixels.ndim == 3 else {"photometric": kind}
    scale = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, tile=(256, 256), **layout, **scale, **options)
    return path


@pytest.fixture
def opened():
    """Open slides that are closed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(open_slide(*arguments, **options))


class TestPixels:
    @pytest.mark.parametrize("reader", ["auto", "openslide", "tiffslide"])
    @pytest.mark.parametrize("kind", ODD)
    def test_other_than_8_bit_colours_are_refused(self, tmp_path, kind, reader):
        path = write(tmp_path / "a.tiff", ODD[kind], compression="zstd")
        assert reason_of(path, reader=reader) == "unreadable"

    def test_the_message_names_what_they_are(self, tmp_path):
        with pytest.raises(SlideError, match=r"3 x uint16 a pixel; convert the image to 8-bit RGB"):
            open_slide(write(tmp_path / "a.tiff", ODD["sixteen bits"]))
        tifffile.imwrite(tmp_path / "b.tiff", NOISE, tile=(256, 256), photometric="cielab", compression="zstd")
        with pytest.raises(SlideError, match=r"CIELAB pixels; convert"):
            open_slide(tmp_path / "b.tiff", 0.5, reader="tiffslide")

    @pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
    def test_grey_is_read(self, tmp_path, opened, reader):
        slide = opened(write(tmp_path / "a.tiff", NOISE[..., 0], compression="deflate"), reader=reader)
        assert np.array_equal(slide.read(0, 0, 224, 0.5), NOISE[:224, :224, :1].repeat(3, axis=2))

    @pytest.mark.parametrize(
        ("compression", "options"), [("lzma", {}), ("jpeg2000", {"level": 0}), ("webp", {"lossless": True})]
    )
    def test_compressions_that_openslide_does_not_know(self, tmp_path, opened, compression, options):
        path = write(tmp_path / "a.tiff", NOISE, compression=compression, compressionargs=options)
        slide = opened(path)
        assert isinstance(slide._backend, TiffSlideBackend)
        assert np.array_equal(slide.read(100, 50, 224, 0.5), NOISE[50:274, 100:324])
        assert reason_of(path, reader="openslide") == "unreadable"

    @pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
    @pytest.mark.parametrize("compression", ["jpeg", "deflate"])
    def test_tiles_that_are_not_stored_are_white(self, tmp_path, opened, reader, compression):
        path = write(tmp_path / "a.tiff", NOISE, compression=compression)
        with tifffile.TiffFile(path, mode="r+b") as file:
            page = file.pages[0]
            for tag, values in (("TileOffsets", page.dataoffsets), ("TileByteCounts", page.databytecounts)):
                page.tags[tag].overwrite([0, *values[1:]])
        patch = opened(path, reader=reader).read(128, 0, 224, 0.5)
        assert (patch[:, :128] == 255).all() and (patch[:, 128:] < 255).any()

    def test_a_level_is_read_at_the_nearest_pixel(self, tmp_path, opened):
        # Columns of level 1, four px of level 0 wide, have the grey value 10 + their number.
        columns = (10 + np.arange(128, dtype=np.uint8))[None, :, None].repeat(128, 0).repeat(3, 2)
        with tifffile.TiffWriter(tmp_path / "a.tiff") as file:
            for level, pixels in enumerate([columns.repeat(4, 0).repeat(4, 1), columns]):
                scale = 4e4 / 4**level
                options = {"resolution": (scale, scale), "resolutionunit": "CENTIMETER", "subfiletype": level}
                file.write(pixels, tile=(64, 64), photometric="rgb", metadata=None, compression="deflate", **options)
        slide = opened(tmp_path / "a.tiff", reader="tiffslide")
        # x in level-0 px: 40 is the corner of column 10, 41 is nearest to it, 43 to column 11.
        assert [slide.read(x, 0, 16, 1.0)[0, 0, 0] for x in (40, 41, 43, 44)] == [20, 20, 21, 21]


class TestProfiles:
    def test_one_that_is_not_rgb_is_passed_over(self, tmp_path, opened, caplog):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        Image.fromarray(plain(300, 300)).save(tmp_path / "a.png", icc_profile=profile)
        assert np.array_equal(opened(tmp_path / "a.png", 0.5, icc="srgb").read(0, 0, 224, 0.5), plain(224, 224))
        assert "not one of RGB" in caplog.text


def forbid(monkeypatch, name):
    """Let the operating system refuse a folder, as it would anybody but root."""
    original = os.stat

    def refuse(path, **options):
        if Path(os.fsdecode(path)).name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, **options)

    monkeypatch.setattr(os, "stat", refuse)


class TestPaths:
    @pytest.mark.parametrize("path", ["a" * 300 + ".svs", "x/" * 3000 + "a.svs"])
    def test_a_name_too_long(self, path):
        assert reason_of(path, 0.5) in ("unreadable", "missing_file")
        assert not is_readable(path) and file_size(path) is None and SlideSource(path, None).size() is None

    def test_of_no_file_system(self):
        assert reason_of("a\0b.svs") == "missing_file"
        assert not is_readable("a\0b.svs") and file_size("a\0b.svs") is None

    def test_a_folder_without_permission(self, tmp_path, monkeypatch):
        write_slide(tmp_path / "a.tiff", plain(300, 300), 0.5)
        forbid(monkeypatch, "a.tiff")
        assert reason_of(tmp_path / "a.tiff") == "unreadable"
        assert file_size(tmp_path / "a.tiff") is None

    @pytest.mark.parametrize(
        ("block", "values", "find", "key"),
        [
            (
                "slides",
                {"masks": "."},
                lambda config, source: mask_problems(config.slides.masks, source),
                "slides.masks",
            ),
            ("features", {"source": "precomputed", "path": "."}, inputs._feature_problems, "features.path"),
        ],
    )
    def test_a_folder_that_may_not_be_read(self, monkeypatch, block, values, find, key):
        expression = {"cohort": "C", "format": "matrix", "unit": "log", "path": "x.tsv"}
        cohort = {"samples": "s.tsv", "cases": "c.tsv", "expression": [expression]}
        config = parse_config({"cohort": cohort, block: values}, source="mine.yaml")
        assert find(config, "mine.yaml") == []
        monkeypatch.setattr("os.access", lambda *_: False)
        (line,) = find(config, "mine.yaml")
        assert line.startswith(f"mine.yaml: {key}: . is not a folder that can be read; ")

    def test_the_plan_asks_the_same(self):
        assert named_files.is_readable is is_readable and named_files.file_size is file_size
        assert plan.Plan.slide_size is named_files.NamedFiles.slide_size and not hasattr(plan, "file_size")

    @pytest.mark.parametrize(("address", "package"), [("s3://bucket/a.tiff", "s3fs"), ("gs://bucket/a.tiff", "gcsfs")])
    def test_an_address_whose_package_is_not_there(self, address, package):
        pytest.importorskip("fsspec")
        with pytest.raises(UserError, match=f"{address}: .* is read with the package {package}; install it"):
            open_slide(address, 0.5)


def test_an_error_keeps_what_is_known(tmp_path):
    with pytest.raises(SlideError) as caught:
        open_slide(write_slide(tmp_path / "a.tiff", plain(300, 300), (0.5, 0.6)))
    assert caught.value.reason == "implausible_mpp"
    assert caught.value.known == {"mpp": pytest.approx(0.55), "mpp_source": "resolution_tag"}


@pytest.mark.parametrize(
    "error", [SlideError("timeout", "late"), SlideError("too_large", "big", {"mpp": 0.1}), WorkerCrashed()]
)
def test_an_error_comes_whole_out_of_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.reason, str(again), again.known) == (error.reason, str(error), error.known)


def write_sparse(path, mpp, side=1_000_000, tile=4096):
    """Write a BigTIFF of consistent tags whose tiles all are not stored."""
    n_tiles = (-(-side // tile)) ** 2
    scale = struct.pack("<II", round(1e7 / mpp), 1000)
    tags = [(256, 4, side), (257, 4, side), (258, 3, (8, 8, 8)), (259, 3, 7), (262, 3, 6), (277, 3, 3), (282, 5, scale)]
    tags += [
        (283, 5, scale),
        (284, 3, 1),
        (296, 3, 3),
        (322, 4, tile),
        (323, 4, tile),
        (324, 16, None),
        (325, 16, None),
    ]
    table = 24 + 20 * len(tags) + 8
    with path.open("wb") as file:
        file.write(b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(tags)))
        for tag, kind, value in tags:
            count = n_tiles if value is None else len(value) if isinstance(value, tuple) else 1
            if value is None:
                value = struct.pack("<Q", table)
            elif isinstance(value, tuple):
                value = struct.pack("<HHHH", *value, 0)
            elif isinstance(value, int):
                value = struct.pack("<Q", value)
            file.write(struct.pack("<HHQ", tag, kind, count) + value)
        file.truncate(table + 8 * n_tiles)  # offsets and lengths of zero
    return path


@pytest.mark.parametrize("reader", ["auto", "openslide", "tiffslide"])
@pytest.mark.parametrize("mpp", [0.1, 0.25, 0.5])
def test_a_million_pixels_a_side_with_nothing_behind_them(tmp_path, mpp, reader):
    path = write_sparse(tmp_path / "a.tiff", mpp)
    started = time.monotonic()
    with pytest.raises(SlideError, match=r"1,000,000 x 1,000,000 px of .* um are larger than any slide") as caught:
        open_slide(path, reader=reader)
    assert caught.value.reason == "too_large" and caught.value.known["mpp"] == pytest.approx(mpp)
    assert time.monotonic() - started < 30


def test_the_largest_glass_slides_are_read(tmp_path):
    # 62.2 and 63.2 mm a side: 60.5 and 62.5 million px at 8 um; two slides of 76 x 26 mm have 61.8 million.
    path = write_sparse(tmp_path / "a.tiff", 0.5, side=124_500)
    with open_slide(path) as slide:
        assert slide.dimensions == (124_500, 124_500)
    with pytest.raises(SlideError, match="larger than any slide"):
        open_slide(write_sparse(tmp_path / "b.tiff", 0.5, side=126_500))
