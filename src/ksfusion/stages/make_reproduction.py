"""The reproduction stage: the paper's published values beside those of this study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.core.provenance import provenance
from ksfusion.core.resources import resource
from ksfusion.core.storage import read_tsv, write_text, write_tsv
from ksfusion.results.stage_settings import MakeReproductionSettings
from ksfusion.results.tables.reproduction import Reproduced, as_text, compare_with_published, to_markdown
from ksfusion.results.tables.scores import read_table


def make_reproduction(
    tables: Sequence[Path], output: Path, *, printed: Path, settings: MakeReproductionSettings
) -> None:
    """Compare a study of the paper's cohort with the published tables.

    Parameters
    ----------
    tables
        The long tables table1 and table2 of `make-tables`.
    output
        The table (`ksfusion.results.tables.reproduction.COLUMNS`).
    printed
        The same in print, Markdown, with what is to be known of it.
    settings
        The configuration, the paper's, and the sentences that stand wherever results do.

    Raises
    ------
    UserError
        If a table is not what it should be.
    """
    results = pd.concat([read_table(path) for path in tables], ignore_index=True)
    study = Reproduced(settings.config, settings.paper)
    table = compare_with_published(read_tsv(resource("paper_tables.tsv")), results, study)
    made_by = provenance(__name__, settings.record())
    write_tsv(as_text(table), output, made_by)
    text = to_markdown(table, list(study.departures()), study=settings.title, caveats=settings.caveats)
    write_text(text, printed, made_by)
