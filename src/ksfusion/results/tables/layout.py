"""The paper's layout of a long table: a row per method, a group of columns per task."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.metrics import METRIC_LABELS
from ksfusion.results.statistics import COVERAGE

PAPER_NOTE = (
    "The paper's 22 accuracies are all exact multiples of 1/236: it scored 236 test samples, and most likely one run "
    "each rather than the mean of three. Compare its values with the bootstrap intervals over cases (about 5 points to "
    "either side there), not with the standard deviation over seeds, which leaves out the choice of the cases."
)
MODALITIES = {"p": "p", "g": "g", "pg": "p+g"}
MODALITY_NOTE = "p: patches of the slide; g: genes."
METHOD_LABELS = {
    "attmil": "AttMIL",
    "transmil": "TransMIL",
    "snn": "SNN",
    "concat": "Concatenation",
    "add": "Addition",
    "bilinear": "Bilinear",
    "mcat": "MCAT",
    "cmta": "CMTA",
    "ksfusion": "KS-Fusion",
    "ksfusion-no-gecon": "KS-Fusion without Ge-Con",
    "ksfusion-no-cgcoord": "KS-Fusion without CG-Coord",
    "ksfusion-released": "KS-Fusion, released code",
}
DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """A metric of a method; NaN where missing."""

    mean: float
    ci_low: float
    ci_high: float
    paper: float
    best: bool

    @property
    def value(self) -> str:
        """The mean, one decimal."""
        return DASH if math.isnan(self.mean) else f"{self.mean:.1f}"

    @property
    def interval(self) -> str:
        """The interval, or nothing."""
        return "" if math.isnan(self.ci_low) else f"{self.ci_low:.1f}{DASH}{self.ci_high:.1f}"

    @property
    def published(self) -> str:
        """The paper's value, or nothing."""
        return "" if math.isnan(self.paper) else f"{self.paper:.2f}"


@dataclass(frozen=True)
class Row:
    """A method's row."""

    method: str
    label: str
    modalities: str
    cells: tuple[Cell, ...]

    @property
    def has_paper(self) -> bool:
        """Whether the paper publishes any of it."""
        return any(cell.published for cell in self.cells)


@dataclass(frozen=True)
class Layout:
    """A table as the paper prints it.

    Attributes
    ----------
    groups
        Task, and the labels of its metrics.
    rows
        One per method.
    notes
        Sentences to stand under the table.
    """

    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def metrics(self) -> list[str]:
        """Labels of all columns."""
        return [label for _, labels in self.groups for label in labels]

    @property
    def group_starts(self) -> list[int]:
        """Number of the first column of each task."""
        lengths = [len(labels) for _, labels in self.groups]
        return [sum(lengths[:number]) for number in range(len(lengths))]


def method_label(method: str) -> str:
    """Return a method's name as printed."""
    if method.startswith("ksfusion-alpha"):
        return f"KS-Fusion, alpha {alpha_of(method):g}"
    return METHOD_LABELS.get(method, method)


def alpha_of(method: str) -> float:
    """Return the alpha that a variant's name states: ``alpha025`` is 0.25, ``alpha1`` and ``alpha100`` are 1."""
    digits = method.removeprefix("ksfusion-alpha")
    return float(f"{digits[0]}.{digits[1:]}")


def plain(name: str) -> str:
    """Return the name of a task, class, check or reason in plain words."""
    return re.sub(r"\bg([1-4])\b", r"grade \1", name.replace("_", " "))


def lay_out(long: pd.DataFrame, *, level: str = "sample", cohort: str = "all", caveats: Sequence[str] = ()) -> Layout:
    """Arrange the rows of a long table over all folds.

    Parameters
    ----------
    long : pandas.DataFrame
        With the columns of `ksfusion.results.tables.scores.COLUMNS`.
    level, cohort
        Which of its rows.
    caveats
        Sentences that stand first among the notes.
    """
    chosen = long[(long["level"] == level) & (long["cohort"] == cohort) & (long["fold"] == "all")]
    columns = list(dict.fromkeys(zip(chosen["task"], chosen["metric"], strict=True)))
    best = chosen.groupby(["task", "metric"])["mean"].max()
    found = {(row.method, row.task, row.metric): row for row in chosen.itertuples()}

    def cell(method: str, task: str, metric: str) -> Cell:
        row = found.get((method, task, metric))
        if row is None:
            return Cell(math.nan, math.nan, math.nan, math.nan, best=False)
        is_best = chosen["method"].nunique() > 1 and f"{row.mean:.1f}" == f"{best[task, metric]:.1f}" != "nan"
        return Cell(row.mean, row.ci_low, row.ci_high, row.paper, best=is_best)

    rows = tuple(
        Row(
            method=method,
            label=method_label(method),
            modalities=MODALITIES[METHODS[method].modalities],
            cells=tuple(cell(method, task, metric) for task, metric in columns),
        )
        for method in chosen["method"].unique()
    )
    groups = tuple(
        (task, tuple(METRIC_LABELS[metric] for of_task, metric in columns if of_task == task))
        for task in chosen["task"].unique()
    )
    n_folds = long.loc[long["fold"] != "all", "fold"].nunique()
    return Layout(groups, rows, (*caveats, *_notes(chosen, level, n_folds)))


def _notes(chosen: pd.DataFrame, level: str, n_folds: int) -> Iterator[str]:
    """Say how many were scored, and what is missing."""
    counts = chosen.groupby("task", sort=False)["n"].max()
    if len(counts):
        scored = ", ".join(f"{plain(task)} {count}" for task, count in counts.items())
        over = "folds and seeds" if n_folds > 1 else "seeds"
        how = f"mean over {over}, with the {COVERAGE} % interval by bootstrap over cases"
        yield f"In percent: {how}. Test {level}s: {scored}."
        yield MODALITY_NOTE
    missing = chosen[chosen["reason"] != ""]
    for (task, reason), rows in missing.groupby(["task", "reason"], sort=False):
        whole = chosen[chosen["task"] == task]
        metrics, methods = rows["metric"].unique(), rows["method"].unique()
        about = [METRIC_LABELS[metric] for metric in metrics] if len(metrics) < whole["metric"].nunique() else []
        about += [method_label(method) for method in methods] if len(methods) < whole["method"].nunique() else []
        details = f" ({', '.join(about)})" if about else ""
        yield f"{plain(task).capitalize()}{details}: {plain(reason)}."


def to_markdown(layout: Layout, *, title: str, note: str) -> str:
    """Return the table as Markdown: under a method's row stands the paper's in italics."""
    lines = [f"# {title}", ""]
    if layout.rows:
        header = ["Method", "Modalities"]
        header += [f"{plain(task).capitalize()} {label}" for task, labels in layout.groups for label in labels]
        body = []
        for row in layout.rows:
            body.append([_escape_markdown(row.label), row.modalities, *(_markdown_cell(cell) for cell in row.cells)])
            if row.has_paper:
                body.append(["*paper*", "", *(f"*{c.published}*" if c.published else "" for c in row.cells)])
        widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
        rule = ["-" * width for width in widths[:2]] + ["-" * (width - 1) + ":" for width in widths[2:]]
        for row_cells in (header, rule, *body):
            padded = [text.ljust(width) for text, width in zip(row_cells[:2], widths, strict=False)]
            padded += [text.rjust(width) for text, width in zip(row_cells[2:], widths[2:], strict=True)]
            lines.append(f"| {' | '.join(padded)} |")
        lines.append("")
    else:
        lines += ["No such method in this run.", ""]
    lines += [f"- {_escape_markdown(text)}" for text in (*layout.notes, note)]
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value
    return f"{value} ({cell.interval})" if cell.interval else value


def _escape_markdown(text: str) -> str:
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return text


def to_latex(layout: Layout, *, title: str, label: str, note: str) -> str:
    """Return the table as LaTeX (booktabs): mean, interval and the paper's value one below the other."""
    lines = [r"% Needs \usepackage{booktabs}.", r"\begin{table*}", r"\centering", r"\scriptsize"]
    lines += [r"\setlength{\tabcolsep}{3pt}", rf"\caption{{{_escape_latex(title)}.}}", rf"\label{{{label}}}"]
    if layout.rows:
        lines += [rf"\begin{{tabular}}{{ll{'c' * len(layout.metrics)}}}", r"\toprule"]
        heads = [rf"\multicolumn{{{len(labels)}}}{{c}}{{{_latex(task)}}}" for task, labels in layout.groups]
        lines += [rf" & & {' & '.join(heads)} \\", *_latex_rules(layout)]
        lines += [rf"Method & Mod. & {' & '.join(map(_escape_latex, layout.metrics))} \\", r"\midrule"]
        for row in layout.rows:
            values = [rf"\textbf{{{cell.value}}}" if cell.best else cell.value for cell in row.cells]
            lines.append(
                rf"{_escape_latex(row.label)} & {row.modalities} & {' & '.join(values)} \\".replace(DASH, "--")
            )
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
    lines += [rf"{_escape_latex(text)}\par" for text in (*layout.notes, note)]
    return "\n".join([*lines, "}", r"\end{table*}"]) + "\n"


def _latex(task: str) -> str:
    return _escape_latex(plain(task).capitalize())


def _latex_rules(layout: Layout) -> list[str]:
    rules, start = [], 3
    for _, labels in layout.groups:
        rules.append(rf"\cmidrule(lr){{{start}-{start + len(labels) - 1}}}")
        start += len(labels)
    return ["".join(rules)]


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    DASH: "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
