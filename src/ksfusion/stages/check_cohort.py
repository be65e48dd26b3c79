"""The check stage: validated tables, cases with their labels, and what is worth a second look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ksfusion.cohort.confounding import confounding_findings
from ksfusion.cohort.labels import label_cases
from ksfusion.cohort.pairing import pairing_findings, pairing_levels
from ksfusion.cohort.samples import read_cohort
from ksfusion.cohort.survival import survival_findings
from ksfusion.config import Cohort, Task
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_parquet, write_tsv


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
    cohorts = labelled["case_id"].map(sample_table.groupby("case_id")["cohort"].min()).fillna("")
    for task in tasks.values():
        if task.kind == "survival":
            findings += survival_findings(labelled, task.time, task.event, cohorts=cohorts, unit=task.unit)
    unused = sorted(set(labelled["case_id"]) - set(sample_table["case_id"]))
    findings += [
        {"check": "case_without_sample", "subject": case_id, "detail": "no sample names it"} for case_id in unused
    ]
    sample_table["pairing"] = pairing_levels(sample_table)
    findings += pairing_findings(sample_table)
    classes = {name: task.classes for name, task in tasks.items() if task.kind == "classification"}
    of_case = labelled.set_index("case_id")
    labels = {name: of_case[f"label_{name}"].map(dict(enumerate(names))) for name, names in classes.items()}
    findings += confounding_findings(sample_table, labels)
    made_by = provenance("ksfusion.stages.check_cohort", settings)
    write_parquet(sample_table.sort_values("sample_id", ignore_index=True), samples, made_by)
    write_parquet(labelled.sort_values("case_id", ignore_index=True), cases, made_by)
    write_tsv(pd.DataFrame(findings, columns=["check", "subject", "detail"]), audit, made_by)
