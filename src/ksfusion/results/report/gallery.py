"""Pictures on the report: all figures, small pictures of slides and heatmaps worth a look, links to the rest."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import pandas as pd
from PIL import Image

from ksfusion.core.errors import DamagedFileError
from ksfusion.core.storage import read_json, read_tsv
from ksfusion.results.plots.figures import FigureEntry
from ksfusion.results.plots.kinds import FOREST, KIND_ORDER
from ksfusion.results.plots.style import DPI
from ksfusion.terms.flags import FLAGS

MOST_PICTURES = 24
PICTURE_PX, HEATMAP_PX, JPEG_QUALITY = 420, 1160, 82
# A slide is shown before others where at least so many of its tiles have a flag.
WORTH_A_LOOK = 0.05
SCREEN_DPI = 96
# The last piece of a PNG, with its checksum.
PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"


class PageImage(TypedDict):
    """A picture as text, and its width on the page in px."""

    image: str
    width: int


class PageFigure(FigureEntry, PageImage):
    """A figure with its title and caption."""


class TitledImage(PageImage):
    """A figure that no list names, with its title and caption."""

    title: str
    caption: str


class FigureSection(TypedDict):
    """The figures of a kind, one for each task that has it."""

    id: str
    heading: str
    figures: list[PageFigure]


class SlideLink(TypedDict):
    """A slide, and where its picture lies."""

    slide_id: str
    link: str


class ShownSlide(SlideLink):
    """A slide with its small picture, what is known of it and what to look at."""

    image: str
    about: str
    warnings: list[str]


class FlagCount(TypedDict):
    """How many slides have tiles with a flag, and the highest share of a slide's tiles, in percent."""

    flag: str
    meaning: str
    slides: int
    highest: int


class SlideGallery(TypedDict):
    """Slides that are shown, links to the others, and their flags."""

    total: int
    pictures: list[ShownSlide]
    links: list[SlideLink]
    flags: list[FlagCount]


def figure_gallery(lists: Iterable[Path]) -> list[PageFigure]:
    """Return the figures that lists name.

    Parameters
    ----------
    lists
        The lists of `ksfusion.stages.draw_figures`, beside the figures.
    """
    figures: list[PageFigure] = []
    for path in lists:
        entries: list[FigureEntry] = read_json(path)
        for entry in entries:
            image = page_image(path.with_name(f"{entry['name']}.png"), listed_in=path)
            figures.append({**entry, **image})
    return figures


def figure_sections(figures: Iterable[PageFigure]) -> tuple[list[PageFigure], list[FigureSection]]:
    """Return the figures of differences, and the others by kind, in the order of `KIND_ORDER`."""
    by_kind: dict[str, list[PageFigure]] = {}
    for figure in figures:
        by_kind.setdefault(figure["kind"], []).append(figure)
    forests = by_kind.pop(FOREST, [])
    ordered = sorted(by_kind, key=lambda kind: KIND_ORDER.index(kind) if kind in KIND_ORDER else len(KIND_ORDER))
    return forests, [
        FigureSection(id=f"figures-{kind}", heading=by_kind[kind][0]["heading"], figures=by_kind[kind])
        for kind in ordered
    ]


def page_image(path: Path, *, listed_in: Path | None = None) -> PageImage:
    """Return a PNG as text, and its width on the page, at which text has one size in all figures.

    Parameters
    ----------
    path
        The PNG.
    listed_in
        The list that is made with it, where it is not waited for itself.

    Raises
    ------
    DamagedFileError
        If it is damaged.
    """
    data = _read_png(path, listed_in)
    # A PNG states its width in bytes 16 to 20.
    width = int.from_bytes(data[16:20], "big") * SCREEN_DPI // DPI
    return PageImage(image=f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}", width=width)


def slide_gallery(slides: pd.DataFrame, overviews: Iterable[Path], *, report: Path) -> SlideGallery:
    """Choose the slides to show, those with warnings first and the worst of them at the top.

    Parameters
    ----------
    slides
        The ledger of slides.
    overviews
        The lists of `ksfusion.stages.draw_overviews`, beside the pictures.
    report
        The page, from whose folder links start.
    """
    lists = overview_lists(overviews)
    files = {slide_id: file for slide_id, (file, _) in lists.items()}
    drawn = slides[slides["slide_id"].isin(files)].copy()
    drawn["warnings"] = [_warnings(row) for _, row in drawn.iterrows()]
    drawn["worst"] = drawn[list(FLAGS)].max(axis=1).where(drawn["stain"] != "fallback", 1.0)
    drawn["worst"] = drawn["worst"].where(drawn["warnings"].map(bool), 0.0)
    drawn = drawn.sort_values(["worst", "slide_id"], ascending=[False, True])
    links = [SlideLink(slide_id=slide_id, link=link_from(report, files[slide_id])) for slide_id in drawn["slide_id"]]
    shown = drawn.iloc[:MOST_PICTURES]
    return SlideGallery(
        total=len(drawn),
        pictures=[
            ShownSlide(
                **link,
                image=small_picture(*lists[row["slide_id"]], PICTURE_PX),
                about=_about(row),
                warnings=row["warnings"],
            )
            for link, (_, row) in zip(links, shown.iterrows(), strict=False)
        ],
        links=links[MOST_PICTURES:],
        flags=_count_flags(drawn),
    )


def overview_lists(overviews: Iterable[Path]) -> dict[str, tuple[Path, Path]]:
    """Return the picture of each slide that has one, and the list in which it stands."""
    files: dict[str, tuple[Path, Path]] = {}
    for path in overviews:
        listed = read_tsv(path, dtype=str).dropna(subset=["overview"])
        files |= {row.slide_id: (path.with_name(row.overview), path) for row in listed.itertuples()}
    return {slide_id: found for slide_id, found in files.items() if found[0].is_file()}


def _warnings(row: pd.Series) -> list[str]:
    warnings = [f"{flag} {row[flag]:.0%}" for flag in FLAGS if row[flag] >= WORTH_A_LOOK]
    return warnings + ["stain not fitted"] * (row["stain"] == "fallback")


def _about(row: pd.Series) -> str:
    repeated = f", {row['repeated_patches']} patches repeated" if row["repeated_patches"] else ""
    mask = ", your mask" if row["mask"] == "external" else ""
    return f"{row['tissue_mm2']:.3g} mm² of tissue{mask}, {row['tiles']} tiles{repeated}"


def _count_flags(drawn: pd.DataFrame) -> list[FlagCount]:
    return [
        FlagCount(
            flag=flag,
            meaning=meaning,
            slides=int((drawn[flag] > 0).sum()),
            highest=round(100 * float(drawn[flag].max())) if len(drawn) else 0,
        )
        for flag, meaning in FLAGS.items()
    ]


def link_from(report: Path, file: Path) -> str:
    """Return the link from the report to a file."""
    return Path(os.path.relpath(file, report.parent)).as_posix()


def _read_png(path: Path, listed_in: Path | None) -> bytes:
    """Return the bytes of a PNG after making sure that they are what was written: it has checksums of its own."""
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.verify()
        if not data.endswith(PNG_END):
            raise ValueError("does not end where its picture does")
    except (OSError, SyntaxError, ValueError):
        raise DamagedFileError(path, delete=listed_in) from None
    return data


def small_picture(path: Path, listed_in: Path, longest: int) -> str:
    """Return a picture as the text of a small JPEG."""
    with Image.open(io.BytesIO(_read_png(path, listed_in))) as image:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        image.convert("RGB").save(data, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
