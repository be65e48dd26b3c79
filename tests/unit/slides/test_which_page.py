"""Which of a file's images is the slide, and files of which only a preview is there."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image
from sections import tile
from slide_files import GLASS, reason_of
from small_cases import shared_case

from ksfusion.core.parquet import read_parquet
from ksfusion.slides import SlideError, open_slide
from ksfusion.slides.reading.openslide_backend import OpenSlideBackend
from ksfusion.slides.reading.tiffslide_backend import TiffSlideBackend

# 640 x 448 px of colours that differ from px to px, so that a shift or another scale shows.
SLIDE = np.stack(np.meshgrid(np.arange(640) % 250, np.arange(448) % 250), axis=-1).astype(np.uint8)
SLIDE = np.concatenate([SLIDE, 255 - SLIDE[..., :1]], axis=2)
HALF = SLIDE.reshape(224, 2, 320, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
LABEL = np.full((160, 130, 3), (20, 90, 200), np.uint8)
PREVIEW = np.ascontiguousarray(SLIDE[::4, ::4])
SCALE = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}


def write_pages(path, *pages):
    """Write pages of (pixels, options), one after the other."""
    with tifffile.TiffWriter(path) as file:
        for pixels, options in pages:
            file.write(pixels, photometric="rgb", metadata=None, **{"compression": "deflate"} | options)
    return path


def tiled(**options):
    return {"tile": (64, 64), **options}


def assert_is_the_slide(path, reader="auto", mpp=None):
    with open_slide(path, mpp, reader=reader) as slide:
        assert slide.dimensions == (640, 448)
        assert np.array_equal(slide.read(40, 24, 200, slide.mpp), SLIDE[24:224, 40:240])
        return slide.level_mpp, type(slide._backend)


class TestPreviewFirst:
    @pytest.mark.parametrize("reader", ["auto", "tiffslide", "image"])
    @pytest.mark.parametrize("flag", [0, 1])
    @pytest.mark.parametrize("layout", [{}, {"tile": (64, 64)}])
    def test_the_largest_page_is_the_slide(self, tmp_path, reader, flag, layout):
        path = write_pages(tmp_path / "a.tif", (PREVIEW, {"subfiletype": flag}), (SLIDE, {**layout, **SCALE}))
        assert_is_the_slide(path, reader)
        with open_slide(path) as slide:
            assert (slide.mpp, slide.mpp_source) == (pytest.approx(0.5), "resolution_tag")

    @pytest.mark.parametrize("scale", [{}, SCALE])
    def test_both_in_tiles_with_levels(self, tmp_path, scale):
        """OpenSlide would take the first page and its like: the preview."""
        pages = [(PREVIEW, tiled()), (SLIDE, tiled(**scale)), (HALF, tiled(subfiletype=1))]
        path = write_pages(tmp_path / "a.tif", *pages)
        levels, backend = assert_is_the_slide(path, mpp=0.5)
        assert levels == (0.5, 1.0) and backend is TiffSlideBackend
        with pytest.raises(SlideError, match=r"page 2 is the slide.*set slides.reader to auto"):
            open_slide(path, 0.5, reader="openslide")

    def test_of_two_sizes_both_flagged(self, tmp_path):
        pages = [(HALF, tiled(subfiletype=1, **SCALE)), (SLIDE, tiled(subfiletype=1, **SCALE))]
        assert assert_is_the_slide(write_pages(tmp_path / "a.tif", *pages))[0][0] == pytest.approx(0.5)

    def test_cut_off_before_the_slide(self, tmp_path):
        """The preview is whole, and the list of pages leads beyond the end."""
        path = write_pages(tmp_path / "a.tif", (PREVIEW, {}), (SLIDE, tiled(**SCALE)))
        with tifffile.TiffFile(path) as file:
            end = file.pages[1].offset
        path.write_bytes(path.read_bytes()[:end])
        assert reason_of(path, 0.5) == "truncated"

    def test_the_case(self):
        with open_slide(shared_case("slides/preview-page-first.tif"), 0.25) as slide:
            assert slide.dimensions == (6400, 3900)


class TestLevels:
    @pytest.mark.parametrize("reader", ["auto", "openslide", "tiffslide"])
    def test_a_label_is_none(self, tmp_path, reader):
        pages = [(SLIDE, tiled(**SCALE)), (HALF, tiled(subfiletype=1)), (LABEL, tiled(subfiletype=1))]
        levels, _ = assert_is_the_slide(write_pages(tmp_path / "a.tif", *pages), reader)
        assert levels == pytest.approx((0.5, 1.0))

    @pytest.mark.parametrize("sides", [(320, 224), (213, 149), (214, 150), (91, 64), (9, 6)])
    def test_rounded_sides_are_one(self, tmp_path, sides):
        level = np.full((sides[1], sides[0], 3), 99, np.uint8)
        path = write_pages(tmp_path / "a.tif", (SLIDE, tiled(**SCALE)), (level, tiled(subfiletype=1)))
        with open_slide(path) as slide:
            assert len(slide.level_mpp) == 2 and isinstance(slide._backend, OpenSlideBackend)
            assert (slide.read(0, 0, 4, slide.level_mpp[1]) == 99).all()

    @pytest.mark.parametrize("sides", [(320, 240), (330, 224), (130, 160)])
    def test_other_proportions_are_none(self, tmp_path, sides):
        page = np.zeros((sides[1], sides[0], 3), np.uint8)
        path = write_pages(tmp_path / "a.tif", (SLIDE, tiled(**SCALE)), (page, tiled(subfiletype=1)))
        assert len(assert_is_the_slide(path)[0]) == 1

    def test_two_pages_of_its_size_are_refused(self, tmp_path):
        path = write_pages(tmp_path / "a.tif", (SLIDE, tiled(**SCALE)), (SLIDE[::-1].copy(), tiled(**SCALE)))
        for reader in ("auto", "openslide", "tiffslide", "image"):
            with pytest.raises(SlideError, match="2 pages of one size") as caught:
                open_slide(path, reader=reader)
            assert caught.value.reason == "unreadable"

    def test_the_case(self, tmp_path):
        """Its tissue is two squares of 1024 px, of 22 tiles each; with the label as a level 72 were found."""
        path = shared_case("slides/label-among-levels.tif")
        (tmp_path / "samples.tsv").write_text(f"sample_id\tslide_id\tslide\tmpp\na\ta\t{path}\t\n")
        tile(tmp_path / "samples.tsv", tmp_path / "tiles.parquet")
        assert len(read_parquet(tmp_path / "tiles.parquet")) == 44


class TestPagesThatNoLevelUses:
    @pytest.mark.parametrize("label", ["damaged", "sixteen bits", "beyond the end"])
    def test_are_not_judged(self, tmp_path, label):
        pixels = LABEL.astype(np.uint16) if label == "sixteen bits" else LABEL
        path = write_pages(tmp_path / "a.tif", (SLIDE, tiled(**SCALE)), (pixels, {"subfiletype": 1}))
        with tifffile.TiffFile(path, mode="r+b") as file:
            page = file.pages[1]
            if label == "beyond the end":
                page.tags["StripOffsets"].overwrite(10**6)
            elif label == "damaged":
                file.filehandle.seek(page.dataoffsets[0])
                file.filehandle.write(bytes(page.databytecounts[0]))
        assert_is_the_slide(path)

    def test_a_level_is(self, tmp_path):
        path = write_pages(tmp_path / "a.tif", (SLIDE, tiled(**SCALE)), (HALF, tiled(subfiletype=1)))
        with tifffile.TiffFile(path, mode="r+b") as file:
            tag = file.pages[1].tags["TileOffsets"]
            tag.overwrite([10**6] * tag.count)
        assert reason_of(path) == "truncated"


def jpeg(rgb):
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "JPEG")
    return data.getvalue()


class TestPreviewsAlone:
    @pytest.mark.parametrize("reader", ["auto", "openslide", "tiffslide", "image"])
    def test_mirax(self, tmp_path, reader):
        path = tmp_path / "a.mrxs"
        path.write_bytes(jpeg(PREVIEW))
        with pytest.raises(SlideError, match=rf"{tmp_path}/a with its pixels is missing, copy it") as caught:
            open_slide(path, 0.5, reader=reader)
        assert caught.value.reason == "unreadable"
        (tmp_path / "a").mkdir()
        with pytest.raises(SlideError, match=r"a/Slidedat\.ini with its pixels is missing"):
            open_slide(path, 0.5, reader=reader)

    @pytest.mark.parametrize("name", ["a.vsi", "A.VSI"])
    def test_olympus(self, tmp_path, name):
        path = write_pages(tmp_path / name, (PREVIEW, {}))
        folder = tmp_path / f"_{path.stem}_"
        with pytest.raises(SlideError, match=f"{folder} with its pixels is missing; no reader would know it; convert"):
            open_slide(path, 0.5)
        folder.mkdir()
        with pytest.raises(SlideError, match=f"{folder} with its pixels no reader knows; convert"):
            open_slide(path, 0.5)

    @pytest.mark.parametrize("name", ["slide.mrxs", "slide.vsi"])
    def test_the_cases(self, name):
        path = shared_case(f"slides/{name}")
        folder = {"slide.mrxs": "slide", "slide.vsi": "_slide_"}[name]
        with pytest.raises(SlideError, match=f"{path.parent}/{folder} with its pixels is missing") as caught:
            open_slide(path, 0.5)
        assert caught.value.reason == "unreadable"


class TestContent:
    @pytest.mark.parametrize(
        ("head", "name"),
        [
            (b"II*\0" + bytes(124) + b"DICM", "DICOM"),  # which may begin like a TIFF
            (b"\xda\xce\xbe\x0a", "Nikon ND2"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"PK\x03\x04", "ZIP"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        ],
    )
    @pytest.mark.parametrize("suffix", [".svs", ".tif", ".png"])
    def test_a_container_that_no_reader_knows_is_named(self, tmp_path, head, name, suffix):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(head + bytes(4096))
        with pytest.raises(SlideError, match=f"is .*{name}.*which no reader knows; convert") as caught:
            open_slide(path, 0.5)
        assert caught.value.reason == "unreadable"

    def test_a_tiff_is_one_whatever_its_name(self, tmp_path):
        pages = [(PREVIEW, {}), (SLIDE, tiled(**SCALE)), (HALF, tiled(subfiletype=1))]
        assert len(assert_is_the_slide(write_pages(tmp_path / "a.png", *pages))[0]) == 2

    def test_a_png_is_one_whatever_its_name(self, tmp_path):
        Image.fromarray(SLIDE).save(tmp_path / "a.svs", "PNG")
        assert_is_the_slide(tmp_path / "a.svs", mpp=0.5)

    @pytest.mark.parametrize("kind", ["BMP", "GIF", "WEBP", "EPS"])
    def test_pictures_of_other_kinds_are_refused(self, tmp_path, kind):
        Image.fromarray(PREVIEW).save(tmp_path / "a.png", kind)
        assert reason_of(tmp_path / "a.png", 0.5) == "unreadable"

    def test_what_has_no_end_is_no_slide(self):
        with pytest.raises(SlideError, match="/dev/zero: is a device; name the slide file") as caught:
            open_slide("/dev/zero", 0.5)
        assert caught.value.reason == "unreadable"

    def test_a_list_of_pages_that_runs_in_a_circle(self, tmp_path):
        path = write_pages(tmp_path / "a.tif", (SLIDE, tiled(**SCALE)), (HALF, tiled(subfiletype=1)))
        data = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            first, second = file.pages[0], file.pages[1]
        position = second.offset + 2 + 12 * len(second.tags)
        struct.pack_into("<L", data, position, first.offset)
        path.write_bytes(data)
        with pytest.raises(SlideError, match="its list of pages runs in a circle") as caught:
            open_slide(path)
        assert caught.value.reason == "unreadable"


def test_the_scanned_part_of_a_canvas():
    """The case's header puts 2560 x 1792 px at (2000, 4000) of a glass of 10,000 px a side."""
    path = shared_case("slides/bounds.scn")
    for reader in ("openslide", "tiffslide"):
        with open_slide(path, reader=reader) as slide:
            assert slide.bounds == (2000, 4000, 2560, 1792) and slide.dimensions == (10_000, 10_000)
            assert slide.read(2000, 4000, 100, 0.5).mean(axis=(0, 1)) == pytest.approx(GLASS, abs=8)
