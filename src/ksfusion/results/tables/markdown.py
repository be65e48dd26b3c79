"""A laid-out table as Markdown."""

from __future__ import annotations

import re

from ksfusion.results.tables.differences import MARK
from ksfusion.results.tables.layout import Cell, Layout


def to_markdown(layout: Layout, *, title: str, note: str | None = None, study: str | None = None) -> str:
    """Return a table as Markdown: under a method's row stand the paper's, or the drop, in italics where there are any.

    Parameters
    ----------
    layout
        The table.
    title
        Its heading.
    note
        The last sentences under the table.
    study
        Name of the study.
    """
    lines = [f"# {escape(title)}", ""]
    if study:
        lines += [escape(study), ""]
    if layout.rows:
        header = ["Method", "Modalities"]
        header += [f"{escape(heading)} {label}" for heading, labels in layout.groups for label in labels]
        body: list[list[str]] = []
        for row in layout.rows:
            body.append([escape(row.label), row.modalities, *(_cell_text(cell) for cell in row.cells)])
            for name, texts in row.below:
                body.append([f"*{name}*", "", *(f"*{text}*" if text else "" for text in texts)])
        widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
        rule = ["-" * width for width in widths[:2]] + ["-" * (width - 1) + ":" for width in widths[2:]]
        for row_cells in (header, rule, *body):
            padded = [text.ljust(width) for text, width in zip(row_cells[:2], widths, strict=False)]
            padded += [text.rjust(width) for text, width in zip(row_cells[2:], widths[2:], strict=True)]
            lines.append(f"| {' | '.join(padded)} |")
        lines.append("")
    else:
        lines += ["No such method in this run.", ""]
    lines += [f"- {escape(text)}" for text in (*layout.notes, note) if text]
    return "\n".join(lines) + "\n"


def _cell_text(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value
    value += MARK if cell.differs else ""
    return f"{value} ({cell.interval})" if cell.interval else value


def escape(text: str) -> str:
    """Return a text that no reader of Markdown takes for more: for emphasis, a link, HTML, a formula or a list."""
    text = re.sub(r"[\\`*_\[\]<>|#~^$&]", r"\\\g<0>", text)
    return re.sub(r"^([0-9]+)(?=[.)])|^(?=[-+=])", r"\1\\", text)
