"""What the audit, the tiling and the leakage gate found, as the report shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import pandas as pd

from ksfusion.cohort.pairing import LEVELS
from ksfusion.core.storage import read_tsv
from ksfusion.slides.tiles.table import is_nearly_all_tissue
from ksfusion.terms.findings import EXTREME_EXPRESSION, FINDING_COLUMNS

# Findings on a whole column or cohort, which bear on every result and stand where nobody can miss them.
CAUTIONS = (
    "cohort_confounded_with_label",
    "event_looks_flipped",
    EXTREME_EXPRESSION,
    "few_genes_known",
    "time_reads_as_days",
    "time_reads_as_months",
    "unit_looks_wrong",
)
# Say how a sample's slide and profile belong together: each sample has one, and none is a fault.
DESCRIPTIONS = tuple(f"pairing_same_{level}" for level in LEVELS)
SHOWN = 200
# Where all findings stand.
AUDIT, OF_EXPRESSION = "results/cohort/audit.tsv", "results/genes/findings.tsv"
OF_GENES, OF_SLIDES = "results/genes/fold*/findings.tsv", "results/slides.tsv"


class AuditSection(TypedDict):
    """The findings of one check: in which file, how many, and the first of them (subject, detail)."""

    file: str
    check: str
    count: int
    rows: list[dict[str, str]]


def read_findings(path: Path) -> pd.DataFrame:
    """Read a table of findings, or ``leakage.tsv``, as text, empty where a value is missing."""
    return read_tsv(path, dtype=str).fillna("")


def slide_findings(slides: pd.DataFrame) -> pd.DataFrame:
    """Return the findings on slides: those that count as tissue nearly all over.

    Parameters
    ----------
    slides
        The ledger of slides.
    """
    columns = slides.reindex(columns=["slide_id", "tissue_share", "mask"])
    rows = [
        (
            "nearly_all_tissue",
            slide_id,
            f"{share:.0%} of it is taken for tissue: right for a region cut out of a slide; "
            "else its glass was not known, so look at its picture and give a mask (slides.masks)",
        )
        for slide_id, share, mask in columns.itertuples(index=False)
        if is_nearly_all_tissue(share, mask)
    ]
    return pd.DataFrame(rows, columns=FINDING_COLUMNS)


def findings_of_folds(paths: Sequence[Path]) -> pd.DataFrame:
    """Read the findings of each fold, as text; of several folds the detail says which."""
    tables = []
    for path in paths:
        table = read_findings(path)
        if len(paths) > 1:
            table["detail"] = path.parent.name.replace("fold", "fold ") + ": " + table["detail"]
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=FINDING_COLUMNS)


def audit_sections(findings: Mapping[str, pd.DataFrame]) -> list[AuditSection]:
    """Return the findings by check: how many, and the first `SHOWN` of them.

    Parameters
    ----------
    findings
        Findings by the file that lists them.
    """
    return [
        AuditSection(file=file, check=check, count=len(rows), rows=rows.head(SHOWN).to_dict("records"))
        for file, table in findings.items()
        for check, rows in table.groupby("check", sort=True)
    ]


def cautions(*findings: pd.DataFrame) -> list[str]:
    """Return the findings that bear on every result, as sentences."""
    together = pd.concat(findings)
    chosen = together[together["check"].isin(CAUTIONS)]
    return [f"{row.check.replace('_', ' ').capitalize()} ({row.subject}): {row.detail}." for row in chosen.itertuples()]
