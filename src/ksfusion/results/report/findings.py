"""What the audit and the leakage gate found, as the report shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ksfusion.core.storage import read_tsv

# Findings on a whole column or cohort, which bear on every result and stand where nobody can miss them.
CAUTIONS = ("cohort_confounded_with_label", "event_looks_flipped", "time_reads_as_days", "time_reads_as_months")
SHOWN = 200


def audit_sections(path: Path) -> list[dict[str, Any]]:
    """Return the findings of ``audit.tsv`` by check: how many, and the first `SHOWN` of them."""
    findings = _read(path)
    return [
        {"check": check, "count": len(rows), "rows": rows.head(SHOWN).to_dict("records")}
        for check, rows in findings.groupby("check", sort=True)
    ]


def cautions(path: Path) -> list[str]:
    """Return the findings of ``audit.tsv`` that bear on every result, as sentences."""
    findings = _read(path)
    chosen = findings[findings["check"].isin(CAUTIONS)]
    return [f"{row.check.replace('_', ' ').capitalize()} ({row.subject}): {row.detail}." for row in chosen.itertuples()]


def leakage_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of ``leakage.tsv``: what the gate looked at, and pairs that it let pass."""
    return _read(path).to_dict("records")


def _read(path: Path) -> pd.DataFrame:
    return read_tsv(path, dtype=str).fillna("")
