"""The tables stage: every method on the test samples and cases, as long tables and in the paper's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ksfusion.core.provenance import provenance
from ksfusion.core.resources import resource
from ksfusion.core.storage import read_tsv, write_text, write_tsv
from ksfusion.results.config import Compared, MakeTablesSettings, TableContents
from ksfusion.results.measures import FurtherMeasures
from ksfusion.results.runs import Run, read_runs
from ksfusion.results.tables.differences import read_comparisons
from ksfusion.results.tables.latex import to_latex
from ksfusion.results.tables.layout import PAPER_NOTE, lay_out
from ksfusion.results.tables.markdown import to_markdown
from ksfusion.results.tables.scores import TITLES, as_text, choose_methods, result_table
from ksfusion.results.tables.supplement import lay_out_supplement
from ksfusion.results.tables.word import write_word


def make_tables(
    runs: Sequence[Path], output: Path, *, settings: MakeTablesSettings, comparisons: Path | None = None
) -> None:
    """Write the result tables: table1, table2, alpha and table_s1 (.tsv, .md, .tex, .docx), or some of them.

    Each ``.tsv`` is a long table (`ksfusion.results.tables.scores.COLUMNS`), the others are in the paper's layout. A
    table without a method says so. Table S1 has the further metrics, a part for each task and class.

    Parameters
    ----------
    runs
        Folders of runs, each with ``predictions.parquet`` and ``metrics.json``; for Table S1 ``config.json`` too.
    output
        Folder of the tables.
    settings
        Tasks and methods in the order of the tables, which tables, and whether the paper's values stand beside.
    comparisons
        The table of `make-comparisons`, by which values that differ from the reference's are marked.

    Raises
    ------
    UserError
        If a run's files are missing or not what they should be, or two runs are the same.
    """
    further = "table_s1" in settings.names
    found = read_runs(runs, settings.tasks, shared=settings.shared, curves=further)
    beside_paper = settings.published == "paper"
    paper = read_tsv(resource("paper_tables.tsv")) if beside_paper else None
    results = result_table(
        found, tasks=settings.tasks, methods=settings.methods, paper=paper, resamples=settings.resamples
    )
    compared = read_comparisons(comparisons, settings)
    made_by = provenance(__name__, {**Compared.of(settings).record(), **TableContents.of(settings).record()})
    of_table = choose_methods(settings.methods)
    printed = {"study": settings.title, "note": PAPER_NOTE if beside_paper else None}
    for name in settings.names:
        if name == "table_s1":
            continue
        long = results[results["method"].isin(of_table[name])]
        write_tsv(as_text(long), output / f"{name}.tsv", made_by)
        layout = lay_out(long, caveats=settings.caveats, titles=settings.titles(), comparisons=compared)
        write_text(to_markdown(layout, title=TITLES[name], **printed), output / f"{name}.md", made_by)
        latex = to_latex(layout, title=TITLES[name], label=f"tab:{name}", **printed)
        write_text(latex, output / f"{name}.tex", made_by)
        write_word([(TITLES[name], layout)], output / f"{name}.docx", made_by, **printed)
    if further:
        _write_supplement(found, of_table["table_s1"], output, settings, made_by)


def _write_supplement(
    runs: Sequence[Run], methods: Sequence[str], output: Path, settings: MakeTablesSettings, made_by: Mapping[str, Any]
) -> None:
    """Write Table S1: a long table, and a part for each task and class in the layout."""
    long = result_table(
        runs,
        tasks=settings.tasks,
        methods=methods,
        resamples=settings.resamples,
        measures=FurtherMeasures(settings.times),
    )
    write_tsv(as_text(long), output / "table_s1.tsv", made_by)
    parts = list(lay_out_supplement(long, settings.tasks, caveats=settings.caveats))
    markdown, latex = [], []
    for number, (about, layout) in enumerate(parts, start=1):
        title = f"{TITLES['table_s1']}: {about}"
        markdown.append(to_markdown(layout, title=title, study=settings.title))
        latex.append(to_latex(layout, title=title, label=f"tab:table_s1_{number}", study=settings.title))
    write_text("\n".join(markdown), output / "table_s1.md", made_by)
    write_text("\n".join(latex), output / "table_s1.tex", made_by)
    titled = [(f"{TITLES['table_s1']}: {about}", layout) for about, layout in parts]
    write_word(titled, output / "table_s1.docx", made_by, study=settings.title)
