"""Slides at a physical scale: drawn files of known content, and the ways in which a file can be wrong."""

import contextlib
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from slide_files import GLASS, TISSUE, plain, real_file, reason_of, write_slide

from ksfusion.slides import open_slide
from ksfusion.slides.reading import image_backend
from ksfusion.slides.reading import slide as slide_module


@pytest.fixture
def opened():
    """Open slides that are closed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(open_slide(*arguments, **options))


def matrix_profile(colorants):
    """Write a display profile of three colorants (3, 3; columns red, green, blue in XYZ) and the curve of sRGB."""

    def fixed(values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed([2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045])
    white = b"XYZ " + bytes(4) + fixed([0.9642, 1.0, 0.8249])
    text = b"text" + bytes(4) + b"none\0"
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"cprt": text, b"desc": name, b"wtpt": white}
    for channel, column in zip(b"rgb", colorants.T, strict=True):
        tags[bytes([channel]) + b"XYZ"] = b"XYZ " + bytes(4) + fixed(column)
        tags[bytes([channel]) + b"TRC"] = curve
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", offset + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed([0.9642, 1.0, 0.8249])
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def write_aperio(path, rgb, description):
    tifffile.imwrite(
        path, rgb, tile=(256, 256), photometric="rgb", compression="jpeg", description=description, metadata=None
    )
    return path


class TestScale:
    def test_comes_from_the_manifest_first(self, tmp_path, opened):
        slide = opened(write_slide(tmp_path / "a.tiff", plain(512, 512), 0.25), 0.4)
        assert (slide.mpp, slide.mpp_source) == (0.4, "manifest")

    @pytest.mark.parametrize("reader", ["openslide", "tiffslide", "image"])
    def test_comes_from_the_resolution_tag(self, tmp_path, reader, opened):
        path = write_slide(tmp_path / "a.tiff", plain(600, 400), 0.25, compression="deflate")
        slide = opened(path, reader=reader)
        assert slide.mpp == pytest.approx(0.25, rel=1e-4)
        assert slide.mpp_source == "resolution_tag"
        assert slide.dimensions == (600, 400)

    def test_of_an_inch_tag(self, tmp_path, opened):
        path = tmp_path / "a.tiff"
        tifffile.imwrite(path, plain(300, 300), photometric="rgb", resolution=(50800, 50800), resolutionunit="INCH")
        assert opened(path).mpp == pytest.approx(0.5)

    def test_of_a_scanner_header(self, tmp_path, opened):
        path = write_aperio(tmp_path / "a.svs", plain(512, 512), "Aperio Image Library v1\n512x512|MPP = 0.46")
        slide = opened(path)
        assert (slide.mpp, slide.mpp_source) == (0.46, "header")

    def test_of_the_objective_is_the_last_resort_and_warns(self, tmp_path, caplog, opened):
        path = write_aperio(tmp_path / "a.svs", plain(512, 512), "Aperio Image Library v1\n512x512|AppMag = 40")
        slide = opened(path)
        assert (slide.mpp, slide.mpp_source) == (0.25, "objective_power")
        assert "objective power" in caplog.text

    def test_of_a_real_slide(self, opened):
        slide = opened(real_file("cmu-1-small-region.svs"))
        assert (slide.mpp, slide.mpp_source, slide.dimensions) == (0.499, "header", (2220, 2967))

    def test_missing(self, tmp_path):
        path = tmp_path / "a.png"
        Image.fromarray(plain(300, 300)).save(path, dpi=(72, 72))
        assert reason_of(path) == "missing_mpp"
        assert reason_of(path, float("nan")) == "missing_mpp"
        assert reason_of(write_slide(tmp_path / "b.tiff", plain(512, 512))) == "missing_mpp"

    @pytest.mark.parametrize("mpp", [0.09, 2.1, (0.25, 0.256)])
    def test_implausible(self, tmp_path, mpp):
        assert reason_of(write_slide(tmp_path / "a.tiff", plain(512, 512), mpp)) == "implausible_mpp"

    def test_nearly_square_pixels_will_do(self, tmp_path, opened):
        slide = opened(write_slide(tmp_path / "a.tiff", plain(512, 512), (0.25, 0.254)))
        assert slide.mpp == pytest.approx(0.252, rel=1e-3)


class TestRead:
    def test_at_the_slides_own_scale_is_the_slide(self, tmp_path, opened):
        rgb = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
        slide = opened(write_slide(tmp_path / "a.tiff", rgb, 0.5, compression="deflate"), reader="tiffslide")
        assert np.array_equal(slide.read(100, 50, 224, 0.5), rgb[50:274, 100:324])

    def test_averages_when_coarser(self, tmp_path, opened):
        # A chequerboard of single pixels is grey once two pixels make one.
        board = np.indices((512, 512)).sum(axis=0) % 2 * 255
        Image.fromarray(np.repeat(board[..., None], 3, 2).astype(np.uint8)).save(tmp_path / "a.png")
        slide = opened(tmp_path / "a.png", 0.25)
        assert np.abs(slide.read(0, 0, 224, 0.5).astype(int) - 127.5).max() < 1

    @pytest.mark.parametrize("mpp", [0.2462, 0.25, 0.499, 0.5])
    def test_shows_an_edge_where_it_is(self, tmp_path, mpp, opened):
        # Right half dark from 60 um on: pixel 120 of a patch at 0.5 um/px.
        rgb = plain(600, 600, (250, 250, 250))
        rgb[:, round(60 / mpp) :] = 10
        slide = opened(write_slide(tmp_path / "a.tiff", rgb, mpp))
        profile = slide.read(0, 0, 224, 0.5).mean(axis=(0, 2))
        assert abs(np.argmax(profile < 130) - 120) <= 1

    @pytest.mark.parametrize("reader", ["openslide", "tiffslide", "image"])
    def test_is_white_outside(self, tmp_path, reader, opened):
        slide = opened(write_slide(tmp_path / "a.tiff", plain(300, 300, (9, 9, 9)), 0.5), reader=reader)
        corner = slide.read(200, -50, 224, 0.5)
        assert (corner[:50] == 255).all() and (corner[:, 100:] == 255).all()
        assert corner[50:, :100].max() < 20
        assert (slide.read(5000, 5000, 224, 0.5) == 255).all()

    def test_is_white_under_alpha(self, tmp_path, opened):
        rgba = np.zeros((256, 256, 4), dtype=np.uint8)
        rgba[:, 128:, 3] = 255
        Image.fromarray(rgba).save(tmp_path / "a.png")
        patch = opened(tmp_path / "a.png", 0.5).read(0, 0, 224, 0.5)
        assert (patch[:, :128] == 255).all() and (patch[:, 128:] == 0).all()

    def test_uses_the_nearest_finer_level(self, tmp_path, opened):
        # Each level has a colour of its own.
        path = tmp_path / "a.tiff"
        with tifffile.TiffWriter(path) as file:
            for level, colour in enumerate([(200, 0, 0), (0, 200, 0), (0, 0, 200)]):
                options = (
                    {"resolution": (4e4, 4e4), "resolutionunit": "CENTIMETER"} if level == 0 else {"subfiletype": 1}
                )
                side = 1024 >> level
                file.write(plain(side, side, colour), tile=(256, 256), photometric="rgb", metadata=None, **options)
        slide = opened(path)
        strongest = [slide.read(0, 0, 64, mpp).mean(axis=(0, 1)).argmax() for mpp in (0.25, 0.49, 0.5, 0.9, 1.0, 4.0)]
        assert strongest == [0, 0, 1, 1, 2, 2]

    def test_thumbnail_covers_the_slide(self, tmp_path, opened):
        rgb = plain(3000, 2000, GLASS)
        rgb[800:1600, 1600:2400] = 0
        thumbnail = opened(write_slide(tmp_path / "a.tiff", rgb, 0.5)).thumbnail(8.0)
        dark = thumbnail.mean(axis=2) < 128
        assert dark.shape == (125, 188)  # 2000 and 3000 px of 0.5 um, at 8 um
        expected = np.zeros_like(dark)
        expected[50:100, 100:150] = True
        assert (dark == expected).mean() > 0.998


class TestColourProfile:
    @pytest.fixture
    def swapped(self):
        """Make a profile in which what is called red is green, and the other way about."""
        matrix = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7142]])[:, [1, 0, 2]]
        return matrix_profile(matrix)

    def test_of_srgb_changes_nothing(self, tmp_path, opened):
        rgb = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=profile)
        patch = opened(tmp_path / "a.png", 0.5, icc="srgb").read(0, 0, 224, 0.5)
        assert np.abs(patch.astype(int) - rgb[:224, :224]).max() <= 1

    @pytest.mark.parametrize("reader", ["openslide", "tiffslide", "image"])
    def test_is_applied_when_asked(self, tmp_path, opened, swapped, reader):
        path = write_slide(tmp_path / "a.tiff", plain(300, 300, (200, 60, 90)), 0.5, iccprofile=swapped)
        with contextlib.suppress(OSError):
            plain_patch = opened(path, reader=reader).read(0, 0, 224, 0.5)
            assert np.abs(plain_patch.astype(int) - (200, 60, 90)).max() <= 3
        patch = opened(path, reader=reader, icc="srgb").read(0, 0, 224, 0.5)
        assert np.abs(patch.astype(int) - (60, 200, 90)).max() <= 4

    def test_damaged_is_passed_over_with_a_warning(self, tmp_path, opened, caplog):
        Image.fromarray(plain(300, 300)).save(tmp_path / "a.png", icc_profile=b"no profile")
        assert (opened(tmp_path / "a.png", 0.5, icc="srgb").read(0, 0, 224, 0.5) == TISSUE).all()
        assert "colour profile" in caplog.text


class TestRemote:
    def test_is_read_through_fsspec(self, tmp_path, opened):
        rgb = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
        path = write_slide(tmp_path / "a.tiff", rgb, 0.5, compression="deflate")
        slide = opened(f"file://{path}")
        assert slide.mpp == pytest.approx(0.5) and slide.dimensions == (500, 400)
        assert np.array_equal(slide.read(100, 50, 224, 0.5), rgb[50:274, 100:324])

    def test_failures_have_reasons(self, tmp_path):
        assert reason_of(f"file://{tmp_path}/none.tiff") == "missing_file"
        assert reason_of(f"file://{tmp_path}/none.tiff", reader="openslide") == "unreadable"
        (tmp_path / "a.tiff").write_text("not a slide")
        assert reason_of(f"file://{tmp_path}/a.tiff") == "unreadable"
        assert reason_of("sftp://somewhere/a.tiff") == "missing_file"  # not among the known schemes: an odd path


class TestBrokenFiles:
    def test_missing(self, tmp_path):
        assert reason_of(tmp_path / "none.svs") == "missing_file"
        assert reason_of("") == "missing_file"

    def test_empty(self, tmp_path):
        (tmp_path / "a.svs").touch()
        assert reason_of(tmp_path / "a.svs", 0.5) == "unreadable"

    @pytest.mark.parametrize("name", ["a.svs", "a.png", "a.tiff", "a.jpg"])
    def test_not_an_image(self, tmp_path, name):
        (tmp_path / name).write_text("Slides are in the other folder.\n" * 50)
        assert reason_of(tmp_path / name, 0.5) == "unreadable"

    @pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
    def test_truncated_tiff(self, tmp_path, share):
        noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
        whole = write_slide(tmp_path / "a.tiff", noise, 0.5).read_bytes()
        (tmp_path / "b.tiff").write_bytes(whole[: int(len(whole) * share)])
        assert reason_of(tmp_path / "b.tiff") == "truncated"

    def test_truncated_real_slide(self, tmp_path):
        whole = real_file("cmu-1-small-region.svs").read_bytes()
        (tmp_path / "a.svs").write_bytes(whole[: len(whole) // 2])
        assert reason_of(tmp_path / "a.svs") == "truncated"

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_truncated_image(self, tmp_path, suffix):
        noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"a{suffix}")
        whole = (tmp_path / f"a{suffix}").read_bytes()
        (tmp_path / f"b{suffix}").write_bytes(whole[: len(whole) // 2])
        assert reason_of(tmp_path / f"b{suffix}", 0.5) == "truncated"

    def test_plain_image_beyond_the_limit(self, tmp_path, monkeypatch):
        monkeypatch.setattr(image_backend, "PLAIN_IMAGE_MAX_PIXELS", 500 * 500 - 1)
        Image.fromarray(plain(500, 500)).save(tmp_path / "a.png")
        assert reason_of(tmp_path / "a.png", 0.5) == "too_large"

    def test_a_header_with_nothing_behind_it(self, tmp_path):
        path = write_slide(tmp_path / "a.tiff", plain(512, 512), 0.25)
        with tifffile.TiffFile(path, mode="r+b") as file:
            for tag in ("ImageWidth", "ImageLength"):
                file.pages[0].tags[tag].overwrite(1_000_000)
        assert reason_of(path) in ("too_large", "truncated", "unreadable")
        for reader in ("openslide", "tiffslide", "image"):
            assert reason_of(path, 0.25, reader=reader) in ("too_large", "truncated", "unreadable")

    def test_larger_than_any_slide(self, tmp_path, monkeypatch):
        path = write_slide(tmp_path / "a.tiff", plain(512, 512), 2.0)
        assert open_slide(path).mpp == 2.0
        monkeypatch.setattr(slide_module, "OVERVIEW_MAX_PIXELS", 128 * 128 - 1)  # 512 px of 2 um are 128 of 8
        assert reason_of(path) == "too_large"

    def test_sixteen_bit_image(self, tmp_path):
        Image.fromarray(np.zeros((300, 300), dtype=np.uint16)).save(tmp_path / "a.png")
        assert reason_of(tmp_path / "a.png", 0.5) == "unreadable"
