"""Laid-out tables as a document for Word."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksfusion.core.atomic import atomic
from ksfusion.results.tables.differences import MARK
from ksfusion.results.tables.layout import Cell, Layout

if TYPE_CHECKING:
    from docx.document import Document
    from docx.table import _Cell

# Points, and the sides of a page on its side in millimetres.
VALUE_SIZE, SMALL_SIZE = 7, 5.5
WIDTH, HEIGHT, MARGIN = 297, 210, 12
# The earliest time that an archive can state: the same tables are the same file.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def write_word(
    parts: Sequence[tuple[str, Layout]],
    path: Path,
    made_by: Mapping[str, Any],
    *,
    note: str | None = None,
    study: str | None = None,
) -> None:
    """Write tables as ``.docx``, one below the other: mean, interval and the paper's value in a cell.

    Parameters
    ----------
    parts
        The title of each table, and the table.
    path
        The file to write.
    made_by
        Its provenance, whose versions stand among the properties of the document.
    note
        The last sentence under each table.
    study
        Name of the study.
    """
    import docx
    from docx.enum.section import WD_ORIENT
    from docx.shared import Mm

    document = docx.Document()
    page = document.sections[0]
    page.orientation, page.page_width, page.page_height = WD_ORIENT.LANDSCAPE, Mm(WIDTH), Mm(HEIGHT)
    page.left_margin = page.right_margin = page.top_margin = page.bottom_margin = Mm(MARGIN)
    document.core_properties.comments = f"ksfusion {made_by['ksfusion']}, code {made_by['code']}"
    document.core_properties.author, document.core_properties.title = "ksfusion", study or ""
    if study:
        document.add_heading(_printable(study), level=1)
    for title, layout in parts:
        document.add_heading(_printable(title), level=2)
        if layout.rows:
            _add_table(document, layout)
        else:
            document.add_paragraph("No such method in this run.")
        for text in (*layout.notes, note):
            if text:
                _add(document.add_paragraph(style="List Bullet"), text, size=VALUE_SIZE)
    written = io.BytesIO()
    document.save(written)
    with (
        atomic(path) as temporary,
        zipfile.ZipFile(written) as source,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in source.namelist():
            archive.writestr(zipfile.ZipInfo(name, NO_TIME), source.read(name), zipfile.ZIP_DEFLATED)


def _add_table(document: Document, layout: Layout) -> None:
    table = document.add_table(rows=2 + len(layout.rows), cols=2 + len(layout.metrics), style="Table Grid")
    first, second, *body = [list(row.cells) for row in table.rows]
    for start, (heading, labels) in zip(layout.group_starts, layout.groups, strict=True):
        merged = first[2 + start].merge(first[1 + start + len(labels)])
        _fill(merged, heading, bold=True)
    for cell, text in zip(second, ("Method", "Modalities", *layout.metrics), strict=True):
        _fill(cell, text, bold=True)
    for cells, row in zip(body, layout.rows, strict=True):
        _fill(cells[0], row.label)
        _fill(cells[1], row.modalities)
        for cell, found in zip(cells[2:], row.cells, strict=True):
            _fill_value(cell, found)


def _fill_value(cell: _Cell, found: Cell) -> None:
    _fill(cell, found.value + (MARK if found.differs else ""), bold=found.best)
    if found.interval:
        _add(cell.add_paragraph(), found.interval, size=SMALL_SIZE)
    if found.published:
        _add(cell.add_paragraph(), f"paper {found.published}", size=SMALL_SIZE)
    if found.dropped:
        _add(cell.add_paragraph(), f"drop {found.dropped}", size=SMALL_SIZE)


def _fill(cell: _Cell, text: str, *, bold: bool = False) -> None:
    _add(cell.paragraphs[0], text, size=VALUE_SIZE, bold=bold)


def _add(paragraph: Any, text: str, *, size: float, bold: bool = False) -> None:
    from docx.shared import Pt

    paragraph.paragraph_format.space_after = Pt(0)
    run = paragraph.add_run(_printable(text))
    run.font.size, run.bold = Pt(size), bold


def _printable(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return "".join(character for character in text if character.isprintable() or character in "\t\n")
