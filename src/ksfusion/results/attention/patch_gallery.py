"""The patches that a model looks at most, and least, from the slide's pixels."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ksfusion.results.attention.maps import WHOLE
from ksfusion.results.attention.slide_picture import SlidePatches, SlidePicture, lay_on, on_white, picture_of
from ksfusion.results.plots.attention import LONGEST_PX
from ksfusion.slides.config import Reading
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide import open_slide
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.workers import IsolatedCalls

log = logging.getLogger(__name__)

# Patches of either end that are shown, and their side in px.
SHOWN, PATCH_PX = 5, 168
MARGIN, LINE_PX, TEXT_PX = 12, 22, 15
STREAMS = {"tumour": "Tumour stream", "tme": "TME stream", WHOLE: "Attention"}


class GalleryRow(NamedTuple):
    """Patches of a stream, (px, px, 3) uint8 each, and the attention of each, times an even share."""

    label: str
    patches: Sequence[np.ndarray]
    relative: Sequence[float]


Gallery: TypeAlias = list[GalleryRow]


def extreme_patches(shares: np.ndarray, cells: np.ndarray, most: int = SHOWN) -> tuple[list[int], list[int]]:
    """Return the patches with most attention of their even share, the first first, and those with least, the last last.

    No patch is in both: of fewer than twice as many patches each has half. Of equal ones the first is taken.

    Parameters
    ----------
    shares : numpy.ndarray (patches,)
        Attention of each patch.
    cells : numpy.ndarray (patches,)
        Number of cells of the map that hold it, to which its even share is proportional.
    most
        Patches of either end.
    """
    order = np.argsort(-shares / cells, kind="stable").tolist()
    most = min(most, (len(order) + 1) // 2)
    return order[:most], order[most:][-most:] if len(order) > most else []


def read_slide_and_patches(
    path: str, mpp: float | None, settings: Reading, longest: int, corners: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, float, list[np.ndarray]]:
    """Return a slide as a picture, its micrometres per px, and some patches; runs in a worker process.

    Parameters
    ----------
    path
        The slide's file.
    mpp
        Micrometres per px of level 0 as the user gives them; None: as the file says.
    settings
        How slides are read, and the size and scale of the patches.
    longest
        Longer side of the picture at most, in px.
    corners
        Upper left corners of the patches, in px of level 0.

    Returns
    -------
    rgb : numpy.ndarray (H, W, 3), uint8
    scale : float
    patches : list of numpy.ndarray (patch_px, patch_px, 3), uint8
        As the slide has them, at the scale at which patches are read.
    """
    with open_slide(path, mpp, reader=settings.reader, icc=settings.icc) as slide:
        rgb, scale = picture_of(slide, longest)
        return rgb, scale, [slide.read(x, y, settings.patch_px, settings.mpp) for x, y in corners]


def gallery(
    ends: Mapping[str, tuple[Sequence[int], Sequence[int]]],
    pixels: Mapping[int, np.ndarray],
    shares: Mapping[str, np.ndarray],
    cells: np.ndarray,
) -> Gallery:
    """Return the rows of a gallery: for each stream the patches with most attention, then those with least.

    Parameters
    ----------
    ends
        Stream to its patches of either end, as `extreme_patches` returns them.
    pixels
        Those patches.
    shares, cells
        Stream to the attention of each patch, and the number of cells of the map that hold it.
    """
    return [
        GalleryRow(
            label=f"{STREAMS.get(stream, stream)}, {label}",
            patches=[pixels[patch] for patch in row],
            relative=[float(shares[stream][patch] / cells[patch] * cells.sum()) for patch in row],
        )
        for stream, both in ends.items()
        for label, row in zip(("most", "least"), both, strict=True)
        if row
    ]


def pictures_of(
    slide_id: str,
    patches: SlidePatches,
    shares: Mapping[str, np.ndarray],
    read: IsolatedCalls | None,
    sources: Mapping[str, SlideSource],
    reading: Reading | None,
) -> tuple[SlidePicture, Gallery | None, str]:
    """Return a slide's picture and its patches of most and least attention.

    Parameters
    ----------
    slide_id
        The slide.
    patches
        Its patches.
    shares
        Stream to the attention of each of them.
    read
        `read_slide_and_patches` in a process of its own.
    sources
        The slides' files.
    reading
        How slides are read; None where they are not.

    Returns
    -------
    picture, gallery, reason
        Where the slide could not be read, its patches on white, nothing, and the reason.
    """
    reason = ""
    if read and reading:
        ends = {stream: extreme_patches(own, patches.cells) for stream, own in shares.items()}
        chosen = list(dict.fromkeys(patch for end in ends.values() for row in end for patch in row))
        corners = [(int(x), int(y)) for x, y in patches.coords[chosen]]
        source = sources[slide_id]
        try:
            rgb, scale, pixels = read(source.path, source.mpp, reading, LONGEST_PX, corners)
            of_patch = dict(zip(chosen, pixels, strict=True))
            return lay_on(rgb, scale, patches, settings=reading), gallery(ends, of_patch, shares, patches.cells), ""
        except SlideError as error:
            reason = error.reason
            log.warning("%s\t%s: %s", slide_id, reason, error)
    return on_white(patches, longest=LONGEST_PX), None, reason


def gallery_png(rows: Gallery, *, title: str, description: str) -> bytes:
    """Return a sheet of patches as a PNG.

    Parameters
    ----------
    rows
        Of `gallery`.
    title
        The line above.
    description
        A text that the file carries.
    """
    columns = max((len(row) for _, row, _ in rows), default=0)
    width = max(2 * MARGIN + columns * (PATCH_PX + MARGIN) - MARGIN, 460)
    height = 2 * MARGIN + LINE_PX + len(rows) * (PATCH_PX + 2 * LINE_PX + MARGIN)
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    draw.text((MARGIN, MARGIN), title, "black", font)
    top = 2 * MARGIN + LINE_PX
    for label, row, values in rows:
        draw.text((MARGIN, top), label, "black", font)
        for number, (patch, value) in enumerate(zip(row, values, strict=True)):
            left = MARGIN + number * (PATCH_PX + MARGIN)
            picture = Image.fromarray(patch).resize((PATCH_PX, PATCH_PX), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left, top + LINE_PX))
            draw.text((left, top + LINE_PX + PATCH_PX + 2), f"{value:.2g} times even", (90, 90, 90), font)
        top += PATCH_PX + 2 * LINE_PX + MARGIN
    data, about = io.BytesIO(), PngInfo()
    about.add_itxt("Description", description)
    sheet.save(data, "PNG", pnginfo=about)
    return data.getvalue()
