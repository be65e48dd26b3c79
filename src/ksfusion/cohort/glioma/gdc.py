"""What a user downloads from the GDC portal: slides, expression files and their sample sheet."""

from __future__ import annotations

import re
from pathlib import Path

from ksfusion.cohort.glioma.downloads import MissingData, find, known, not_data, read_rows
from ksfusion.cohort.glioma.specimens import Specimen
from ksfusion.terms.published_files import GDC_SUFFIX

SLIDE_ENDINGS = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn")
SHEETS = ("*sample_sheet*.tsv",)
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
    folder: Path, endings: tuple[str, ...] | str, sheet: dict[str, dict[str, str]], missing: MissingData
) -> list[Specimen]:
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
    specimens = []
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if not path.is_file() or not path.name.lower().endswith(endings):
            continue
        row = sheet.get(path.name, {})
        case_id, sample_id, reason = _tissue(path.name, row)
        if reason:
            missing.note(path.name, "file", reason)
            continue
        is_profile = path.name.endswith(GDC_SUFFIX)
        if is_profile and (problem := not_data(path)):
            missing.note(path.name, "file", problem)
        named_by_folder = is_profile and path.parent != folder
        short = path.name.split(".")[0] if is_profile else path.stem
        barcode = BARCODE.match(case_id)
        specimens.append(
            Specimen(
                id=path.parent.name if named_by_folder else short,
                case_id=case_id,
                tumour_id=sample_id[:-1],
                specimen_id=sample_id,
                site=barcode[2] if barcode else "",
                path=path.as_posix(),
            )
        )
    return specimens


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
