"""A laid-out table as LaTeX."""

from __future__ import annotations

from ksfusion.results.tables.differences import MARK
from ksfusion.results.tables.layout import Cell, Layout
from ksfusion.results.wording import DASH, MINUS

ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Behind the end of a row a bracket would be taken for an option.
    "[": "{[}",
    "]": "{]}",
    DASH: "--",
    MINUS: "$-$",
    "\N{SUPERSCRIPT TWO}": r"\textsuperscript{2}",
    MARK: r"\textsuperscript{\textdagger}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def to_latex(layout: Layout, *, title: str, label: str, note: str | None = None, study: str | None = None) -> str:
    """Return a table as LaTeX (booktabs): mean, interval and the paper's value, or the drop, one below the other.

    Parameters
    ----------
    layout
        The table.
    title
        Its caption, without a full stop.
    label
        Label of the table, by which LaTeX refers to it.
    note
        The last sentences under the table.
    study
        Name of the study.
    """
    caption = " ".join(f"{_escape(text.rstrip('.'))}." for text in (study, title) if text)
    lines = [r"% Needs \usepackage{booktabs}.", r"\begin{table*}", r"\centering", r"\scriptsize"]
    lines += [r"\setlength{\tabcolsep}{3pt}", rf"\caption{{{caption}}}", rf"\label{{{label}}}"]
    if layout.rows:
        lines += [rf"\begin{{tabular}}{{ll{'c' * len(layout.metrics)}}}", r"\toprule"]
        heads = [rf"\multicolumn{{{len(labels)}}}{{c}}{{{_escape(heading)}}}" for heading, labels in layout.groups]
        lines += [rf" & & {' & '.join(heads)} \\", _rules(layout)]
        lines += [rf"Method & Mod. & {' & '.join(map(_escape, layout.metrics))} \\", r"\midrule"]
        for row in layout.rows:
            values = " & ".join(map(_value, row.cells))
            lines.append(_plain_dashes(rf"{_escape(row.label)} & {row.modalities} & {values} \\"))
            intervals = [rf"{{\tiny {cell.interval}}}" if cell.interval else "" for cell in row.cells]
            lines.append(_plain_dashes(rf" & & {' & '.join(intervals)} \\"))
            for name, texts in row.below:
                printed = [rf"\textit{{{text}}}" if text else "" for text in texts]
                lines.append(_plain_dashes(rf"\quad\textit{{{name}}} & & {' & '.join(printed)} \\"))
            lines.append(r"\addlinespace")
        lines += [r"\bottomrule", r"\end{tabular}"]
    else:
        lines.append("No such method in this run.")
    lines += ["", r"\smallskip", r"\parbox{\linewidth}{\footnotesize"]
    lines += [rf"{_escape(text)}\par" for text in (*layout.notes, note) if text]
    return "\n".join([*lines, "}", r"\end{table*}"]) + "\n"


def _value(cell: Cell) -> str:
    value = rf"\textbf{{{cell.value}}}" if cell.best else cell.value
    return value + (ESCAPES[MARK] if cell.differs else "")


def _plain_dashes(line: str) -> str:
    return line.replace(DASH, ESCAPES[DASH]).replace(MINUS, ESCAPES[MINUS])


def _rules(layout: Layout) -> str:
    """Return the rules under the headings of the tasks, whose columns begin behind method and modalities."""
    rules, start = [], 3
    for _, labels in layout.groups:
        rules.append(rf"\cmidrule(lr){{{start}-{start + len(labels) - 1}}}")
        start += len(labels)
    return "".join(rules)


def _escape(text: str) -> str:
    return "".join(ESCAPES.get(character, character) for character in text)
