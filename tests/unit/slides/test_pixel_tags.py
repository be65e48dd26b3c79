"""What tags say of pixels: honoured, or refused by name; and the scale in OME-XML."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from sections import tile
from slide_files import reason_of
from small_cases import shared_case

from ksfusion.core.parquet import read_parquet
from ksfusion.slides import SlideError, open_slide
from ksfusion.slides.reading.openslide_backend import OpenSlideBackend
from ksfusion.slides.reading.tiffslide_backend import TiffSlideBackend

RGB = np.stack(np.meshgrid(np.arange(320) % 240, np.arange(256) % 240), axis=-1).astype(np.uint8)
RGB = np.concatenate([RGB, 255 - RGB[..., :1]], axis=2)
SCALE = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
TILES = {"tile": (64, 64)}
READERS = ("auto", "openslide", "tiffslide", "image")
# What is seen of a picture whose tag of orientation has these values.
TURNED = {
    2: RGB[:, ::-1],
    3: RGB[::-1, ::-1],
    4: RGB[::-1],
    5: RGB.swapaxes(0, 1),
    6: np.rot90(RGB, -1),
    7: RGB[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(RGB),
}


def write(path, pixels, **options):
    tifffile.imwrite(
        path, pixels, **{"photometric": "rgb", "compression": "deflate", "metadata": None} | SCALE | options
    )
    return path


def read(path, reader="auto", mpp=None, sides=(320, 256)):
    with open_slide(path, mpp, reader=reader) as slide:
        assert slide.dimensions == sides
        return slide._backend.region(0, 0, 0, *sides)


def refusal(path, reader="auto", mpp=None):
    with pytest.raises(SlideError) as caught:
        open_slide(path, mpp, reader=reader)
    assert caught.value.reason == "unreadable"
    return str(caught.value)


class TestOrientation:
    @pytest.mark.parametrize("tag", TURNED)
    def test_is_honoured_in_a_plain_image(self, tmp_path, tag):
        path = write(tmp_path / "a.tif", RGB, extratags=[(274, 3, 1, tag, True)])
        upright = TURNED[tag]
        assert np.array_equal(read(path, sides=upright.shape[1::-1]), upright)

    @pytest.mark.parametrize("name", ["a.jpg", "a.png"])
    @pytest.mark.parametrize("tag", [3, 6])
    def test_is_honoured_in_exif(self, tmp_path, name, tag):
        exif = Image.Exif()
        exif[274] = tag
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / name, exif=exif)
        with open_slide(tmp_path / name, 0.5) as slide:
            assert slide.dimensions == ((60, 40) if tag == 3 else (40, 60))

    @pytest.mark.parametrize("tag", TURNED)
    @pytest.mark.parametrize("reader", ["auto", "openslide", "tiffslide"])
    def test_is_refused_of_tiles(self, tmp_path, reader, tag):
        """OpenSlide turns each tile in its place, tiffslide none."""
        path = write(tmp_path / "a.tif", RGB, **TILES, extratags=[(274, 3, 1, tag, True)])
        assert "its tag of orientation says" in refusal(path, reader)

    def test_of_a_scanner_is_refused_too(self, tmp_path):
        about = "Aperio Image Library v1\n320x256|MPP = 0.5"
        tag = (274, 3, 1, 3, True)
        path = write(tmp_path / "a.svs", RGB, **TILES, compression="jpeg", description=about, extratags=[tag])
        assert "turned by 180 degrees; convert" in refusal(path)

    def test_upright_is_read(self, tmp_path):
        path = write(tmp_path / "a.tif", RGB, **TILES, extratags=[(274, 3, 1, 1, True)])
        assert np.array_equal(read(path), RGB)


class TestDepth:
    @pytest.mark.parametrize("layout", [{}, TILES])
    @pytest.mark.parametrize("kind", ["uint16", "int16", "float32"])
    def test_more_than_8_bits_are_refused_in_any_layout(self, tmp_path, layout, kind):
        """Pillow takes the upper 8 bits of 16 without a word: those of 12-bit values are black."""
        path = write(tmp_path / "a.tif", (RGB.astype(np.float64) * 16).astype(kind), **layout)
        for reader in READERS:
            assert reason_of(path, reader=reader) == "unreadable"
        assert f"3 x {kind} a pixel; convert the image to 8-bit RGB" in refusal(path)

    def test_signed_numbers_are_refused(self, tmp_path):
        path = write(tmp_path / "a.tif", RGB[..., 0].view(np.int8), photometric="minisblack")
        assert "1 x int8 a pixel" in refusal(path)

    def test_a_png_of_16_bits_is_refused(self, tmp_path):
        cv2.imwrite(str(tmp_path / "a.png"), RGB.astype(np.uint16) * 16)
        assert "RGB;16B pixels; convert the image to 8-bit RGB" in refusal(tmp_path / "a.png", mpp=0.5)

    def test_of_a_scanner_are_refused_too(self, tmp_path):
        about = "Aperio Image Library v1\n320x256|MPP = 0.5"
        path = write(tmp_path / "a.svs", RGB.astype(np.uint16), **TILES, description=about)
        assert "3 x uint16 a pixel" in refusal(path)


class TestColours:
    @pytest.mark.parametrize("compression", ["none", "deflate", "zstd"])
    @pytest.mark.parametrize("layout", [{}, TILES])
    def test_planes_within_a_page(self, tmp_path, compression, layout):
        path = write(
            tmp_path / "a.tif", np.moveaxis(RGB, 2, 0), planarconfig="separate", compression=compression, **layout
        )
        assert np.array_equal(read(path), RGB)
        assert "planes of one colour" in refusal(path, "tiffslide")

    @pytest.mark.parametrize("channels", [3, 4])
    @pytest.mark.parametrize("reader", ["auto", "openslide", "tiffslide"])
    def test_channels_that_are_not_said_to_be_colours(self, tmp_path, channels, reader):
        pixels = np.concatenate([RGB, RGB], axis=2)[..., :channels]
        path = write(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig", **TILES)
        assert f"MINISBLACK pixels of {channels} channels" in refusal(path, reader)

    @pytest.mark.parametrize("reader", ["auto", "tiffslide"])
    @pytest.mark.parametrize(
        ("alpha", "backend"), [("unassalpha", OpenSlideBackend), ("unspecified", TiffSlideBackend)]
    )
    def test_a_fourth_channel_is_what_its_tag_says(self, tmp_path, reader, alpha, backend):
        """Half transparent on white; or without a meaning, which OpenSlide takes for transparency."""
        pixels = np.concatenate([RGB, np.full_like(RGB[..., :1], 128)], axis=2)
        path = write(tmp_path / "a.tif", pixels, extrasamples=[alpha], **TILES)
        expected = (RGB * 128.0 + 255 * 127) / 255 if alpha == "unassalpha" else RGB
        assert np.abs(read(path, reader) - expected).max() <= (1.01 if alpha == "unassalpha" else 0)
        if reader == "auto":
            with open_slide(path) as slide:
                assert isinstance(slide._backend, backend)

    @pytest.mark.parametrize("reader", ["auto", "tiffslide"])
    def test_colours_that_are_multiplied_by_transparency(self, tmp_path, reader):
        pixels = np.concatenate([RGB // 2, np.full_like(RGB[..., :1], 128)], axis=2)
        path = write(tmp_path / "a.tif", pixels, extrasamples=["assocalpha"], **TILES)
        assert np.abs(read(path, reader) - (RGB // 2 + 127.0)).max() <= 1.01


def write_ome(path, planes, *, names=("R", "G", "B"), colours=None, tiles=TILES, axes="CYX", **about):
    """Write grey planes as an OME-TIFF."""
    about = {"axes": axes, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25} | about
    if axes == "CYX":
        about["Channel"] = {"Name": list(names)} if names else {"Color": list(colours)}
    tifffile.imwrite(path, planes, ome=True, photometric="minisblack", compression="deflate", metadata=about, **tiles)
    return path


class TestPlanes:
    @pytest.mark.parametrize("order", ["RGB", "BGR", "GRB"])
    @pytest.mark.parametrize("tiles", [TILES, {}])
    def test_red_green_and_blue_are_honoured(self, tmp_path, order, tiles):
        planes = np.stack([RGB[..., "RGB".index(letter)] for letter in order])
        path = write_ome(tmp_path / "a.ome.tif", planes, names=order, tiles=tiles)
        for reader in ("auto", "tiffslide"):
            assert np.array_equal(read(path, reader), RGB)
        for reader in ("openslide", "image"):
            assert reason_of(path, reader=reader) == "unreadable"

    def test_by_the_words_and_by_the_colours_they_are_shown_in(self, tmp_path):
        planes = np.moveaxis(RGB, 2, 0)
        for number, (names, colours) in enumerate(
            [(("red", "Green", "BLUE"), None), (None, (-16776961, 16711935, 65535))]
        ):
            path = write_ome(tmp_path / f"{number}.ome.tif", planes, names=names, colours=colours)
            assert np.array_equal(read(path), RGB)

    @pytest.mark.parametrize("names", [("DAPI", "FITC", "Cy5"), ("R", "G", "IR"), ("R", "R", "B")])
    def test_others_are_refused_by_name(self, tmp_path, names):
        path = write_ome(tmp_path / "a.ome.tif", np.moveaxis(RGB, 2, 0), names=names)
        for reader in READERS:
            assert f"3 channels apart ({', '.join(names)}) in 3 pages; convert" in refusal(path, reader)

    def test_fluorescence_shown_in_these_colours_is_no_picture_in_them(self, tmp_path):
        path = write_ome(tmp_path / "a.ome.tif", np.moveaxis(RGB, 2, 0), names=("TRITC", "FITC", "DAPI"))
        assert "3 channels apart (TRITC, FITC, DAPI)" in refusal(path)

    def test_stacks_are_refused(self, tmp_path):
        path = write_ome(tmp_path / "a.ome.tif", np.moveaxis(RGB, 2, 0), axes="ZYX")
        assert "a stack of 3 depths and 1 times" in refusal(path)
        tifffile.imwrite(tmp_path / "b.tif", np.moveaxis(RGB, 2, 0), photometric="minisblack", **TILES, **SCALE)
        assert "3 pages of one size" in refusal(tmp_path / "b.tif")
        tifffile.imwrite(tmp_path / "c.tif", np.moveaxis(RGB, 2, 0), imagej=True, metadata={"axes": "CYX"})
        assert "3 pages of one size" in refusal(tmp_path / "c.tif", mpp=0.5)

    def test_a_channel_in_another_file(self, tmp_path):
        """A part of a picture is none: two of its three planes are elsewhere."""
        path = write_ome(tmp_path / "a.ome.tif", np.moveaxis(RGB, 2, 0))
        with tifffile.TiffFile(path) as file:
            about = file.ome_metadata
        part = tmp_path / "b.ome.tif"
        tifffile.imwrite(part, RGB[..., 0], photometric="minisblack", metadata=None, description=about, **TILES)
        assert "3 channels apart (R, G, B) in 1 pages" in refusal(part)

    def test_the_case(self, tmp_path):
        """Its tissue is two squares of 1024 px, of 22 tiles each."""
        path = shared_case("slides/three-grey-channels.ome.tif")
        (tmp_path / "samples.tsv").write_text(f"sample_id\tslide_id\tslide\tmpp\na\ta\t{path}\t\n")
        tile(tmp_path / "samples.tsv", tmp_path / "tiles.parquet")
        tiles = read_parquet(tmp_path / "tiles.parquet")
        assert len(tiles) == 44 and set(tiles["mpp_source"]) == {"header"}
        with open_slide(path) as slide, open_slide(shared_case("slides/plain.tif")) as same:
            difference = slide.read(300, 400, 224, 0.5).astype(int) - same.read(300, 400, 224, 0.5)
        assert abs(difference.mean()) < 2 and np.abs(difference).mean() < 10


class TestScaleOfOme:
    @pytest.mark.parametrize("reader", ["auto", "openslide", "tiffslide"])
    @pytest.mark.parametrize(
        ("size", "unit"), [(0.25, None), (0.25, "\u00b5m"), (250, "nm"), (0.00025, "mm"), (0.000025, "cm")]
    )
    def test_is_a_source(self, tmp_path, reader, size, unit):
        units = {f"PhysicalSize{axis}Unit": unit for axis in "XY"} if unit else {}
        about = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeY": size} | units
        tifffile.imwrite(tmp_path / "a.ome.tif", RGB, ome=True, photometric="rgb", metadata=about, **TILES)
        with open_slide(tmp_path / "a.ome.tif", reader=reader) as slide:
            assert (slide.mpp, slide.mpp_source) == (pytest.approx(0.25), "header")

    def test_comes_before_the_resolution_tag_and_after_the_manifest(self, tmp_path):
        about = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
        path = tmp_path / "a.ome.tif"
        tifffile.imwrite(path, RGB, ome=True, photometric="rgb", metadata=about, **TILES, **SCALE)
        with open_slide(path) as slide, open_slide(path, 0.3) as given:
            assert slide.mpp == 0.25 and given.mpp == 0.3

    @pytest.mark.parametrize("unit", ["pixel", "reference frame"])
    def test_without_a_length_is_none(self, tmp_path, unit):
        about = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": unit}
        tifffile.imwrite(tmp_path / "a.ome.tif", RGB, ome=True, photometric="rgb", metadata=about, **TILES)
        assert reason_of(tmp_path / "a.ome.tif") == "missing_mpp"

    def test_of_a_plain_image(self, tmp_path):
        about = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
        tifffile.imwrite(tmp_path / "a.ome.tif", RGB, ome=True, photometric="rgb", metadata=about)
        with open_slide(tmp_path / "a.ome.tif") as slide:
            assert (slide.mpp, slide.mpp_source) == (0.25, "header")
