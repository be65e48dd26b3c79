"""The tables stage: every method on the test samples and cases, as long tables and in the paper's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ksfusion.core.provenance import provenance
from ksfusion.core.resources import resource
from ksfusion.core.storage import read_tsv, write_text, write_tsv
from ksfusion.results.config import TableContents
from ksfusion.results.further_measures import FurtherMeasures
from ksfusion.results.runs import Run, external_cohorts, read_runs
from ksfusion.results.stage_settings import Compared, MakeTablesSettings
from ksfusion.results.tables.differences import Comparisons, read_comparisons
from ksfusion.results.tables.external import as_text as drops_as_text
from ksfusion.results.tables.external import cohorts_in, score_all, title_outside
from ksfusion.results.tables.latex import to_latex
from ksfusion.results.tables.layout import PAPER_NOTE, Layout, lay_out
from ksfusion.results.tables.markdown import to_markdown
from ksfusion.results.tables.partial import compared_on, kinds_in, with_partial
from ksfusion.results.tables.scores import TITLES, as_text, choose_methods, result_table
from ksfusion.results.tables.supplement import lay_out_supplement
from ksfusion.results.tables.word import write_word
from ksfusion.terms.modalities import MODALITIES


def make_tables(
    runs: Sequence[Path], output: Path, *, settings: MakeTablesSettings, comparisons: Path | None = None
) -> None:
    """Write the result tables: table1, table2, alpha and table_s1 (.tsv, .md, .tex, .docx), or some of them.

    Each ``.tsv`` is a long table (`ksfusion.results.tables.scores.COLUMNS`), the others are in the paper's layout,
    with a part for each external cohort, and for test samples with a slide or genes alone. A table without a method
    says so. Table S1 has the further metrics, a part for each task and class. With external cohorts ``external.tsv``
    has the drop of every result there.

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
    score = partial(
        result_table, tasks=settings.tasks, methods=settings.methods, resamples=settings.resamples, paper=paper
    )
    results = score_all(found, score)
    table = with_partial(results.table, found, score)
    compared = read_comparisons(comparisons, settings)
    made_by = provenance(__name__, {**Compared.of(settings).record(), **TableContents.of(settings).record()})
    of_table = choose_methods(settings.methods)
    shown = partial(lay_out, caveats=settings.caveats, titles=settings.titles(), comparisons=compared)
    for name in settings.names:
        if name == "table_s1":
            continue
        long = table[table["method"].isin(of_table[name])]
        write_tsv(as_text(long), output / f"{name}.tsv", made_by)
        layout = shown(long)
        noted = (*layout.notes, PAPER_NOTE) if beside_paper else layout.notes
        parts = [Part(TITLES[name], name, replace(layout, notes=noted))]
        parts += [
            Part(
                title_outside(TITLES[name], cohort),
                f"{name}_external_{number}",
                shown(long, cohort=cohort, drops=results.drops),
            )
            for number, cohort in enumerate(cohorts_in(long), start=1)
        ]
        parts += [
            Part(f"{TITLES[name]}: {kind}", f"{name}_{kind.replace(' ', '_')}", shown(long, modalities=kind))
            for kind in kinds_in(long)
        ]
        _write_parts(parts, output / name, made_by, settings.title)
    if further:
        drops = _write_supplement(found, of_table["table_s1"], output, settings, made_by, compared)
        if external_cohorts(found):
            write_tsv(drops_as_text(pd.concat([results.drops, drops])), output / "external.tsv", made_by)


class Part(NamedTuple):
    """A table of a document: its title, its label in LaTeX, and its layout."""

    title: str
    label: str
    layout: Layout


def _write_parts(parts: Sequence[Part], stem: Path, made_by: Mapping[str, Any], study: str | None) -> None:
    """Write tables one below the other, as Markdown, LaTeX and for Word."""
    markdown = [to_markdown(part.layout, title=part.title, study=study) for part in parts]
    latex = [to_latex(part.layout, title=part.title, label=f"tab:{part.label}", study=study) for part in parts]
    write_text("\n".join(markdown), stem.with_name(f"{stem.name}.md"), made_by)
    write_text("\n".join(latex), stem.with_name(f"{stem.name}.tex"), made_by)
    write_word([(part.title, part.layout) for part in parts], stem.with_name(f"{stem.name}.docx"), made_by, study=study)


def _write_supplement(
    runs: Sequence[Run],
    methods: Sequence[str],
    output: Path,
    settings: MakeTablesSettings,
    made_by: Mapping[str, Any],
    compared: Comparisons | None,
) -> pd.DataFrame:
    """Write Table S1: a long table, and a part for each task and class in the layout; return the drops."""
    scored = partial(result_table, tasks=settings.tasks, methods=methods, resamples=settings.resamples)
    further = score_all(runs, partial(scored, measures=FurtherMeasures(settings.times)))
    table = further.table.assign(**{MODALITIES: compared_on(runs)})
    write_tsv(as_text(table), output / "table_s1.tsv", made_by)
    title = TITLES["table_s1"]
    shown = partial(lay_out_supplement, table, settings.tasks, caveats=settings.caveats, comparisons=compared)
    titled = [(f"{title}: {about}", layout) for about, layout in shown()]
    titled += [
        (f"{title_outside(title, cohort)}: {about}", layout)
        for cohort in cohorts_in(table)
        for about, layout in shown(cohort=cohort, drops=further.drops)
    ]
    parts = [Part(name, f"table_s1_{number}", layout) for number, (name, layout) in enumerate(titled, start=1)]
    _write_parts(parts, output / "table_s1", made_by, settings.title)
    return further.drops
