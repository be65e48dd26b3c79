"""The audit of the two tables: what is worth a second look and stops nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd

from ksfusion.cohort.config import Labelling
from ksfusion.cohort.confounding import confounding_findings
from ksfusion.cohort.labels import label_column
from ksfusion.cohort.pairing import pairing_findings
from ksfusion.cohort.survival import survival_findings
from ksfusion.terms.findings import Finding


def audit_tables(
    samples: pd.DataFrame, cases: pd.DataFrame, tasks: Mapping[str, Labelling], *, external: Collection[str] = ()
) -> list[Finding]:
    """Look for times and events that seem wrong, unused cases, pairings, and cohorts that give the label away.

    Parameters
    ----------
    samples : pandas.DataFrame
        The validated table.
    cases : pandas.DataFrame, one row per case
        Labelled by `ksfusion.cohort.labels.label_cases`.
    tasks
        Name of each task to what its labels are.
    external
        Cohorts of which no model learns, so that none can tell a label by them.
    """
    findings: list[Finding] = []
    cohorts = cases["case_id"].map(samples.groupby("case_id")["cohort"].min()).fillna("")
    for task in tasks.values():
        if task.kind == "survival":
            time, event = task.columns
            findings += survival_findings(cases, time, event, cohorts=cohorts, unit=task.unit)
    findings += [
        Finding(check="case_without_sample", subject=case_id, detail="no sample names it")
        for case_id in sorted(set(cases["case_id"]) - set(samples["case_id"]))
    ]
    findings += pairing_findings(samples)
    of_case = cases.set_index("case_id")
    labels = {
        name: of_case[label_column(name, task.kind)].map(dict(enumerate(task.classes)))
        for name, task in tasks.items()
        if task.kind == "classification"
    }
    return [*findings, *confounding_findings(samples[~samples["cohort"].isin(external)], labels)]
