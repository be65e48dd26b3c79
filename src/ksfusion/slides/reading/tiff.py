"""What can be told of a TIFF before a slide library opens it: which page is the slide, and how it is stored."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from ksfusion.slides.reading.content import TIFF, content_of
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.tile_layout import TileLayout, layouts_of

# Of these tifffile makes RGB or grey; it hands out the others (a palette's indices, CMYK, CIELAB) as they are stored.
CHANNELS = {"MINISBLACK": (1,), "RGB": (3, 4), "YCBCR": (3,)}
REDUCED, TRANSPARENCY = 1, 4
# Beyond the rounding of a side to whole px, how much a level's proportions may differ from the slide's.
PROPORTION = 0.005
ORIENTATIONS = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "upside down",
    5: "mirrored and turned",
    6: "turned by 90 degrees",
    7: "mirrored and turned",
    8: "turned by 270 degrees",
}
UNIT_UM = {"nm": 1e-3, "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
# How OME-XML names the colours, and writes them as numbers of 32 bits.
PRIMARIES = (("r", "red", 0xFF0000FF), ("g", "green", 0x00FF00FF), ("b", "blue", 0x0000FFFF))

Size = tuple[int, int]


@dataclass(frozen=True)
class TiffFacts:
    """A TIFF, as its tags describe it.

    Attributes
    ----------
    page : int
        The number of the largest page: the slide.
    size : tuple of int
        Its width and height.
    levels : frozenset of tuple of int
        Sizes of the pages that show the slide: of its proportions, and read like it.
    tiled : bool
        Whether a part of it can be read alone.
    planes : tuple of int
        Where its colours are pages of their own: which of these are red, green and blue; empty else.
    depth, turned, stack, colours : str
        What keeps its pixels from being read as they come: bits or numbers other than 8-bit, an orientation, further
        pages of its size, colours other than grey and RGB; each empty where nothing does.
    loose : bool
        Whether a fourth channel says of itself that it has no meaning: OpenSlide takes it for transparency.
    scale : tuple of float or None
        Micrometres per pixel (x, y), where OME-XML gives them.
    cut_off : bool
        Whether the file ends before the pages of the slide do, or before its list of pages.
    layouts : tuple of TileLayout
        Those of its pages that can be decoded tile by tile without a slide library.
    """

    page: int
    size: Size
    levels: frozenset[Size]
    tiled: bool
    planes: tuple[int, ...]
    depth: str
    turned: str
    stack: str
    colours: str
    loose: bool
    scale: tuple[float, float] | None
    cut_off: bool
    layouts: tuple[TileLayout, ...] = field(default=(), compare=False)

    @property
    def for_openslide(self) -> bool:
        """Whether OpenSlide, which starts with the first page and looks at tiles alone, reads what it holds."""
        return self.page == 0 and self.tiled and not self.planes and not self.loose


def read_facts(path: Path) -> TiffFacts | None:
    """Return what the tags of a file say; None where it is no TIFF, or none that tifffile follows."""
    if content_of(path) != TIFF:
        return None
    try:
        with tifffile.TiffFile(path) as file:
            return facts_of(file)
    except SlideError as error:
        raise SlideError(error.reason, f"{path}: {error}") from None
    except Exception:  # the backend has the word
        return None


def begins_beyond_end(path: Path) -> bool:
    """Return whether a TIFF is cut off before its first list of tags."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    layout, needed = (order + "Q", head[8:16]) if b"+" in head[2:4] else (order + "L", head[4:8])
    return len(needed) < struct.calcsize(layout) or struct.unpack(layout, needed)[0] >= size


def is_cut_off(path: Path) -> bool:
    """Return whether a file is a TIFF that ends before its slide does."""
    if content_of(path) != TIFF:
        return False
    facts = read_facts(path)
    return begins_beyond_end(path) or (facts is not None and facts.cut_off)


def facts_of(file: tifffile.TiffFile) -> TiffFacts:
    """Return what the tags of an open file say.

    Raises
    ------
    SlideError
        With reason ``unreadable``, if there is no end to its pages.
    """
    ends_early = _ends_early(file)
    every: list[Any] = list(file.pages)
    pages = [page for page in every if not page.subfiletype & TRANSPARENCY]
    main = max(pages, key=lambda page: page.imagewidth * page.imagelength)
    size, tiled = _size(main), bool(main.is_tiled)
    shown = [page for page in pages if bool(page.is_tiled) == tiled and _same_proportions(_size(page), size)]
    # The levels of these are larger than the scan, or parts of it.
    own_levels = file.is_scn or file.is_bif or file.is_philips
    read = shown if tiled or file.is_ndpi else [page for page in shown if _size(page) == size]
    needed = [page for page in pages if page.is_tiled] if own_levels else read
    end = file.filehandle.size
    pixels = _ome_pixels(file.ome_metadata, size)
    same = sum(_size(page) == size and not page.subfiletype & REDUCED for page in pages)
    planes, stack = _planes(pixels, max(same, int((file.imagej_metadata or {}).get("images", 1))))
    return TiffFacts(
        page=main.index,
        size=size,
        levels=frozenset(_size(page) for page in shown if _depth(page) == _depth(main)),
        tiled=tiled,
        planes=planes,
        depth=_depth(main),
        turned=_turned(main),
        stack=stack,
        colours=_colours(main),
        loose=main.samplesperpixel == 4 and tuple(main.extrasamples) == (0,),
        scale=_scale(pixels),
        cut_off=ends_early or any(_last_byte(page) > end for page in needed),
        layouts=layouts_of(file),
    )


def _last_byte(page: Any) -> int:
    """Return where the last of a page's pixels ends."""
    return max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)


def _size(page: Any) -> Size:
    return page.imagewidth, page.imagelength


def _same_proportions(size: Size, of: Size) -> bool:
    """Return whether sides, each rounded to whole px, may be those of the slide at a coarser scale."""
    difference = abs(size[0] * of[1] - size[1] * of[0])
    return difference <= sum(of) + PROPORTION * size[0] * of[1]


def is_level(size: Size, facts: TiffFacts) -> bool:
    """Return whether an image of a size may show the slide at a coarser scale."""
    return _same_proportions(size, facts.size)


def _ends_early(file: tifffile.TiffFile) -> bool:
    """Return whether the list of pages leads beyond the end of the file; tifffile would stop there, or never."""
    tiff, handle = file.tiff, file.filehandle
    seen: set[int] = set()
    offset = file.pages.first.offset
    while offset not in seen:
        seen.add(offset)
        try:
            handle.seek(offset)
            (tags,) = struct.unpack(tiff.tagnoformat, handle.read(tiff.tagnosize))
            handle.seek(offset + tiff.tagnosize + tags * tiff.tagsize)
            (offset,) = struct.unpack(tiff.offsetformat, handle.read(tiff.offsetsize))
        except struct.error:
            return True
        if offset == 0 or offset >= handle.size:
            return offset > 0
    raise SlideError("unreadable", "its list of pages runs in a circle; write the file anew")


def _depth(page: Any) -> str:
    """Return what its pixels are where they are not 8-bit numbers; fewer bits are for the readers of plain images."""
    if page.bitspersample > 8 or page.dtype is None or page.dtype.kind not in "ub":
        return f"{page.samplesperpixel} x {page.dtype} a pixel"
    return ""


def _turned(page: Any) -> str:
    orientation = page.tags.valueof("Orientation", default=1)
    if orientation in (0, 1):
        return ""
    return f"its tag of orientation says {ORIENTATIONS.get(int(orientation), orientation)}"


def _colours(page: Any) -> str:
    """Return what keeps pixels from being 8-bit grey or RGB; empty where nothing does."""
    channels, kind = page.samplesperpixel, str(page.dtype)
    photometric = getattr(page.photometric, "name", str(page.photometric))
    if kind != "uint8" or channels > 4 or channels == 2:
        return f"{channels} x {kind} a pixel"
    if channels not in CHANNELS.get(photometric, ()):
        return f"{photometric} pixels" + (f" of {channels} channels" if photometric in CHANNELS else "")
    # JPEG's own decoders turn YCbCr to RGB; other compressions keep it.
    compression = getattr(page.compression, "name", str(page.compression))
    return f"{photometric} pixels in {compression}" if photometric == "YCBCR" and "JP" not in compression else ""


def _ome_pixels(xml: str | None, size: Size) -> ElementTree.Element | None:
    """Return the element of OME-XML on the image of a size; None where there is none."""
    if not xml:
        return None
    try:
        elements = list(ElementTree.fromstring(xml).iter())
    except ElementTree.ParseError:
        return None
    of_image = (element for element in elements if element.tag.endswith("}Pixels"))
    wanted = tuple(map(str, size))
    return next((one for one in of_image if (one.get("SizeX"), one.get("SizeY")) == wanted), None)


def _scale(pixels: ElementTree.Element | None) -> tuple[float, float] | None:
    if pixels is None:
        return None
    values = []
    for axis in ("X", "Y"):
        unit = UNIT_UM.get(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        try:
            given = float(pixels.get(f"PhysicalSize{axis}", ""))
        except ValueError:
            given = 0.0
        values.append(given * unit if unit else 0.0)
    x, y = values[0], values[1] or values[0]
    return (x, y) if 0 < x < float("inf") and 0 < y < float("inf") else None


def _planes(pixels: ElementTree.Element | None, pages: int) -> tuple[tuple[int, ...], str]:
    """Return where red, green and blue are among pages of one size, or else what these pages are.

    Parameters
    ----------
    pixels
        The element of OME-XML on the slide; None where there is none.
    pages
        Number of these pages.
    """
    if pixels is None:
        return (), "" if pages == 1 else f"{pages} pages of one size"
    channels = [child for child in pixels if child.tag.endswith("}Channel")]
    samples = max(int(channels[0].get("SamplesPerPixel", 1)), 1) if channels else 1
    apart, depth, times = (int(pixels.get(f"Size{axis}", 1)) for axis in "CZT")
    apart //= samples
    if apart * depth * times == pages == 1:
        return (), ""
    if depth * times > 1:
        return (), f"a stack of {depth} depths and {times} times"
    names = [channel.get("Name") or f"channel {number}" for number, channel in enumerate(channels)]
    order = tuple(_position(channels, words) for words in PRIMARIES)
    if samples == 1 and apart == pages == len(channels) == 3 and sorted(order) == [0, 1, 2]:
        return order, ""
    return (), f"{apart} channels apart ({', '.join(names)}) in {pages} pages"


def _position(channels: Sequence[ElementTree.Element], words: tuple[str, str, int]) -> int:
    """Return which channel is of a colour: by name, or, where none has a name, by what it is shown in; -1 for none."""
    letter, name, colour = words
    named = [channel.get("Name", "").strip().lower() for channel in channels]
    if any(named):
        return next((number for number, given in enumerate(named) if given in (letter, name)), -1)
    shown = [channel.get("Color", "") for channel in channels]
    return next(
        (n for n, given in enumerate(shown) if given.lstrip("-").isdigit() and int(given) & 0xFFFFFFFF == colour), -1
    )
