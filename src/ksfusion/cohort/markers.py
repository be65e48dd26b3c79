"""Molecular markers of TCGA gliomas: the table of Ceccarelli 2016, and copy numbers of CDKN2A from cBioPortal."""

from __future__ import annotations

from pathlib import Path

from ksfusion.cohort.downloaded import Missing, as_days, find, known, number, read_rows
from ksfusion.cohort.units import DAYS_IN
from ksfusion.downloads import open_data
from ksfusion.errors import UserError

MARKER_TABLES = ("*ceccarelli*", "*S1A*")
COPY_NUMBER_TABLES = ("*cna*", "*CNA*")
CASE, MONTHS = "Case", "Survival (months)"
ABOUT_THE_GENE = {"Hugo_Symbol", "Entrez_Gene_Id", "Cytoband", "Gene Symbol"}
GISTIC_CALLS = {-2, -1, 0, 1, 2}
# Our column: the table's, and what its values are here.
CHOICES = {
    "idh": ("IDH status", {"wt": "WT", "mutant": "Mutant"}),
    "codel_1p19q": ("1p/19q codeletion", {"codel": "codel", "non-codel": "non-codel"}),
    "grade": ("Grade", {"g2": "G2", "g3": "G3", "g4": "G4"}),
    "event": ("Vital status (1=dead)", {"0": "0", "1": "1"}),
}


def read_markers(folder: Path, missing: Missing) -> dict[str, dict[str, str]]:
    """Read supplementary table S1A of Ceccarelli et al., Cell 2016, saved as CSV or tab-separated text.

    Returns
    -------
    dict
        case_id to idh, codel_1p19q, grade, survival_days (of months of 30.4375 days) and event; empty where unknown.

    Raises
    ------
    UserError
        If it lacks a column, or is an Excel workbook.
    """
    markers = {}
    for path in find(folder, *MARKER_TABLES):
        for row in read_rows(path, (CASE, MONTHS, *(name for name, _ in CHOICES.values()))):
            case_id = known(row.get(CASE))
            months = number(row.get(MONTHS))
            if not case_id:
                continue
            markers[case_id] = {column: _choice(case_id, row, column, missing) for column in CHOICES}
            days = as_days(months * DAYS_IN["months"]) if months is not None and months > 0 else ""
            markers[case_id]["survival_days"] = days
    return markers


def _choice(case_id: str, row: dict[str, str], column: str, missing: Missing) -> str:
    name, values = CHOICES[column]
    value = known(row.get(name))
    if value and value.lower() not in values:
        missing.note(case_id, column, f"{name} is {value!r} in the marker table")
    return values.get(value.lower(), "")


def read_cdkn2a(folder: Path, missing: Missing) -> dict[str, str]:
    """Read whether CDKN2A is lost on both alleles from cBioPortal's tables of discrete copy numbers (GISTIC 2).

    -2 is a homozygous deletion; -1, the loss of one allele, is not. A case with several tumours has the call of its
    primary (sample type 01), else of the first by barcode.

    Returns
    -------
    dict
        case_id to ``homdel`` or ``intact``; a case without a call is not in it.

    Raises
    ------
    UserError
        If a table has no CDKN2A, or holds other numbers than -2 to 2.
    """
    calls: dict[str, tuple[str, str]] = {}
    for path in find(folder, *COPY_NUMBER_TABLES):
        for sample_id, value in _cdkn2a_of_samples(path).items():
            case_id = sample_id[:12] if sample_id.startswith("TCGA-") else sample_id
            call = number(value)
            if call is None:
                missing.note(case_id, "cdkn2a", "no copy number call")
                continue
            if call not in GISTIC_CALLS:
                raise UserError(
                    f"{path}: CDKN2A of {sample_id} is {value}; the table of discrete copy numbers (data_cna.txt), "
                    "-2 to 2, is wanted"
                )
            state = "homdel" if call == -2 else "intact"
            calls[case_id] = min(calls.get(case_id, (sample_id, state)), (sample_id, state))
    return {case_id: state for case_id, (_, state) in calls.items()}


def _cdkn2a_of_samples(path: Path) -> dict[str, str]:
    """Return the values of CDKN2A by sample, from a table of genes x samples or samples x genes."""
    with open_data(path) as file:
        try:
            header = [known(name) for name in file.readline().decode("utf-8-sig").rstrip("\r\n").split("\t")]
            if "Hugo_Symbol" in header:
                for line in file:
                    if line.startswith(b"CDKN2A\t"):
                        fields = line.decode().rstrip("\r\n").split("\t")
                        values = dict(zip(header, fields, strict=False))
                        return {name: value for name, value in values.items() if name not in ABOUT_THE_GENE}
                raise UserError(f"{path}: no row CDKN2A; download the whole study")
        except UnicodeDecodeError:
            raise UserError(f"{path}: is not UTF-8 text; save the table as UTF-8") from None
    rows = read_rows(path, ("SAMPLE_ID", "CDKN2A"))
    return {known(row["SAMPLE_ID"]): row["CDKN2A"] for row in rows}
