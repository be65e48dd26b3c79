"""The libraries that decode slides, behind one small interface: levels, scales, and regions as RGB on white."""

from __future__ import annotations

import io
import logging
import struct
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import openslide
from PIL import Image, ImageCms, UnidentifiedImageError

from ksfusion.core.errors import UserError
from ksfusion.slides.reading.errors import Reason, SlideError
from ksfusion.slides.reading.tiff import is_tiff, is_tiled_tiff, odd_pixels, odd_pixels_of

PLAIN_IMAGE_MAX_PIXELS = 150_000_000
PLAIN_SUFFIXES = {".png", ".jpg", ".jpeg"}
# Where tiffslide may read through fsspec, and the package that each needs beside it.
REMOTE_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "http": "aiohttp", "https": "aiohttp", "file": None}
UNITS_PER_MICRON = {"centimeter": 1e4, "inch": 25400.0}
# Decoded tiles that OpenSlide keeps: those that patches side by side share. The 32 MiB of its default read no faster.
CACHE_BYTES = 16 << 20
log = logging.getLogger(__name__)


class Backend(Protocol):
    """What a decoding library offers.

    Attributes
    ----------
    dimensions : tuple of int
        Width and height of level 0, in px.
    downsamples : tuple of float
        Of each level, relative to level 0, finest first.
    scales : dict
        Micrometres per pixel (x, y) by their source: ``header``, ``resolution_tag``, ``objective_power``.
    color_profile : PIL.ImageCms.ImageCmsProfile or None
        The ICC profile of its colours.
    """

    dimensions: tuple[int, int]
    downsamples: tuple[float, ...]
    scales: dict[str, tuple[float, float]]
    color_profile: ImageCms.ImageCmsProfile | None

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, 3) uint8 of a level; x and y are level-0 px; white outside the slide."""

    def close(self) -> None:
        """Release the file."""


def _scales(
    properties: Mapping[str, Any], prefix: str, generic_vendors: tuple[str | None, ...]
) -> dict[str, tuple[float, float]]:
    """Return the scales that a slide's properties give, in micrometres per pixel (x, y), by their source."""

    def pair(name: str, suffixes: tuple[str, str]) -> tuple[float, float] | None:
        try:
            values = [float(properties[name + suffix]) for suffix in suffixes]
        except (KeyError, TypeError, ValueError):
            return None
        return (values[0], values[1]) if min(values) > 0 else None

    scales = {}
    header = pair(f"{prefix}.mpp-", ("x", "y"))
    # Of a generic TIFF the libraries report the resolution tag under the name of a scanner's header.
    if header and properties.get(f"{prefix}.vendor") not in generic_vendors:
        scales["header"] = header
    per_micron = UNITS_PER_MICRON.get(str(properties.get("tiff.ResolutionUnit")).lower())
    pixels_per_unit = pair("tiff.", ("XResolution", "YResolution"))
    if per_micron and pixels_per_unit:
        scales["resolution_tag"] = (per_micron / pixels_per_unit[0], per_micron / pixels_per_unit[1])
    power = pair(f"{prefix}.objective-power", ("", ""))
    if power:
        scales["objective_power"] = (10.0 / power[0], 10.0 / power[0])
    return scales


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """Blend (H, W, 4) uint8 with white."""
    if cv2.extractChannel(rgba, 3).min(initial=255) == 255:
        return cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    weight = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


class OpenSlideBackend:
    """Slides through OpenSlide: the formats of the scanners, and tiled TIFF."""

    def __init__(self, path: Path):
        self._path = path
        try:
            self._slide = openslide.OpenSlide(path)
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideError("unreadable", f"{path}: OpenSlide cannot open it ({error})") from None
        self._slide.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
        properties = dict(self._slide.properties)
        # Of the scanners' own formats it knows the pixels; whatever any other TIFF holds it turns to 8-bit RGBA.
        if properties.get("openslide.vendor") == "generic-tiff":
            _refuse_odd_pixels(path, odd_pixels_of(path), self)
        self.dimensions = self._slide.dimensions
        self.downsamples = self._slide.level_downsamples
        self.scales = _scales(properties, "openslide", ("generic-tiff",))
        self.color_profile = _profile_of(path, lambda: self._slide.color_profile)

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        try:
            return _on_white(np.asarray(self._slide.read_region((x, y), level, (width, height))))
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideError("unreadable", f"{self._path}: a region at ({x}, {y}) cannot be read ({error})") from None

    def close(self) -> None:  # noqa: D102
        self._slide.close()


class TiffSlideBackend:
    """Slides through tiffslide: tiled TIFF with compressions that OpenSlide does not know, and remote ones."""

    def __init__(self, path: Path | str):
        import tiffslide  # itself and fsspec take longer than all other readers together

        self._path = path
        try:
            self._slide = tiffslide.TiffSlide(path)
            file = self._slide.ts_tifffile
            odd = odd_pixels(file.pages.first)
            for series in file.series:
                for level in series.levels:
                    level.keyframe.nodata = 255  # tiles that are not stored are white, as in OpenSlide
            self.dimensions = self._slide.dimensions
            self.downsamples = tuple(float(value) for value in self._slide.level_downsamples)
            self.scales = _scales(dict(self._slide.properties), "tiffslide", (None, "generic-tiff"))
        except FileNotFoundError:
            raise SlideError("missing_file", f"{path}: there is no such file") from None
        except MemoryError:
            raise
        except ImportError as error:
            raise _missing_package(path, error) from None
        except Exception as error:  # a decoder fails in as many ways as files are broken
            raise SlideError("unreadable", f"{path}: tiffslide cannot open it ({error})") from None
        _refuse_odd_pixels(path, odd, self)
        # What is asked for below are px of the level: tiffslide would cut fractions off, a shift of half a px.
        self._slide._read_region_loc_transform = lambda location, level: location  # type: ignore[method-assign]
        self.color_profile = _profile_of(path, lambda: self._slide.color_profile)

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        left, top = round(x / self.downsamples[level]), round(y / self.downsamples[level])
        canvas = np.full((height, width, 3), 255, dtype=np.uint8)
        try:
            part = self._slide.read_region((left, top), level, (width, height), as_array=True, padding=False)
        except MemoryError:
            raise
        except Exception as error:
            raise SlideError("unreadable", f"{self._path}: a region at ({x}, {y}) cannot be read ({error})") from None
        rows, columns = part.shape[:2]
        canvas[max(-top, 0) :, max(-left, 0) :][:rows, :columns] = part[..., :3]
        return canvas

    def close(self) -> None:  # noqa: D102
        self._slide.close()


def _refuse_odd_pixels(path: Path | str, odd: str, backend: Backend) -> None:
    if odd:
        backend.close()
        raise SlideError("unreadable", f"{path}: {odd}; convert the image to 8-bit RGB")


def _missing_package(path: Path | str, error: ImportError) -> UserError | ImportError:
    """Return the error that names the package an address needs; any other import that fails is an error of ours."""
    scheme = str(path).partition("://")[0]
    package = REMOTE_PACKAGES.get(scheme) if is_remote(path) else None
    if package is None:
        return error
    return UserError(f"{path}: {scheme}:// is read with the package {package}; install it beside ksfusion ({error})")


class PlainImageBackend:
    """A PNG, JPEG or TIFF of at most `PLAIN_IMAGE_MAX_PIXELS`, held in memory."""

    def __init__(self, path: Path):
        limit = f"{PLAIN_IMAGE_MAX_PIXELS // 1_000_000} million"
        too_large = SlideError("too_large", f"{path}: a plain image may have {limit} pixels; make it a pyramidal TIFF")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                image = Image.open(path)
            except Image.DecompressionBombError:
                raise too_large from None
            except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
                raise SlideError("unreadable", f"{path}: no reader knows this file ({error})") from None
        with image:
            if image.width * image.height > PLAIN_IMAGE_MAX_PIXELS:
                raise too_large
            if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
                raise SlideError("unreadable", f"{path}: {image.mode} pixels; convert the image to 8-bit RGB")
            try:
                image.load()
            except (OSError, ValueError, SyntaxError, struct.error) as error:
                reason: Reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
                raise SlideError(reason, f"{path}: cannot be decoded ({error})") from None
            transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
            mode = "RGBA" if transparent else "RGB"
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
            self._pixels = _on_white(pixels) if transparent else pixels
            self.scales = _scales(_resolution_properties(image), "image", ())
            self.color_profile = _profile_of(path, lambda: _open_profile(image.info.get("icc_profile")))
        self.dimensions = (self._pixels.shape[1], self._pixels.shape[0])
        self.downsamples: tuple[float, ...] = (1.0,)

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        canvas = np.full((height, width, 3), 255, dtype=np.uint8)
        part = self._pixels[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
        rows, columns = part.shape[:2]
        canvas[max(-y, 0) :, max(-x, 0) :][:rows, :columns] = part
        return canvas

    def close(self) -> None:  # noqa: D102
        del self._pixels


def _open_profile(content: bytes | None) -> ImageCms.ImageCmsProfile | None:
    return ImageCms.getOpenProfile(io.BytesIO(content)) if content else None


def _profile_of(
    path: Path | str, get: Callable[[], ImageCms.ImageCmsProfile | None]
) -> ImageCms.ImageCmsProfile | None:
    """Return a slide's ICC profile; None, with a warning, where it is damaged."""
    try:
        return get()
    except Exception as error:  # each library has its own
        log.warning("%s: its colour profile cannot be read (%s)", path, error)
        return None


def _resolution_properties(image: Image.Image) -> dict[str, Any]:
    """Return the resolution tags of a TIFF; the density of a PNG or JPEG says nothing of the microscope."""
    tags = getattr(image, "tag_v2", {})
    units = {2: "inch", 3: "centimeter"}
    return {
        "tiff.XResolution": tags.get(282),
        "tiff.YResolution": tags.get(283),
        "tiff.ResolutionUnit": units.get(tags.get(296, 2)),
    }


def is_remote(path: Path | str) -> bool:
    """Return whether a path is an address that tiffslide reads through fsspec."""
    scheme, separator, _ = str(path).partition("://")
    return bool(separator) and scheme in REMOTE_PACKAGES


def is_plain_image(path: Path | str, reader: str) -> bool:
    """Return whether the whole of a slide is held in memory, as its name tells."""
    return reader == "image" or (reader == "auto" and Path(path).suffix.lower() in PLAIN_SUFFIXES)


BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "openslide": OpenSlideBackend,
    "tiffslide": TiffSlideBackend,
    "image": PlainImageBackend,
}


def open_backend(path: Path, reader: str) -> Backend:
    """Open a slide with the library named, or, with ``auto``, the first that knows the file.

    Raises
    ------
    SlideError
        If no library can open it.
    """
    if reader == "auto":
        if is_plain_image(path, reader):
            reader = "image"
        elif openslide.OpenSlide.detect_format(path):
            try:
                return OpenSlideBackend(path)
            except SlideError as error:
                # Tiles in JPEG 2000, WebP, LZMA and others; no error of a damaged file says so.
                if "unsupported tiff compression" not in str(error).lower():
                    raise
            reader = "tiffslide"
        else:
            reader = "tiffslide" if is_tiff(path) and is_tiled_tiff(path) else "image"
    return BACKENDS[reader](path)
