"""Slides through tiffslide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ksfusion.core.errors import UserError
from ksfusion.slides.reading.backend_base import (
    GENERIC,
    bounds_of,
    on_white,
    open_profile,
    profile_of,
    refuse_odd,
    scales_of,
)
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.tiff import TiffFacts, facts_of, is_level

# Where tiffslide may read through fsspec, and the package that each needs beside it.
REMOTE_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "http": "aiohttp", "https": "aiohttp", "file": None}
# The TIFF of scanners that tiffslide knows, as tifffile calls them.
TIFFSLIDE_KNOWS = ("svs", "scn", "bif", "ndpi", "philips")
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2


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
        refuse_odd(self._path, (facts.depth, facts.turned, stack, facts.colours, apart))
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
        self.scales = scales_of(properties, "tiffslide", (None, GENERIC))
        self.scales |= {"header": facts.scale} if facts.scale else {}
        self.bounds = bounds_of(properties, "tiffslide")
        self._planes = list(facts.planes)
        self._alpha = tuple(page.extrasamples)[:1] if page.samplesperpixel == 4 else ()
        profile = page.tags.valueof("InterColorProfile")
        self.color_profile = profile_of(self._path, lambda: open_profile(profile))

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
            return on_white(part)
        if ASSOCIATED_ALPHA in self._alpha:  # the colours are multiplied by it already
            return np.minimum(part[..., :3].astype(np.uint16) + (255 - part[..., 3:]), 255).astype(np.uint8)
        return part[..., :3]

    def close(self) -> None:  # noqa: D102
        self._slide.close()


def _missing_package(path: Path | str, error: ImportError) -> UserError | ImportError:
    """Return the error that names the package an address needs; any other import that fails is an error of ours."""
    scheme = str(path).partition("://")[0]
    package = REMOTE_PACKAGES.get(scheme) if is_remote(path) else None
    if package is None:
        return error
    return UserError(f"{path}: {scheme}:// is read with the package {package}; install it beside ksfusion ({error})")


def is_remote(path: Path | str) -> bool:
    """Return whether a path is an address that tiffslide reads through fsspec."""
    scheme, separator, _ = str(path).partition("://")
    return bool(separator) and scheme in REMOTE_PACKAGES
