"""What the audit and the leakage gate found, as the report shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import pandas as pd

from ksfusion.core.storage import read_tsv

# Findings on a whole column or cohort, which bear on every result and stand where nobody can miss them.
CAUTIONS = ("cohort_confounded_with_label", "event_looks_flipped", "time_reads_as_days", "time_reads_as_months")
SHOWN = 200


class AuditSection(TypedDict):
    """The findings of one check: how many, and the first of them (subject, detail)."""

    check: str
    count: int
    rows: list[dict[str, str]]


def read_findings(path: Path) -> pd.DataFrame:
    """Read ``audit.tsv`` or ``leakage.tsv`` as text, empty where a value is missing."""
    return read_tsv(path, dtype=str).fillna("")


def audit_sections(audit: pd.DataFrame) -> list[AuditSection]:
    """Return the findings of the audit by check: how many, and the first `SHOWN` of them."""
    return [
        AuditSection(check=check, count=len(rows), rows=rows.head(SHOWN).to_dict("records"))
        for check, rows in audit.groupby("check", sort=True)
    ]


def cautions(audit: pd.DataFrame) -> list[str]:
    """Return the findings of the audit that bear on every result, as sentences."""
    chosen = audit[audit["check"].isin(CAUTIONS)]
    return [f"{row.check.replace('_', ' ').capitalize()} ({row.subject}): {row.detail}." for row in chosen.itertuples()]
