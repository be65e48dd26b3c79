"""The tables stage: every method on the test samples and cases, as long tables and in the paper's layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.provenance import provenance
from ksfusion.core.resources import resource
from ksfusion.core.storage import read_tsv, write_text, write_tsv
from ksfusion.results.config import Compared, MakeTablesSettings, Results
from ksfusion.results.runs import read_runs
from ksfusion.results.tables.differences import read_comparisons
from ksfusion.results.tables.latex import to_latex
from ksfusion.results.tables.layout import PAPER_NOTE, lay_out
from ksfusion.results.tables.markdown import to_markdown
from ksfusion.results.tables.scores import TITLES, as_text, choose_methods, result_table


def make_tables(
    runs: Sequence[Path], output: Path, *, settings: MakeTablesSettings, comparisons: Path | None = None
) -> None:
    """Write the result tables: table1, table2 and alpha (.tsv, .md, .tex), or some of them.

    Each ``.tsv`` is a long table (`ksfusion.results.tables.scores.COLUMNS`); ``.md`` and ``.tex`` are in the paper's
    layout. A table without a method says so.

    Parameters
    ----------
    runs
        Folders of runs, each with ``predictions.parquet`` and ``metrics.json``.
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
    found = read_runs(runs, settings.tasks, shared=settings.shared)
    beside_paper = settings.published == "paper"
    paper = read_tsv(resource("paper_tables.tsv")) if beside_paper else None
    results = result_table(
        found, tasks=settings.tasks, methods=settings.methods, paper=paper, resamples=settings.resamples
    )
    compared = read_comparisons(comparisons, settings)
    made_by = provenance(__name__, {**Compared.of(settings).record(), **Results.of(settings).record()})
    of_table = choose_methods(settings.methods)
    printed = {"study": settings.title, "note": PAPER_NOTE if beside_paper else None}
    for name in settings.names:
        long = results[results["method"].isin(of_table[name])]
        write_tsv(as_text(long), output / f"{name}.tsv", made_by)
        layout = lay_out(long, caveats=settings.caveats, titles=settings.titles(), comparisons=compared)
        write_text(to_markdown(layout, title=TITLES[name], **printed), output / f"{name}.md", made_by)
        latex = to_latex(layout, title=TITLES[name], label=f"tab:{name}", **printed)
        write_text(latex, output / f"{name}.tex", made_by)
