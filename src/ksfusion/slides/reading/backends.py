"""The libraries that decode slides, behind one small interface: levels, scales, and regions as RGB on white."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import openslide
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from ksfusion.core.errors import UserError
from ksfusion.slides.reading.content import TIFF, content_of, refuse_unknown
from ksfusion.slides.reading.errors import Reason, SlideError
from ksfusion.slides.reading.tiff import TiffFacts, begins_beyond_end, facts_of, is_level, read_facts

PLAIN_IMAGE_MAX_PIXELS = 150_000_000
PLAIN_SUFFIXES = {".png", ".jpg", ".jpeg"}
PLAIN_FORMATS = ("PNG", "JPEG", "TIFF")
# Where tiffslide may read through fsspec, and the package that each needs beside it.
REMOTE_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "http": "aiohttp", "https": "aiohttp", "file": None}
UNITS_PER_MICRON = {"centimeter": 1e4, "inch": 25400.0}
# What OpenSlide calls a TIFF of no scanner that it knows; and those that tiffslide knows, as tifffile calls them.
GENERIC = "generic-tiff"
TIFFSLIDE_KNOWS = ("svs", "scn", "bif", "ndpi", "philips")
TO_RGB = "convert the image to 8-bit RGB"
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2
# Decoded tiles that OpenSlide keeps: those that patches side by side share. The 32 MiB of its default read no faster.
CACHE_BYTES = 16 << 20
Bounds = tuple[int, int, int, int]
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
    bounds : tuple of int or None
        Left, top, width and height of what was scanned, in px of level 0, where the header says so.
    color_profile : PIL.ImageCms.ImageCmsProfile or None
        The ICC profile of its colours.
    """

    dimensions: tuple[int, int]
    downsamples: tuple[float, ...]
    scales: dict[str, tuple[float, float]]
    bounds: Bounds | None
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


def _bounds(properties: Mapping[str, Any], prefix: str) -> Bounds | None:
    """Return what was scanned, by a slide's properties; None where they do not say."""
    try:
        left, top, width, height = (
            int(properties[f"{prefix}.bounds-{name}"]) for name in ("x", "y", "width", "height")
        )
    except (KeyError, TypeError, ValueError):
        return None
    return (left, top, width, height) if width > 0 and height > 0 else None


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """Blend (H, W, 4) uint8 with white."""
    if cv2.extractChannel(rgba, 3).min(initial=255) == 255:
        return cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    weight = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


class OpenSlideBackend:
    """Slides through OpenSlide: the formats of the scanners, and tiled TIFF."""

    def __init__(self, path: Path, facts: TiffFacts | None = None):
        self._path = path
        try:
            self._slide = openslide.OpenSlide(path)
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideError("unreadable", f"{path}: OpenSlide cannot open it ({error})") from None
        self._slide.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
        properties = dict(self._slide.properties)
        generic = properties.get("openslide.vendor") == GENERIC
        self.dimensions = self._slide.dimensions
        self._levels = list(range(self._slide.level_count))
        self.scales = _scales(properties, "openslide", (GENERIC,))
        if facts:
            try:
                self._settle(facts, generic=generic)
            except SlideError:
                self.close()
                raise
        self.downsamples = tuple(self._slide.level_downsamples[level] for level in self._levels)
        self.bounds = _bounds(properties, "openslide")
        self.color_profile = _profile_of(path, lambda: self._slide.color_profile)

    def _settle(self, facts: TiffFacts, *, generic: bool) -> None:
        """Settle which levels are the slide's: it knows the scanners' own formats, of other TIFF it takes any."""
        _refuse_odd(self._path, (facts.depth, facts.turned, *((facts.stack, facts.colours) if generic else ())))
        if not generic:
            return
        if not facts.for_openslide or facts.size != self.dimensions:
            message = f"{self._path}: OpenSlide does not read what is in it (page {facts.page + 1} is the slide)"
            raise SlideError("unreadable", f"{message}; set slides.reader to auto")
        self._levels = [n for n, size in enumerate(self._slide.level_dimensions) if size in facts.levels]
        self.scales |= {"header": facts.scale} if facts.scale else {}

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        try:
            return _on_white(np.asarray(self._slide.read_region((x, y), self._levels[level], (width, height))))
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideError("unreadable", f"{self._path}: a region at ({x}, {y}) cannot be read ({error})") from None

    def close(self) -> None:  # noqa: D102
        self._slide.close()


class TiffSlideBackend:
    """Slides through tiffslide: tiled TIFF that OpenSlide does not read, and remote ones."""

    def __init__(self, path: Path | str, facts: TiffFacts | None = None):
        import tiffslide  # itself and fsspec take longer than all other readers together

        self._path = path
        try:
            self._slide = tiffslide.TiffSlide(path)
        except FileNotFoundError:
            raise SlideError("missing_file", f"{path}: there is no such file") from None
        except MemoryError:
            raise
        except ImportError as error:
            raise _missing_package(path, error) from None
        except Exception as error:  # a decoder fails in as many ways as files are broken
            raise SlideError("unreadable", f"{path}: tiffslide cannot open it ({error})") from None
        try:
            self._settle(facts or facts_of(self._slide.ts_tifffile))
        except (MemoryError, SlideError):
            self.close()
            raise
        except Exception as error:
            self.close()
            raise SlideError("unreadable", f"{path}: tiffslide cannot open it ({error})") from None
        # What are asked for below are px of the level: tiffslide would cut fractions off, a shift of half a px.
        self._slide._read_region_loc_transform = lambda location, level: location  # type: ignore[method-assign]

    def _settle(self, facts: TiffFacts) -> None:
        """Settle which page is the slide, its levels and its colours."""
        file = self._slide.ts_tifffile
        page: Any = file.pages[facts.page]
        generic = not any(getattr(file, f"is_{kind}") for kind in TIFFSLIDE_KNOWS)
        apart = "planes of one colour" if page.samplesperpixel > 1 and page.planarconfig == 2 else ""
        stack = facts.stack if generic else ""
        _refuse_odd(self._path, (facts.depth, facts.turned, stack, facts.colours, apart))
        if generic:
            # It takes the first series of pages for the slide.
            own = next(n for n, series in enumerate(file.series) if series.keyframe.index == page.index)
            file.series.insert(0, file.series.pop(own))
        for series in file.series:
            for level in series.levels:
                level.keyframe.nodata = 255  # tiles that are not stored are white, as in OpenSlide
        self.dimensions = self._slide.dimensions
        sizes = enumerate(self._slide.level_dimensions)
        self._levels = [level for level, size in sizes if not generic or is_level(size, facts)]
        self.downsamples = tuple(float(self._slide.level_downsamples[level]) for level in self._levels)
        properties = dict(self._slide.properties)
        self.scales = _scales(properties, "tiffslide", (None, GENERIC))
        self.scales |= {"header": facts.scale} if facts.scale else {}
        self.bounds = _bounds(properties, "tiffslide")
        self._planes = list(facts.planes)
        self._alpha = tuple(page.extrasamples)[:1] if page.samplesperpixel == 4 else ()
        profile = page.tags.valueof("InterColorProfile")
        self.color_profile = _profile_of(self._path, lambda: _open_profile(profile))

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        left, top = round(x / self.downsamples[level]), round(y / self.downsamples[level])
        canvas = np.full((height, width, 3), 255, dtype=np.uint8)
        try:
            size = (width, height)
            part = self._slide.read_region((left, top), self._levels[level], size, as_array=True, padding=False)
        except MemoryError:
            raise
        except Exception as error:
            raise SlideError("unreadable", f"{self._path}: a region at ({x}, {y}) cannot be read ({error})") from None
        rows, columns = part.shape[:2]
        canvas[max(-top, 0) :, max(-left, 0) :][:rows, :columns] = self._rgb(part)
        return canvas

    def _rgb(self, part: np.ndarray) -> np.ndarray:
        """Return (H, W, 3) of (H, W, 1, 3 or 4): planes in their order, transparency on white."""
        if self._planes:
            return part[..., self._planes]
        if UNASSOCIATED_ALPHA in self._alpha:
            return _on_white(part)
        if ASSOCIATED_ALPHA in self._alpha:  # the colours are multiplied by it already
            return np.minimum(part[..., :3].astype(np.uint16) + (255 - part[..., 3:]), 255).astype(np.uint8)
        return part[..., :3]

    def close(self) -> None:  # noqa: D102
        self._slide.close()


def _refuse_odd(path: Path | str, oddities: Iterable[str]) -> None:
    """Raise SlideError where there is something odd about a slide's pixels."""
    if odd := next(filter(None, oddities), ""):
        raise SlideError("unreadable", f"{path}: {odd}; {TO_RGB}")


def _missing_package(path: Path | str, error: ImportError) -> UserError | ImportError:
    """Return the error that names the package an address needs; any other import that fails is an error of ours."""
    scheme = str(path).partition("://")[0]
    package = REMOTE_PACKAGES.get(scheme) if is_remote(path) else None
    if package is None:
        return error
    return UserError(f"{path}: {scheme}:// is read with the package {package}; install it beside ksfusion ({error})")


class PlainImageBackend:
    """A PNG, JPEG or TIFF of at most `PLAIN_IMAGE_MAX_PIXELS`, held in memory."""

    bounds: Bounds | None = None

    def __init__(self, path: Path, facts: TiffFacts | None = None):
        limit = f"{PLAIN_IMAGE_MAX_PIXELS // 1_000_000} million"
        too_large = SlideError("too_large", f"{path}: a plain image may have {limit} pixels; make it a pyramidal TIFF")
        apart = "colours in pages of their own" if facts and facts.planes else ""
        _refuse_odd(path, (facts.depth, facts.stack, apart) if facts else ())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                image = Image.open(path, formats=PLAIN_FORMATS)
            except Image.DecompressionBombError:
                raise too_large from None
            except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
                raise SlideError("unreadable", f"{path}: no reader knows this file ({error})") from None
        with image:
            _turn_to(image, facts.page if facts else 0, path)
            if image.width * image.height > PLAIN_IMAGE_MAX_PIXELS:
                raise too_large
            stored = _stored_as(image)
            if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr") or ";16" in stored:
                raise SlideError("unreadable", f"{path}: {stored or image.mode} pixels; {TO_RGB}")
            self.scales = _scales(_resolution_properties(image), "image", ())
            try:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
            except MemoryError:
                raise
            except Exception as error:  # a decoder fails in as many ways as files are broken
                reason: Reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
                raise SlideError(reason, f"{path}: cannot be decoded ({error})") from None
            transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
            mode = "RGBA" if transparent else "RGB"
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
            self._pixels = _on_white(pixels) if transparent else pixels
            self.scales |= {"header": facts.scale} if facts and facts.scale else {}
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


def _turn_to(image: Image.Image, page: int, path: Path) -> None:
    try:
        image.seek(page)
    except MemoryError:
        raise
    except Exception as error:
        raise SlideError("unreadable", f"{path}: page {page + 1} cannot be read ({error})") from None


def _stored_as(image: ImageFile.ImageFile) -> str:
    """Return how Pillow calls the pixels in the file; it makes 8 bits of 16 without a word."""
    arguments = image.tile[0].args if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


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


BACKENDS: dict[str, Callable[[Path, TiffFacts | None], Backend]] = {
    "openslide": OpenSlideBackend,
    "tiffslide": TiffSlideBackend,
    "image": PlainImageBackend,
}


def open_backend(path: Path, reader: str) -> Backend:
    """Open a slide with the library named, or, with ``auto``, the first that reads all of what the file says it holds.

    Raises
    ------
    SlideError
        If no library can open it, or the file ends too early.
    """
    vendor, content = openslide.OpenSlide.detect_format(path), content_of(path)
    if vendor in (None, GENERIC):
        refuse_unknown(path, content)
    facts = read_facts(path) if content == TIFF else None
    if content == TIFF and (begins_beyond_end(path) or (facts and facts.cut_off)):
        raise SlideError("truncated", f"{path}: the file ends before its image does; fetch it again")
    if reader == "auto":
        reader = _choose_reader(vendor, facts)
        try:
            return BACKENDS[reader](path, facts)
        except SlideError as error:
            # Tiles in JPEG 2000, WebP, LZMA and others; no error of a damaged file says so.
            if "unsupported tiff compression" not in str(error).lower():
                raise
        reader = "tiffslide"
    return BACKENDS[reader](path, facts)


def _choose_reader(vendor: str | None, facts: TiffFacts | None) -> str:
    """Return the reader of a file by the format that OpenSlide sees in it, and its tags where it is a TIFF."""
    if vendor and (vendor != GENERIC or facts is None or facts.for_openslide):
        return "openslide"
    return "tiffslide" if facts and (facts.tiled or facts.planes) else "image"
