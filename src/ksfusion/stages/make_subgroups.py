"""The subgroups stage: every method by cohort, site, sex or whatever else the tables of samples and cases hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.results.grouping import column_of
from ksfusion.results.runs import read_runs
from ksfusion.results.stage_settings import MakeSubgroupsSettings
from ksfusion.results.tables.subgroups import all_subgroups, as_text


def make_subgroups(
    runs: Sequence[Path], output: Path, *, samples: Path, cases: Path, settings: MakeSubgroupsSettings
) -> None:
    """Score every method on subgroups of the test samples and external cohorts, and test whether these differ.

    Parameters
    ----------
    runs
        Folders of runs, each with ``predictions.parquet`` and ``metrics.json``.
    output
        The table (`ksfusion.results.tables.subgroups.COLUMNS`).
    samples
        The validated samples, of `check-cohort`.
    cases
        The labelled cases, of `check-cohort`.
    settings
        Tasks and methods in the order of the table, the columns by which there are subgroups, where their numbers are
        cut, and how often cases are drawn.

    Raises
    ------
    UserError
        If a run's files are missing or not what they should be, or two runs are the same.
    """
    read = [read_parquet(path) for path in (samples, cases)]
    tables = [table.astype(object).where(table.notna(), "").astype(str).to_dict("records") for table in read]
    columns = {name: column_of(name, *tables) for name in settings.subgroups}
    table = all_subgroups(read_runs(runs, settings.tasks, shared=settings.shared), columns, settings)
    write_tsv(as_text(table), output, provenance(__name__, settings.record()))
