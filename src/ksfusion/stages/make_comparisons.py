"""The comparisons stage: every method against the reference, by the same draws of cases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.results.comparisons import comparison_table
from ksfusion.results.runs import read_runs
from ksfusion.results.stage_settings import MakeComparisonsSettings
from ksfusion.results.tables.differences import as_text
from ksfusion.results.tables.external import on_each_cohort


def make_comparisons(runs: Sequence[Path], output: Path, *, settings: MakeComparisonsSettings) -> None:
    """Compare all methods with one, on the test samples and each external cohort: differences, intervals, p-values.

    Parameters
    ----------
    runs
        Folders of runs, each with ``predictions.parquet``, ``metrics.json`` and ``config.json``.
    output
        The table (`ksfusion.results.tables.differences.COLUMNS`).
    settings
        Tasks and methods in the order of the table, the reference, how p-values are corrected, how often cases are
        drawn, and when survival is looked at.

    Raises
    ------
    UserError
        If a run's files are missing or not what they should be, or two runs are the same.
    """
    compare = partial(
        comparison_table,
        tasks=settings.tasks,
        methods=settings.methods,
        reference=settings.reference,
        correction=settings.correction,
        resamples=settings.resamples,
        times=settings.times,
    )
    found = read_runs(runs, settings.tasks, shared=settings.shared, curves=True)
    table = pd.concat([compare(found), *on_each_cohort(found, compare)], ignore_index=True)
    write_tsv(as_text(table), output, provenance(__name__, settings.record()))
