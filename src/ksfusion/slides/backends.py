"""The libraries that decode slides, behind one small interface: levels, scales, and regions as RGB on white."""

from __future__ import annotations

import io
import logging
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

if TYPE_CHECKING:
    from PIL import ImageCms

Reason = Literal[
    "missing_file",
    "unreadable",
    "truncated",
    "missing_mpp",
    "implausible_mpp",
    "too_coarse",
    "too_large",
    "no_tissue",
    "too_few_tiles",
    "timeout",
]
REASONS: tuple[str, ...] = get_args(Reason)
PLAIN_IMAGE_MAX_PIXELS = 150_000_000
PLAIN_SUFFIXES = {".png", ".jpg", ".jpeg"}
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Where tiffslide may read through fsspec; each needs its package, such as s3fs.
REMOTE_SCHEMES = ("s3", "gs", "az", "http", "https", "file")
UNITS_PER_MICRON = {"centimeter": 1e4, "inch": 25400.0}
_log = logging.getLogger(__name__)


class SlideError(Exception):
    """A slide that cannot be used.

    Attributes
    ----------
    reason : str
        One of the closed list `REASONS`; what the ledger shows.
    """

    def __init__(self, reason: Reason, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.reason, str(self))


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


def _scales(properties: dict, prefix: str, generic_vendors: tuple[str | None, ...]) -> dict[str, tuple[float, float]]:
    """Collect what a slide's properties say of its scale."""

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
    import cv2

    if cv2.extractChannel(rgba, 3).min(initial=255) == 255:
        return cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    weight = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


class OpenSlideBackend:
    """Slides through OpenSlide: the formats of the scanners, and tiled TIFF."""

    def __init__(self, path: Path):
        import openslide

        self._path, self._error = path, openslide.OpenSlideError
        try:
            self._slide = openslide.OpenSlide(path)
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideError("unreadable", f"{path}: OpenSlide cannot open it ({error})") from None
        self.dimensions = self._slide.dimensions
        self.downsamples = self._slide.level_downsamples
        self.scales = _scales(dict(self._slide.properties), "openslide", ("generic-tiff",))
        self.color_profile = _profile_of(path, lambda: self._slide.color_profile)

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        try:
            return _on_white(np.asarray(self._slide.read_region((x, y), level, (width, height))))
        except (self._error, OSError) as error:
            raise SlideError("unreadable", f"{self._path}: a region at ({x}, {y}) cannot be read ({error})") from None

    def close(self) -> None:  # noqa: D102
        self._slide.close()


class TiffSlideBackend:
    """Slides through tiffslide: tiled TIFF with compressions that OpenSlide does not know, and remote ones."""

    def __init__(self, path: Path | str):
        import tiffslide

        self._path = path
        try:
            self._slide = tiffslide.TiffSlide(path)
            self.dimensions = self._slide.dimensions
            self.downsamples = tuple(float(value) for value in self._slide.level_downsamples)
            self._level_sizes = self._slide.level_dimensions
            self.scales = _scales(dict(self._slide.properties), "tiffslide", (None, "generic-tiff"))
        except FileNotFoundError:
            raise SlideError("missing_file", f"{path}: there is no such file") from None
        except Exception as error:  # a decoder fails in as many ways as files are broken
            raise SlideError("unreadable", f"{path}: tiffslide cannot open it ({error})") from None
        self.color_profile = _profile_of(path, lambda: self._slide.color_profile)

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        left, top = int(x / self.downsamples[level]), int(y / self.downsamples[level])
        canvas = np.full((height, width, 3), 255, dtype=np.uint8)
        try:
            part = self._slide.read_region((x, y), level, (width, height), as_array=True, padding=False)
        except Exception as error:
            raise SlideError("unreadable", f"{self._path}: a region at ({x}, {y}) cannot be read ({error})") from None
        rows, columns = part.shape[:2]
        canvas[max(-top, 0) :, max(-left, 0) :][:rows, :columns] = part[..., :3]
        return canvas

    def close(self) -> None:  # noqa: D102
        self._slide.close()


class PlainImageBackend:
    """A PNG, JPEG or TIFF of at most `PLAIN_IMAGE_MAX_PIXELS`, held in memory."""

    def __init__(self, path: Path):
        from PIL import Image, UnidentifiedImageError

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
                reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
                raise SlideError(reason, f"{path}: cannot be decoded ({error})") from None
            transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
            pixels = np.asarray(image.convert("RGBA" if transparent else "RGB"))
            self._pixels = _on_white(pixels) if transparent else pixels
            self.scales = _scales(_resolution_properties(image), "image", ())
            self.color_profile = _profile_of(path, lambda: _open_profile(image.info.get("icc_profile")))
        self.dimensions = (self._pixels.shape[1], self._pixels.shape[0])
        self.downsamples = (1.0,)

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        canvas = np.full((height, width, 3), 255, dtype=np.uint8)
        part = self._pixels[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
        rows, columns = part.shape[:2]
        canvas[max(-y, 0) :, max(-x, 0) :][:rows, :columns] = part
        return canvas

    def close(self) -> None:  # noqa: D102
        del self._pixels


def _open_profile(content: bytes | None) -> ImageCms.ImageCmsProfile | None:
    from PIL import ImageCms

    return ImageCms.getOpenProfile(io.BytesIO(content)) if content else None


def _profile_of(
    path: Path | str, get: Callable[[], ImageCms.ImageCmsProfile | None]
) -> ImageCms.ImageCmsProfile | None:
    """Return a slide's ICC profile; None, with a warning, where it is damaged."""
    try:
        return get()
    except Exception as error:  # each library has its own
        _log.warning("%s: its colour profile cannot be read (%s)", path, error)
        return None


def _resolution_properties(image: object) -> dict[str, object]:
    """Read the resolution tags of a TIFF; the density of a PNG or JPEG says nothing of the microscope."""
    tags = getattr(image, "tag_v2", {})
    units = {2: "inch", 3: "centimeter"}
    return {
        "tiff.XResolution": tags.get(282),
        "tiff.YResolution": tags.get(283),
        "tiff.ResolutionUnit": units.get(tags.get(296, 2)),
    }


def is_tiff(path: Path) -> bool:
    """Tell whether a file starts like a TIFF."""
    with path.open("rb") as file:
        return file.read(4) in TIFF_MAGIC


def is_truncated_tiff(path: Path) -> bool:
    """Tell whether a TIFF points at bytes beyond its end."""
    import tifffile

    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    layout, needed = (order + "Q", head[8:16]) if head[2:4] in (b"+\0", b"\0+") else (order + "L", head[4:8])
    if len(needed) < struct.calcsize(layout) or struct.unpack(layout, needed)[0] >= size:
        return True
    try:
        with tifffile.TiffFile(path) as file:
            stored = [span for page in file.pages for span in zip(page.dataoffsets, page.databytecounts, strict=True)]
    except Exception:  # not a TIFF that tifffile follows: the backend has the word
        return False
    return any(start + length > size for start, length in stored)


def is_tiled_tiff(path: Path) -> bool:
    """Tell whether the first page of a TIFF is stored in tiles, so that a part can be read alone."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return bool(file.pages.first.is_tiled)
    except Exception:
        return False


def is_remote(path: Path | str) -> bool:
    """Tell whether a path is an address that tiffslide reads through fsspec."""
    scheme, separator, _ = str(path).partition("://")
    return bool(separator) and scheme in REMOTE_SCHEMES


def open_backend(path: Path, reader: str) -> Backend:
    """Open a slide with the library named, or, with ``auto``, the first that knows the file.

    Raises
    ------
    SlideError
        If no library can open it.
    """
    import openslide

    if reader == "auto":
        if path.suffix.lower() in PLAIN_SUFFIXES:
            reader = "image"
        elif openslide.OpenSlide.detect_format(path):
            reader = "openslide"
        else:
            reader = "tiffslide" if is_tiff(path) and is_tiled_tiff(path) else "image"
    return {"openslide": OpenSlideBackend, "tiffslide": TiffSlideBackend, "image": PlainImageBackend}[reader](path)
