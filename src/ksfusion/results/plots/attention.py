"""The picture of where a model looks on a slide: the slide, and the attention of each stream on it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ksfusion.results.attention.maps import WHOLE, share_for_half
from ksfusion.results.attention.slide_picture import SlidePicture
from ksfusion.results.plots.style import ATTENTION_MAP, DPI, INK, MUTED, drawing_style

PANEL_WIDTH, PANEL_HEIGHT = 4.0, 3.6  # inches, at most
LEFT, BETWEEN, RIGHT, LEAST_WIDTH = 0.25, 0.2, 0.75, 7.0  # inches
LONGEST_PX = round(max(PANEL_WIDTH, PANEL_HEIGHT) * DPI)
# The scale reaches at least twice the even share, so that an attention which is hardly uneven looks so.
LEAST_TOP, TOP_PERCENTILE = 2.0, 99
OPACITY, PALING = 0.85, 0.5
# Of an even share: less is what rounding leaves of a point that lies on the centre of another patch.
SAMPLED = 1e-4
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601
BARS_MM = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
NAMES = {"tumour": "Attention of the tumour stream", "tme": "Attention of the TME stream", WHOLE: "Attention"}


def draw_attention(
    slide: SlidePicture, attention: Mapping[str, np.ndarray], cells: np.ndarray, *, title: str, lines: Sequence[str]
) -> Figure:
    """Draw a slide, and beside it the attention of each stream on its patches.

    Parameters
    ----------
    slide
        The slide and its patches.
    attention
        Stream to the attention of each patch, as a share of one.
    cells : numpy.ndarray (patches,)
        Number of cells of the map that hold each patch, to which its even share is proportional.
    title, lines
        The title, and the lines below it.

    Returns
    -------
    matplotlib.figure.Figure
        With a panel for the slide, where there is one, and one for each stream.
    """
    relative = {stream: shares / (cells / cells.sum()) for stream, shares in attention.items()}
    top = max(LEAST_TOP, *(float(np.percentile(values, TOP_PERCENTILE)) for values in relative.values()))
    colours = ScalarMappable(Normalize(0, top), ATTENTION_MAP)
    pictures = {"Slide": (slide.rgb, "")} if slide.is_slide else {}
    for stream, values in relative.items():
        pictures[NAMES[stream]] = (_coloured(slide, colours, values), _note(values, attention[stream], cells))

    height, width = (side * _inches_per_px(slide.rgb) for side in slide.rgb.shape[:2])
    head, foot = 0.62 + 0.2 * len(lines), 0.35 if slide.is_slide else 0.6
    total_width = max(LEFT + len(pictures) * (width + BETWEEN) + RIGHT, LEAST_WIDTH)
    total_height = head + height + foot
    figure = Figure(figsize=(total_width, total_height))

    def box(x: float, width: float) -> tuple[float, float, float, float]:
        return (x / total_width, foot / total_height, width / total_width, height / total_height)

    x, y = LEFT / total_width, 1 - 0.12 / total_height
    figure.text(x, y, title, fontsize=min(12, 120 * total_width / len(title)), fontweight="bold", va="top")
    figure.text(x, y - 0.26 / total_height, "\n".join(lines), va="top", linespacing=1.5)
    for number, (name, (picture, note)) in enumerate(pictures.items()):
        axes = figure.add_axes(box(LEFT + number * (width + BETWEEN), width))
        axes.imshow(picture, aspect="auto")
        axes.set_title(name)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=MUTED, linewidth=0.5)
        axes.text(0, -0.07 / height, note, transform=axes.transAxes, va="top", fontsize=8, color=MUTED)
        if number == 0:
            # A stream's panel has its note there.
            _draw_scale_bar(axes, slide, below=(0.17 if slide.is_slide else 0.4) / height)
    where = figure.add_axes(box(LEFT + len(pictures) * (width + BETWEEN), 0.14))
    bar = figure.colorbar(colours, cax=where, extend="max", alpha=OPACITY)
    bar.set_label("attention of a patch, times an even share", fontsize=8)
    bar.ax.grid(visible=False)
    bar.ax.axhline(1, color=INK, linewidth=1)
    bar.outline.set(edgecolor=MUTED, linewidth=0.5)
    return figure


def attention_png(
    slide: SlidePicture,
    attention: Mapping[str, np.ndarray],
    cells: np.ndarray,
    *,
    title: str,
    lines: Sequence[str],
    description: str,
) -> bytes:
    """Draw as `draw_attention` does, and return the figure as a PNG.

    Parameters
    ----------
    slide, attention, cells, title, lines
        See `draw_attention`.
    description
        A text that the file carries.
    """
    data = io.BytesIO()
    with drawing_style():
        figure = draw_attention(slide, attention, cells, title=title, lines=lines)
        FigureCanvasAgg(figure)
        figure.savefig(data, format="png", metadata={"Description": description})
    return data.getvalue()


def _inches_per_px(rgb: np.ndarray) -> float:
    height, width = rgb.shape[:2]
    return float(min(PANEL_HEIGHT / height, PANEL_WIDTH / width))


def _coloured(slide: SlidePicture, colours: ScalarMappable, values: np.ndarray) -> np.ndarray:
    """Colour patches by their values on a pale grey slide; what has none, or was not sampled at all, stays grey."""
    pale = 255 - PALING * (255 - slide.rgb.astype(float) @ LUMINANCE)
    result = np.repeat(pale[..., None], 3, axis=2)
    low = np.rint(slide.corners).astype(int)
    # A patch that is smaller than a px has one.
    high = np.maximum(np.rint(slide.corners + slide.side).astype(int), low + 1)
    rgb = 255 * colours.to_rgba(values)[:, :3]
    for patch in np.flatnonzero(values > SAMPLED):
        (left, upper), (right, lower) = low[patch], high[patch]
        part = result[upper:lower, left:right]
        part[:] = OPACITY * rgb[patch] + (1 - OPACITY) * part
    coloured: np.ndarray = np.rint(result).astype(np.uint8)
    return coloured


def _note(relative: np.ndarray, shares: np.ndarray, cells: np.ndarray) -> str:
    """Return how far the attention is concentrated, and what of it falls outside of the map, in words."""
    if not np.isfinite(shares).all():
        return "not finite"
    text = f"half of it on {share_for_half(relative, cells):.0%} of the map (even: 50%)"
    outside = 1 - shares.sum()
    return f"{text}; {outside:.0%} of it outside" if outside > 0.005 else text


def _draw_scale_bar(axes: Axes, slide: SlidePicture, *, below: float) -> None:
    """Draw a bar of round length below a panel, at most a third as long; or say that the scale is not known."""
    if slide.px_mm is None:
        axes.text(0, -below, "scale not known", transform=axes.transAxes, va="center", fontsize=8)
        return
    width = slide.rgb.shape[1]
    length = max((bar for bar in BARS_MM if bar <= width * slide.px_mm / 3), default=BARS_MM[0])
    share = length / slide.px_mm / width
    axes.plot([0, share], [-below, -below], transform=axes.transAxes, color=INK, linewidth=2.5, clip_on=False,
              solid_capstyle="butt")  # fmt: skip
    axes.text(share + 0.02, -below, f"{length:g} mm", transform=axes.transAxes, va="center", fontsize=8)
