"""The check stage: validated tables, cases with their labels, and what is worth a second look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ksfusion.cohort.labels import label_cases
from ksfusion.cohort.samples import read_cohort
from ksfusion.config import Cohort, Task
from ksfusion.provenance import provenance
from ksfusion.storage import write_parquet, write_tsv

# From the closest pairing of slide and profile to the loosest: the level, and the two columns that must agree.
PAIRING_LEVELS = (
    ("block", "slide_block_id", "expression_block_id"),
    ("specimen", "slide_specimen_id", "expression_specimen_id"),
)


def check_cohort(samples: Path, cases: Path, audit: Path, *, settings: dict[str, Any]) -> None:
    """Write ``samples.parquet``, ``cases.parquet`` and ``audit.tsv`` (check, subject, detail).

    Parameters
    ----------
    samples, cases, audit
        The files to write.
    settings
        ``cohort`` and ``tasks`` of the configuration.

    Raises
    ------
    UserError
        If a table is not valid; every problem is a line.
    """
    cohort = Cohort.model_validate(settings["cohort"])
    tasks = {name: Task.model_validate(task) for name, task in settings["tasks"].items()}
    tables = read_cohort(cohort, tasks)
    sample_table = pd.DataFrame(tables.samples)
    sample_table["mpp"] = pd.to_numeric(sample_table["mpp"], errors="coerce")
    labelled, findings = label_cases(
        pd.DataFrame(tables.cases, columns=list(tables.case_columns)),
        {name: task.model_dump() for name, task in tasks.items()},
    )
    unused = sorted(set(labelled["case_id"]) - set(sample_table["case_id"]))
    findings += [
        {"check": "case_without_sample", "subject": case_id, "detail": "no sample names it"} for case_id in unused
    ]
    findings += _pairing_findings(sample_table)
    made_by = provenance("ksfusion.cohort.audit", settings)
    write_parquet(sample_table.sort_values("sample_id", ignore_index=True), samples, made_by)
    write_parquet(labelled.sort_values("case_id", ignore_index=True), cases, made_by)
    write_tsv(pd.DataFrame(findings, columns=["check", "subject", "detail"]), audit, made_by)


def _pairing_findings(samples: pd.DataFrame) -> list[dict[str, str]]:
    """Name samples whose slide and profile are known to come from different blocks or specimens."""
    findings = []
    for level, of_slide, of_profile in PAIRING_LEVELS:
        known = (samples[of_slide] != "") & (samples[of_profile] != "")
        for row in samples[known & (samples[of_slide] != samples[of_profile])].itertuples():
            detail = f"slide from {level} {getattr(row, of_slide)}, profile from {getattr(row, of_profile)}"
            findings.append({"check": f"pairing_other_{level}", "subject": row.sample_id, "detail": detail})
    return findings
