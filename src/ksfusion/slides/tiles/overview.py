"""One picture of each slide: what was taken for tissue, the grid on it, the patches chosen and the tiles flagged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from ksfusion.slides.config import DrawOverviewsSettings
from ksfusion.slides.reading.slide import Slide, open_source
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.tiles.grid import MASK_MPP, find_tissue
from ksfusion.terms.flags import FLAGS

LONGEST_PX = 1200
LEAST_WIDTH = 820
MARGIN, TEXT_PX, LINE_PX = 16, 17, 30
# Colours that differ from stained tissue and, in colour-blind eyes, from each other (M. Okabe and K. Ito, 2008).
CONTOUR, GRID, CHOSEN = (0, 158, 115), (110, 110, 110), (20, 20, 20)
FLAG_COLOURS = dict(zip(FLAGS, [(213, 94, 0), (240, 228, 66), (0, 114, 178)], strict=True))
BORDER_PX, DOT_PX, LARGE_TILE_PX = 4, 5, 20
BARS_UM = (50, 100, 200, 500, 1000, 2000, 5000, 10000)


def draw_overview(slide: Slide, tissue: np.ndarray, tiles: pd.DataFrame, *, tile_um: float, title: str) -> Image.Image:
    """Draw a slide with its tissue, tiles, chosen patches and flags.

    Parameters
    ----------
    slide
        An open slide.
    tissue : numpy.ndarray of bool
        The tissue of the whole slide at 8 um/px.
    tiles
        Level-0 corners ``x`` and ``y``, the flags, and how often each was ``chosen``.
    tile_um
        Side of a tile.
    title
        The line above.

    Returns
    -------
    PIL.Image.Image
        Its longer side is at most 1,200 px; a header and a legend are added.
    """
    mpp = max(slide.mpp, max(slide.dimensions) * slide.mpp / LONGEST_PX)
    picture = slide.thumbnail(mpp)
    contours, _ = cv2.findContours(tissue.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # A contour runs through the centres of px, which for OpenCV lie on whole numbers.
    scale, bits = np.array(picture.shape[1::-1]) / tissue.shape[::-1], 4
    outlines = [np.rint(((line + 0.5) * scale - 0.5) * 2**bits).astype(np.int32) for line in contours]
    cv2.polylines(picture, outlines, True, CONTOUR, 2, cv2.LINE_AA, bits)
    _draw_tiles(picture, tiles, slide.mpp / mpp, tile_um / mpp)
    return _frame(Image.fromarray(picture), title, _legend(tiles), mpp)


def _draw_tiles(picture: np.ndarray, tiles: pd.DataFrame, scale: float, side: float) -> None:
    """Draw the grid, the chosen patches and the flagged tiles; corners times ``scale`` are px of the picture."""
    corners = tiles[["x", "y"]].to_numpy() * scale
    low, high = np.rint(corners).astype(int).tolist(), (np.rint(corners + side).astype(int) - 1).tolist()

    def rectangles(which: np.ndarray, colour: tuple[int, int, int], opacity: float, *borders: int) -> None:
        layer = picture.copy()
        for number in np.nonzero(which)[0]:
            for inset in borders:
                (left, top), (right, bottom) = low[number], high[number]
                cv2.rectangle(layer, (left + inset, top + inset), (right - inset, bottom - inset), colour, 1)
        cv2.addWeighted(layer, opacity, picture, 1 - opacity, 0, dst=picture)

    chosen = tiles["chosen"].to_numpy() > 0
    # Thousands of small tiles would hide the tissue behind their lines.
    rectangles(np.ones(len(tiles), dtype=bool), GRID, 0.6 if side >= LARGE_TILE_PX else 0.2, 0)
    # Small tiles are filled, so that they are seen; the tissue of large ones stays in sight within a border.
    border = range(1, 1 + max(1, min(BORDER_PX, round(side / 3))))
    for flag, colour in FLAG_COLOURS.items():
        rectangles(tiles[flag].to_numpy(), colour, 0.9, *border)
    radius = min(DOT_PX, round(side / 8))
    for x, y in np.rint(corners[chosen] + (side - 1) / 2).astype(int).tolist():
        if side >= LARGE_TILE_PX:
            cv2.circle(picture, (x, y), radius + 1, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, (x, y), radius, CHOSEN, cv2.FILLED, cv2.LINE_AA)


def _legend(tiles: pd.DataFrame) -> list[tuple[str, tuple[int, int, int], int]]:
    """Return the text of each entry, its colour, and the width of its line; 0 for a dot."""
    entries = [("tissue", CONTOUR, 2), (f"tile ({len(tiles):,})", GRID, 1)]
    entries.append((f"chosen ({(tiles['chosen'] > 0).sum():,})", CHOSEN, 0))
    return entries + [(f"{flag} ({tiles[flag].sum():,})", colour, 4) for flag, colour in FLAG_COLOURS.items()]


def _frame(
    picture: Image.Image, title: str, legend: Sequence[tuple[str, tuple[int, int, int], int]], mpp: float
) -> Image.Image:
    """Put the title above a picture, and its legend and scale bar below."""
    width = max(picture.width + 2 * MARGIN, LEAST_WIDTH)
    canvas = Image.new("RGB", (width, picture.height + 3 * MARGIN + 3 * LINE_PX), "white")
    draw, text_px = ImageDraw.Draw(canvas), TEXT_PX
    while text_px > 8 and draw.textlength(title, ImageFont.load_default(text_px)) > width - 2 * MARGIN:
        text_px -= 1
    draw.text((MARGIN, MARGIN), title, "black", ImageFont.load_default(text_px))
    left, top = (width - picture.width) // 2, MARGIN + LINE_PX
    canvas.paste(picture, (left, top))
    draw.rectangle((left - 1, top - 1, left + picture.width, top + picture.height), outline=(180, 180, 180))

    font = ImageFont.load_default(TEXT_PX - 2)
    x, y = MARGIN, top + picture.height + MARGIN // 2
    for text, colour, line in legend:
        if line:
            draw.rectangle((x, y + 3, x + 14, y + 17), outline=colour, width=line)
        else:
            draw.ellipse((x + 2, y + 5, x + 12, y + 15), fill=colour)
        draw.text((x + 21, y), text, "black", font)
        x += 21 + round(draw.textlength(text, font)) + 22
    bar_um = max((bar for bar in BARS_UM if bar / mpp <= picture.width / 3), default=BARS_UM[0])
    y += LINE_PX
    draw.rectangle((MARGIN, y + 8, MARGIN + round(bar_um / mpp), y + 12), fill="black")
    length = f"{bar_um} um" if bar_um < 1000 else f"{bar_um // 1000} mm"
    draw.text((MARGIN + round(bar_um / mpp) + 8, y), length, "black", font)
    return canvas


def count_chosen(tiles: pd.DataFrame, patches: pd.DataFrame) -> pd.DataFrame:
    """Return the tiles of a slide with a column ``chosen``: how many of its patches each tile stands for."""
    return tiles.assign(chosen=tiles["tile"].map(patches["tile"].value_counts()).fillna(0).astype(int))


def overview_png(source: SlideSource, mask: Path | None, tiles: pd.DataFrame, settings: DrawOverviewsSettings) -> bytes:
    """Draw the overview of a slide, as the content of a PNG; runs in a worker process.

    Parameters
    ----------
    source
        The slide's file.
    mask
        The user's mask of its tissue; None where there is none.
    tiles
        Its rows of the table of tiles, with `count_chosen`.
    settings
        The settings of reading the slide and its mask.

    Raises
    ------
    SlideError
        If it cannot be read.
    """
    with open_source(source, settings.slides) as slide:
        with slide.thumbnail_on_disk(MASK_MPP) as thumbnail:
            tissue = find_tissue(slide, thumbnail, mask, settings.masks_origin).mask
        tile_um = settings.slides.patch_px * settings.slides.mpp
        image = draw_overview(slide, tissue, tiles, tile_um=tile_um, title=_title(tiles))
    # A third of Pillow's time, of nearly the same size.
    return cv2.imencode(".png", cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR))[1].tobytes()


def _title(grid: pd.DataFrame) -> str:
    """Return the line on a slide: its name, scale, tissue, tiles and patches."""
    slide = grid.iloc[0]
    parts = [
        slide["slide_id"],
        f"{slide['mpp']:.4g} um/px ({slide['mpp_source'].replace('_', ' ')})",
        f"{slide['tissue_mm2']:.3g} mm2 tissue" + (" (external mask)" if slide["mask"] == "external" else ""),
        f"{len(grid):,} tiles",
        f"{grid['chosen'].sum():,} patches",
    ]
    return "   |   ".join(parts)
