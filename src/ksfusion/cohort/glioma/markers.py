"""Molecular markers of TCGA gliomas: the table of Ceccarelli 2016, and copy numbers of CDKN2A from cBioPortal."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import IO

from ksfusion.cohort.glioma.downloads import MissingData, as_days, find, known, number, read_rows
from ksfusion.core.data_files import open_data
from ksfusion.core.errors import UserError
from ksfusion.terms.units import DAYS_IN

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


def read_markers(folder: Path, missing: MissingData) -> dict[str, dict[str, str]]:
    """Read supplementary table S1A of Ceccarelli et al., Cell 2016, saved as CSV or tab-separated text.

    Returns
    -------
    dict
        case_id to idh, codel_1p19q, grade, survival_days (of months of 30.4375 days) and event; empty where unknown,
        or where two rows of a case differ.

    Raises
    ------
    UserError
        If it lacks a column, or is an Excel workbook.
    """
    markers: dict[str, dict[str, str]] = {}
    for path in find(folder, *MARKER_TABLES):
        for row in read_rows(path, (CASE, MONTHS, *(name for name, _ in CHOICES.values()))):
            case_id = known(row.get(CASE))
            months = number(row.get(MONTHS))
            if not case_id:
                continue
            values = {column: _choice(case_id, row, column, missing) for column in CHOICES}
            days = as_days(months * DAYS_IN["months"]) if months is not None and months > 0 else ""
            values["survival_days"] = days
            markers[case_id] = _joined(case_id, markers.get(case_id, values), values, missing)
    return markers


def _joined(case_id: str, first: dict[str, str], second: dict[str, str], missing: MissingData) -> dict[str, str]:
    """Join two rows of a case; where they differ, neither counts."""
    joined = {}
    for column, value in first.items():
        options = {value, second[column]} - {""}
        if len(options) > 1:
            missing.note(case_id, column, f"two rows of the marker table say {' and '.join(sorted(options))}")
        joined[column] = options.pop() if len(options) == 1 else ""
    return joined


def _choice(case_id: str, row: dict[str, str], column: str, missing: MissingData) -> str:
    name, values = CHOICES[column]
    value = known(row.get(name))
    if value and value.lower() not in values:
        missing.note(case_id, column, f"{name} is {value!r} in the marker table")
    return values.get(value.lower(), "")


def read_cdkn2a(folder: Path, missing: MissingData) -> dict[str, str]:
    """Read whether CDKN2A is lost on both alleles from cBioPortal's tables of discrete copy numbers (GISTIC 2).

    -2 is a homozygous deletion; -1, the loss of one allele, is not. A case with several tumours has the call of its
    primary (sample type 01), else of the first type by barcode; samples of one type that differ leave it empty.

    Returns
    -------
    dict
        case_id to ``homdel`` or ``intact``; a case without a call is not in it.

    Raises
    ------
    UserError
        If a table has no CDKN2A, or holds other numbers than -2 to 2.
    """
    # By case, the states of each of its sample types.
    found: dict[str, dict[str, set[str]]] = {}
    for path in find(folder, *COPY_NUMBER_TABLES):
        for sample_id, value in _cdkn2a_of_samples(path):
            case_id, kind = (sample_id[:12], sample_id[13:15]) if sample_id.startswith("TCGA-") else (sample_id, "")
            states = found.setdefault(case_id, {})
            call = number(value)
            if call is None:
                continue
            if call not in GISTIC_CALLS:
                raise UserError(
                    f"{path}: CDKN2A of {sample_id} is {value}; the table of discrete copy numbers (data_cna.txt), "
                    "-2 to 2, is wanted"
                )
            states.setdefault(kind, set()).add("homdel" if call == -2 else "intact")
    calls = {}
    for case_id, states in found.items():
        closest = states[min(states)] if states else set()
        if len(closest) == 1:
            (calls[case_id],) = closest
        else:
            differ = f"two samples of one tumour say {' and '.join(sorted(closest))}"
            missing.note(case_id, "cdkn2a", differ if closest else "no copy number call")
    return calls


def _cdkn2a_of_samples(path: Path) -> list[tuple[str, str]]:
    """Return the values of CDKN2A with their samples, from a table of genes x samples or samples x genes."""
    with open_data(path) as file:
        try:
            line = next((line for line in file if not line.startswith(b"#")), b"").decode("utf-8-sig")
            delimiter = "\t" if "\t" in line else ","
            header = [known(name) for name in _fields(line, delimiter, path)]
            if "Hugo_Symbol" in header:
                return _row_of_cdkn2a(header, file, delimiter, path)
        except UnicodeDecodeError:
            raise UserError(f"{path}: is not UTF-8 text; save the table as UTF-8") from None
    rows = read_rows(path, ("SAMPLE_ID", "CDKN2A"))
    return [(known(row["SAMPLE_ID"]), row["CDKN2A"]) for row in rows]


def _fields(line: str, delimiter: str, path: Path) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise UserError(f"{path}: is not a regular table ({error}); download it again") from None


def _row_of_cdkn2a(header: list[str], file: IO[bytes], delimiter: str, path: Path) -> list[tuple[str, str]]:
    place = header.index("Hugo_Symbol")
    values = []
    # Of a table of 25,000 genes the lines that name CDKN2A are taken apart alone.
    for line in file:
        if b"CDKN2A" not in line:
            continue
        fields = _fields(line.decode(), delimiter, path)
        if fields[place : place + 1] != ["CDKN2A"]:
            continue
        if len(fields) != len(header):
            raise UserError(f"{path}: row CDKN2A has {len(fields)} fields, the header {len(header)}; download it again")
        values += [(name, value) for name, value in zip(header, fields, strict=True) if name not in ABOUT_THE_GENE]
    if not values:
        raise UserError(f"{path}: no row CDKN2A; download the whole study")
    return values
