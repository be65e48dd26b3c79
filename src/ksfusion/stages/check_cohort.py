"""The check of the user's two tables: validated samples, cases with their labels, and what is worth a second look."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ksfusion.cohort.audit import audit_tables
from ksfusion.cohort.config import CheckCohortSettings
from ksfusion.cohort.labels import label_cases
from ksfusion.cohort.pairing import pairing_levels
from ksfusion.cohort.samples import read_cohort
from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.terms.findings import FINDING_COLUMNS


def check_cohort(samples_output: Path, cases_output: Path, audit: Path, *, settings: CheckCohortSettings) -> None:
    """Validate the tables, derive labels, look for what is contradictory.

    Parameters
    ----------
    samples_output
        Gets the validated samples, with the level at which slide and profile are paired.
    cases_output
        Gets the cases with their labels.
    audit
        Gets the findings: check, subject, detail.
    settings
        The two tables, the cohorts that have expression and those that are external, and the tasks.

    Raises
    ------
    UserError
        If a table is not valid; every problem is a line.
    """
    tables = read_cohort(settings.cohort, settings.tasks, settings.expression_cohorts)
    samples = pd.DataFrame(tables.samples)
    samples["mpp"] = pd.to_numeric(samples["mpp"], errors="coerce")
    samples["pairing"] = pairing_levels(samples)
    cases, findings = label_cases(pd.DataFrame(tables.cases, columns=list(tables.case_columns)), settings.tasks)
    findings += audit_tables(samples, cases, settings.tasks, external=settings.external)
    made_by = provenance(__name__, settings.record())
    write_parquet(samples.sort_values("sample_id", ignore_index=True), samples_output, made_by)
    write_parquet(cases.sort_values("case_id", ignore_index=True), cases_output, made_by)
    write_tsv(pd.DataFrame(findings, columns=FINDING_COLUMNS), audit, made_by)
