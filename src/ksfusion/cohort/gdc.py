"""What a user downloads from the GDC portal: slides, expression files, their sample sheet, and clinical data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ksfusion.cohort.downloaded import Missing, as_days, find, known, number, read_rows
from ksfusion.cohort.pieces import Piece
from ksfusion.cohort.units import DAYS_IN
from ksfusion.downloads import open_data
from ksfusion.errors import UserError

SLIDE_ENDINGS = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn")
EXPRESSION_ENDING = ".rna_seq.augmented_star_gene_counts.tsv"
SHEETS, CLINICAL = ("*sample_sheet*.tsv",), ("clinical*.json", "clinical*.tsv", "follow_up*.tsv")
# TCGA-06-0125-01Z-00-DX1: project, tissue source site, patient, sample type and vial.
BARCODE = re.compile(r"(TCGA-(\w{2})-\w{4})(-(\d{2})[A-Z])?")
NORMAL = range(10, 20)


def read_sample_sheets(folder: Path) -> dict[str, dict[str, str]]:
    """Read the sample sheets of a folder: one row for each file, by file name."""
    rows: dict[str, dict[str, str]] = {}
    for path in find(folder, *SHEETS):
        for row in read_rows(path, ("File ID", "File Name", "Case ID", "Sample ID")):
            rows[known(row["File Name"])] = row
    return rows


def find_files(
    folder: Path, endings: tuple[str, ...] | str, sheet: dict[str, dict[str, str]], missing: Missing
) -> list[Piece]:
    """Return the files of a download that come from tumours, with their case and sample.

    The sample sheet says which case and sample a file is of; a slide that it does not list is known by the barcode in
    its name. Files of normal tissue, of several cases, or of no known case are left out and noted. A slide's id is its
    file's stem, a profile's the folder of its file (the GDC's file uuid). Its tumour is the case and the sample type
    (01 primary, 02 recurrent), its specimen the sample with its vial.

    Parameters
    ----------
    folder
        As gdc-client lays it out: a folder for each file, named by its uuid. Files directly in it are taken too.
    endings
        The files' endings.
    sheet
        Rows of the sample sheets, by file name.
    missing
        Where to note what is left out.
    """
    pieces = []
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if not path.is_file() or not path.name.lower().endswith(endings):
            continue
        row = sheet.get(path.name, {})
        case_id, sample_id, reason = _tissue(path.name, row)
        if reason:
            missing.note(path.name, "file", reason)
            continue
        named_by_folder = path.name.endswith(EXPRESSION_ENDING) and path.parent != folder
        short = path.name.split(".")[0] if path.name.endswith(EXPRESSION_ENDING) else path.stem
        barcode = BARCODE.match(case_id)
        pieces.append(
            Piece(
                id=path.parent.name if named_by_folder else short,
                case_id=case_id,
                tumour_id=sample_id[:-1],
                specimen_id=sample_id,
                site=barcode[2] if barcode else "",
                path=path.as_posix(),
            )
        )
    return pieces


def _tissue(name: str, row: dict[str, str]) -> tuple[str, str, str]:
    """Return the case and the sample of a file, and why it is left out (empty where it is not)."""
    cases = {known(case) for case in row.get("Case ID", "").split(",")} - {""}
    samples = {known(sample) for sample in row.get("Sample ID", "").split(",")} - {""}
    barcode = BARCODE.match(name)
    if not row and barcode:
        cases, samples = {barcode[1]}, {barcode[0]} if barcode[3] else set()
    if not cases:
        return "", "", "not in a sample sheet"
    if len(cases) > 1 or len(samples) > 1:
        return "", "", "of several cases or samples"
    case_id, sample_id = cases.pop(), samples.pop() if samples else ""
    kind = BARCODE.match(sample_id)
    is_normal = "normal" in row.get("Tissue Type", row.get("Sample Type", "")).lower()
    if is_normal or (kind and kind[4] and int(kind[4]) in NORMAL):
        return "", "", "normal tissue"
    return case_id, sample_id, ""


def read_clinical(folder: Path, missing: Missing) -> dict[str, dict[str, str]]:
    """Read the clinical data of the GDC, in JSON or TSV, as cart and cohort downloads have them.

    Both schemas are read. Up to data release 41 the time of the last follow-up stands with the diagnosis
    (``days_to_last_follow_up``), since then with each follow-up (``days_to_follow_up``): the largest counts.

    Returns
    -------
    dict
        case_id (the submitter's, TCGA-06-0125) to survival_days, event (1 = died), grade, age (years) and sex; empty
        where unknown, noted in ``missing``.
    """
    cases: dict[str, list[dict[str, Any]]] = {}
    for path in find(folder, *CLINICAL):
        records = _json_records(path) if path.suffix == ".json" else _tsv_records(path)
        for case_id, record in records:
            cases.setdefault(case_id, []).append(record)
    return {case_id: _patient(case_id, records, missing) for case_id, records in sorted(cases.items())}


def _json_records(path: Path) -> list[tuple[str, dict[str, Any]]]:
    with open_data(path) as file:
        try:
            cases = json.load(file)
        except ValueError:
            raise UserError(f"{path}: is not complete JSON; download it again") from None
    if isinstance(cases, dict):
        cases = cases.get("data", {}).get("hits", [])
    records = []
    for case in cases:
        if not isinstance(case, dict):
            raise UserError(f"{path}: is not the GDC's clinical JSON; download Clinical, JSON")
        demographic = case.get("demographic") or {}
        # Older downloads name the patient in the demographic record alone: TCGA-06-0125_demographic.
        case_id = known(case.get("submitter_id") or demographic.get("submitter_id"))
        barcode = BARCODE.match(case_id)
        if not case_id:
            raise UserError(f"{path}: a case has no submitter_id; download Clinical, JSON again")
        parts = [demographic, *(case.get("diagnoses") or []), *(case.get("follow_ups") or [])]
        records += [(barcode[1] if barcode else case_id, part) for part in parts]
    return records


def _tsv_records(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read rows whose columns are plain (older downloads) or say their node first (``diagnoses.tumor_grade``)."""
    records = []
    for row in read_rows(path, ()):
        plain: dict[str, str] = {}
        for name, value in row.items():
            node, _, field = name.rpartition(".")
            if node == "cases" and field == "submitter_id":
                field = "case_submitter_id"
            # Of nodes with one field name, the case's own facts stand first.
            if field and not known(plain.get(field)):
                plain[field] = value
        case_id = known(plain.get("case_submitter_id"))
        if not case_id:
            raise UserError(f"{path}: no column case_submitter_id or cases.submitter_id; is it the GDC's clinical TSV?")
        records.append((case_id, plain))
    return records


def _values(records: list[dict[str, Any]], *names: str) -> list[str]:
    return [value for record in records for name in names if (value := known(record.get(name)))]


def _patient(case_id: str, records: list[dict[str, Any]], missing: Missing) -> dict[str, str]:
    status = {value.lower() for value in _values(records, "vital_status")}
    event = {frozenset({"dead"}): "1", frozenset({"alive"}): "0"}.get(frozenset(status), "")
    if len(status) > 1:
        missing.note(case_id, "event", f"the GDC says {' and '.join(sorted(status))}")
    died = [day for value in _values(records, "days_to_death") if (day := number(value)) is not None]
    seen = _values(records, "days_to_last_follow_up", "days_to_follow_up")
    followed = [day for value in seen if (day := number(value)) is not None]
    times = died if event == "1" else followed
    days = max(times, default=None) if event else None
    if event and days is None:
        reason = "dead without a date in the GDC" if event == "1" else "alive without a follow-up in the GDC"
        missing.note(case_id, "survival_days", reason)
    elif days is not None and days <= 0:
        missing.note(case_id, "survival_days", "the GDC's time is not above 0 days")
        days = None
    grades = {value for value in _values(records, "tumor_grade") if value in ("G2", "G3", "G4")}
    ages = _values(records, "age_at_index")
    ages += [
        f"{int(day) / DAYS_IN['years']:.1f}" for day in _values(records, "age_at_diagnosis") if number(day) is not None
    ]
    sexes = _values(records, "sex_at_birth", "gender")
    return {
        "survival_days": "" if days is None else as_days(days),
        "event": event,
        "grade": grades.pop() if len(grades) == 1 else "",
        "age": ages[0] if ages else "",
        "sex": sexes[0] if sexes else "",
    }
