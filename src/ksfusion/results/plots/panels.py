"""Figures made of panels: their frame, the figure that says why there is none, and how figures are saved."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ksfusion.core.atomic import atomic
from ksfusion.results.plots.style import MUTED

COLUMNS = 4
LEAST_WIDTH, RIGHT = 5.2, 0.2  # inches
TITLE_SIZE = 12


def figure_width(
    n_panels: int, *, width: float = 2.75, left: float = 0.65, between: float = 0.4, columns: int = COLUMNS
) -> float:
    """Return the width of a figure of panels, inches; see `panel_figure`."""
    columns = min(columns, n_panels)
    return max(left + RIGHT + columns * width + (columns - 1) * between, LEAST_WIDTH)


def title_size(title: str, width: float) -> float:
    """Return the size in which a title fits into a figure of a width in inches."""
    return min(TITLE_SIZE, 120 * width / max(len(title), 1))


def panel_figure(
    n_panels: int,
    *,
    title: str,
    width: float = 2.75,
    heights: Sequence[float] = (2.5,),
    gap: float = 0.75,
    left: float = 0.65,
    between: float = 0.4,
    footer: float = 0.1,
    columns: int = COLUMNS,
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of panels in rows, each a stack of axes.

    Parameters
    ----------
    n_panels
        Number of panels.
    title
        Title of the figure, at the top left.
    width
        Width of a panel, inches.
    heights
        Heights of the axes of a panel from top to bottom, inches.
    gap
        Space under each row of panels for tick and axis labels and the next title, inches.
    left, between
        Space left of the panels and between them, inches.
    footer
        Space at the bottom for a legend, inches.
    columns
        Panels in a row, at most.

    Returns
    -------
    figure : matplotlib.figure.Figure
    panels : list of list of matplotlib.axes.Axes
        The stack of each panel.
    """
    columns = min(columns, n_panels)
    rows = -(-n_panels // columns)
    head, inner_gap = 0.8, 0.22
    row_height = sum(heights) + inner_gap * (len(heights) - 1) + gap
    total_width = figure_width(n_panels, width=width, left=left, between=between, columns=columns)
    total_height = head + rows * row_height + footer - 0.25
    figure = Figure(figsize=(total_width, total_height))
    size = title_size(title, total_width)
    figure.text(left / total_width, 1 - 0.18 / total_height, title, fontsize=size, fontweight="bold", va="top")
    panels = []
    for number in range(n_panels):
        row, column = divmod(number, columns)
        x, top = left + column * (width + between), total_height - head - row * row_height
        stack = []
        for height in heights:
            box = (x / total_width, (top - height) / total_height, width / total_width, height / total_height)
            stack.append(figure.add_axes(box))
            top -= height + inner_gap
        panels.append(stack)
    return figure, panels


def label_outer(
    panels: Sequence[Sequence[Axes]], *, xlabel: str, ylabels: Sequence[str], columns: int = COLUMNS
) -> None:
    """Name the axes once: x under the lowest panels, y left of the first ones.

    Parameters
    ----------
    panels
        As `panel_figure` returns them; panels that hold a note are left alone.
    xlabel
        Name of x.
    ylabels
        Name of y for each axes of a stack.
    columns
        Panels in a row, as given to `panel_figure`.
    """
    for number, stack in enumerate(panels):
        if number + columns >= len(panels) and stack[-1].axison:
            stack[-1].set_xlabel(xlabel)
        if number % columns == 0:
            for axes, label in zip(stack, ylabels, strict=True):
                if axes.axison:
                    axes.set_ylabel(label)


def note_in(axes: Axes, text: str) -> None:
    """Fill axes with a sentence in place of a drawing."""
    axes.set_axis_off()
    text = wrapped(text, 30, most=11)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=8.5, color=MUTED)


def wrapped(text: str, width: int, *, most: int | None = None) -> str:
    """Break a text into lines of a width, at spaces only, so that a name stays whole; what fills more lines is cut."""
    return textwrap.fill(
        text, width, break_long_words=False, break_on_hyphens=False, max_lines=most, placeholder=" ..."
    )


def sentence_figure(title: str, sentence: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = Figure(figsize=(7.5, 1.9))
    figure.text(0.04, 0.88, title, fontsize=title_size(title, 7.5), fontweight="bold", va="top")
    figure.text(0.04, 0.56, wrapped(sentence, 92, most=5), fontsize=9.5, color=MUTED, va="top", linespacing=1.5)
    return figure


def name_study(figure: Figure, study: str) -> None:
    """Write what the study is called below a figure's title, which is its first text."""
    (x, _), (width, height) = figure.texts[0].get_position(), figure.get_size_inches()
    size = min(8, title_size(study, float(width)))
    figure.text(x, 1 - 0.43 / height, study, fontsize=size, color=MUTED, va="top")


def save_figure(figure: Figure, stem: Path, description: str) -> None:
    """Write a figure twice, without a date, so that equal figures are equal bytes."""
    FigureCanvasAgg(figure)
    for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
        with atomic(stem.with_name(stem.name + suffix)) as temporary:
            figure.savefig(temporary, metadata={**metadata, "Description": description})
