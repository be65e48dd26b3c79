"""The expression of all cohorts, read once into one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.genes.config import ReadExpressionSettings
from ksfusion.genes.expression.profiles import join_cohorts
from ksfusion.terms.findings import FINDING_COLUMNS


def read_expression(
    output: Path,
    *,
    settings: ReadExpressionSettings,
    library_sizes: Path | None = None,
    findings: Path | None = None,
) -> None:
    """Read the expression of all cohorts, once.

    Parameters
    ----------
    output
        Gets cohort, expression_id and a column for each gene that all cohorts have but the external ones, by symbol.
    settings
        Files of each cohort's profiles, their layout and their unit; which cohorts are external; and the version of
        the shipped gene sets by which genes are named.
    library_sizes
        Gets the reads of each profile whose unit is counts.
    findings
        Gets what may be a mistake in the files: check, subject (the cohort), detail.

    Raises
    ------
    UserError
        If a file is missing, lacks a column, holds no profile or a wrong value, or names a profile twice; or if two
        cohorts share no gene.
    """
    joined = join_cohorts(settings.sources, external=settings.external, names=settings.names)
    made_by = provenance(__name__, settings.record())
    if library_sizes is not None:
        write_tsv(joined.library_sizes, library_sizes, made_by)
    if findings is not None:
        write_tsv(pd.DataFrame(joined.findings, columns=FINDING_COLUMNS), findings, made_by)
    write_parquet(joined.profiles.reset_index(), output, made_by)
