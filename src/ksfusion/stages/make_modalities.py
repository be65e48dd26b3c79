"""The table and the figure of modalities: how much methods lose without one of them, or without what needs both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import as_json, provenance
from ksfusion.core.storage import write_tsv
from ksfusion.results.plots.modalities import draw_modalities
from ksfusion.results.plots.panels import save_figure
from ksfusion.results.plots.style import drawing_style
from ksfusion.results.runs import read_runs
from ksfusion.results.stage_settings import MakeModalitiesSettings
from ksfusion.results.tables.modalities import as_text, modality_table


def make_modalities(
    runs: Sequence[Path], *, audits: Sequence[Path], output: Path, figure: Path, settings: MakeModalitiesSettings
) -> None:
    """Compute how much each metric falls when genes or patches are permuted, and without interactions of the two.

    Parameters
    ----------
    runs
        Folders of the runs that were audited, each with ``predictions.parquet`` and ``metrics.json``.
    audits
        The tables of `audit-modalities`.
    output
        The table (`ksfusion.results.tables.modalities.COLUMNS`).
    figure
        The figure, as SVG and PNG, without its suffix.
    settings
        Tasks and methods in the order of the table, and how often cases are drawn.

    Raises
    ------
    UserError
        If a run's files are missing or not what they should be, or two runs are the same.
    """
    tables = [read_parquet(path) for path in audits]
    table = modality_table(
        pd.concat([table for table in tables if len(table)] or tables, ignore_index=True),
        read_runs(runs, settings.tasks, shared=settings.shared),
        tasks=settings.tasks,
        methods=settings.methods,
        shared=settings.shared,
        resamples=settings.resamples,
    )
    made_by = provenance(__name__, settings.record())
    write_tsv(as_text(table), output, made_by)
    with drawing_style():
        drawn = draw_modalities(table, tasks=settings.tasks, methods=settings.methods, study=settings.title)
        save_figure(drawn, figure, as_json(made_by))
