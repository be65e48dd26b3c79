"""A laid-out table as LaTeX."""

from __future__ import annotations

from ksfusion.results.tables.layout import Layout
from ksfusion.results.wording import DASH, plain

ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    DASH: "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def to_latex(layout: Layout, *, title: str, label: str, note: str) -> str:
    """Return a table as LaTeX (booktabs): mean, interval and the paper's value one below the other.

    Parameters
    ----------
    layout
        The table.
    title
        Its caption, without a full stop.
    label
        What references call it.
    note
        The last sentences under the table.
    """
    lines = [r"% Needs \usepackage{booktabs}.", r"\begin{table*}", r"\centering", r"\scriptsize"]
    lines += [r"\setlength{\tabcolsep}{3pt}", rf"\caption{{{_escape(title)}.}}", rf"\label{{{label}}}"]
    if layout.rows:
        lines += [rf"\begin{{tabular}}{{ll{'c' * len(layout.metrics)}}}", r"\toprule"]
        heads = [rf"\multicolumn{{{len(labels)}}}{{c}}{{{_heading(task)}}}" for task, labels in layout.groups]
        lines += [rf" & & {' & '.join(heads)} \\", _rules(layout)]
        lines += [rf"Method & Mod. & {' & '.join(map(_escape, layout.metrics))} \\", r"\midrule"]
        for row in layout.rows:
            values = [rf"\textbf{{{cell.value}}}" if cell.best else cell.value for cell in row.cells]
            lines.append(rf"{_escape(row.label)} & {row.modalities} & {' & '.join(values)} \\".replace(DASH, "--"))
            intervals = [rf"{{\tiny {cell.interval}}}" if cell.interval else "" for cell in row.cells]
            lines.append(rf" & & {' & '.join(intervals)} \\".replace(DASH, "--"))
            if row.has_paper:
                published = [rf"\textit{{{cell.published}}}" if cell.published else "" for cell in row.cells]
                lines.append(rf"\quad\textit{{paper}} & & {' & '.join(published)} \\")
            lines.append(r"\addlinespace")
        lines += [r"\bottomrule", r"\end{tabular}"]
    else:
        lines.append("No such method in this run.")
    lines += ["", r"\smallskip", r"\parbox{\linewidth}{\footnotesize"]
    lines += [rf"{_escape(text)}\par" for text in (*layout.notes, note)]
    return "\n".join([*lines, "}", r"\end{table*}"]) + "\n"


def _heading(task: str) -> str:
    return _escape(plain(task).capitalize())


def _rules(layout: Layout) -> str:
    """Return the rules under the headings of the tasks, whose columns begin behind method and modalities."""
    rules, start = [], 3
    for _, labels in layout.groups:
        rules.append(rf"\cmidrule(lr){{{start}-{start + len(labels) - 1}}}")
        start += len(labels)
    return "".join(rules)


def _escape(text: str) -> str:
    return "".join(ESCAPES.get(character, character) for character in text)
