"""Slides through OpenSlide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide

from ksfusion.slides.reading.backend_base import GENERIC, bounds_of, on_white, profile_of, refuse_odd, scales_of
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.tiff import TiffFacts
from ksfusion.slides.reading.tiff_tiles import TiffTiles
from ksfusion.slides.reading.tile_layout import TileLayout

# Decoded tiles that OpenSlide keeps: those that patches side by side share. The 32 MiB of its default read no faster.
CACHE_BYTES = 16 << 20
# Of these OpenSlide shows the tiles of a TIFF's pages as they are, side by side.
APERIO = "aperio"


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
        self._vendor = properties.get("openslide.vendor")
        self.dimensions = self._slide.dimensions
        self._levels = list(range(self._slide.level_count))
        self.scales = scales_of(properties, "openslide", (GENERIC,))
        if facts:
            try:
                self._settle(facts, generic=self._vendor == GENERIC)
            except SlideError:
                self.close()
                raise
        self.downsamples = tuple(self._slide.level_downsamples[level] for level in self._levels)
        self.bounds = bounds_of(properties, "openslide")
        self.color_profile = profile_of(path, lambda: self._slide.color_profile)

    def _settle(self, facts: TiffFacts, *, generic: bool) -> None:
        """Settle which levels are the slide's: it knows the scanners' own formats, of other TIFF it takes any."""
        refuse_odd(self._path, (facts.depth, facts.turned, *((facts.stack, facts.colours) if generic else ())))
        if not generic:
            return
        if not facts.for_openslide or facts.size != self.dimensions:
            message = f"{self._path}: OpenSlide does not read what is in it (page {facts.page + 1} is the slide)"
            raise SlideError("unreadable", f"{message}; set slides.reader to auto")
        self._levels = [n for n, size in enumerate(self._slide.level_dimensions) if size in facts.levels]
        self.scales |= {"header": facts.scale} if facts.scale else {}

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        try:
            return on_white(np.asarray(self._slide.read_region((x, y), self._levels[level], (width, height))))
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideError("unreadable", f"{self._path}: a region at ({x}, {y}) cannot be read ({error})") from None

    def close(self) -> None:  # noqa: D102
        self._slide.close()


class TileBackend(OpenSlideBackend):
    """Slides as OpenSlide shows them, to the pixel; tiles in JPEG and JPEG 2000 are decoded without it."""

    _tiles: TiffTiles | None = None

    def __init__(self, path: Path, facts: TiffFacts | None = None):
        super().__init__(path, facts)
        layouts = self._plain_layouts(facts.layouts if facts else ())
        if layouts:
            self._tiles = TiffTiles(path, layouts, self._level_region)

    def _plain_layouts(self, layouts: tuple[TileLayout, ...]) -> dict[int, TileLayout]:
        """Return those of levels whose pixels lie on whole pixels of level 0: between them OpenSlide interpolates."""
        if self._vendor not in (GENERIC, APERIO):
            return {}
        by_size = {layout.size: layout for layout in layouts}
        sizes = [self._slide.level_dimensions[level] for level in self._levels]
        # Of Aperio's it shows finer levels in place of a tile that is not stored, on all coarser levels too.
        if self._vendor == APERIO and not all(size in by_size and by_size[size].complete for size in sizes):
            return {}
        return {
            level: by_size[size]
            for level, (size, downsample) in enumerate(zip(sizes, self.downsamples, strict=True))
            if size in by_size and downsample.is_integer()
        }

    def _level_region(self, left: int, top: int, level: int, width: int, height: int) -> np.ndarray:
        scale = int(self.downsamples[level])
        return super().region(left * scale, top * scale, level, width, height)

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:  # noqa: D102
        scale = self.downsamples[level]
        if self._tiles and x % scale == y % scale == 0:
            found = self._tiles.region(int(x // scale), int(y // scale), level, width, height)
            if found is not None:
                return found
        return super().region(x, y, level, width, height)

    def close(self) -> None:  # noqa: D102
        super().close()
        if self._tiles:
            self._tiles.close()
