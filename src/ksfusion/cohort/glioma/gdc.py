"""What a user downloads from the GDC portal: slides, expression files and their sample sheet."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ksfusion.cohort.glioma.downloads import MissingData, find, known, not_data, read_rows
from ksfusion.cohort.glioma.specimens import Specimen
from ksfusion.terms.published_files import GDC_SUFFIX, profile_id

SLIDE_ENDINGS = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn")
SHEETS = ("*sample_sheet*.tsv",)
# TCGA-06-0125-01Z-00-DX1: project, tissue source site, patient, sample type and vial.
BARCODE = re.compile(r"(TCGA-(\w{2})-\w{4})(-(\d{2})[A-Z])?")
NORMAL = range(10, 20)


@dataclass
class SampleSheets:
    """What the sample sheets say of the files, by File ID and name, and by name alone.

    Attributes
    ----------
    by_id, by_name
        Rows of the sheets; a row that stands in two sheets is there twice.
    """

    by_id: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=dict)
    by_name: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def add(self, row: dict[str, str]) -> None:
        """Add a row of a sheet."""
        file_id, name = known(row["File ID"]), known(row["File Name"])
        self.by_id.setdefault((file_id, name), []).append(row)
        self.by_name.setdefault(name, []).append(row)

    def row_of(self, path: Path) -> tuple[dict[str, str], str]:
        """Return the row of a file, by its folder and name, else by its name; and why it has none where sheets differ.

        gdc-client names the folder of a file by its File ID: it tells two files of one name apart.
        """
        rows = self.by_id.get((path.parent.name, path.name)) or self.by_name.get(path.name, [])
        samples = sorted({known(row["Sample ID"]) for row in rows})
        if len(samples) > 1:
            return {}, f"the sample sheets have this name for {' and '.join(samples)}"
        # A sheet of another cart, or an older one, may say less.
        return (max(rows, key=lambda row: sum(map(bool, map(known, row.values()))), default={})), ""


def read_sample_sheets(folder: Path) -> SampleSheets:
    """Read the sample sheets of a folder."""
    sheets = SampleSheets()
    for path in find(folder, *SHEETS):
        for row in read_rows(path, ("File ID", "File Name", "Case ID", "Sample ID")):
            sheets.add(row)
    return sheets


class Tissue(NamedTuple):
    """The case and the sample of a file, and why it is left out (empty where it is not)."""

    case_id: str
    sample_id: str
    reason: str


def without_vial(sample_id: str) -> str:
    """Return the tumour of a sample: its barcode without the vial."""
    return sample_id[:-1]


def listed(row: Mapping[str, str], column: str) -> set[str]:
    """Return what a field of a sample sheet lists, with commas between."""
    return {known(part) for part in row.get(column, "").split(",")} - {""}


def is_normal(row: Mapping[str, str]) -> bool:
    """Return whether a sample sheet calls a tissue normal, or one of several."""
    return "normal" in row.get("Tissue Type", row.get("Sample Type", "")).lower()


def tcga_tissue(name: str, row: Mapping[str, str]) -> Tissue:
    """Return the case and the sample of a file of TCGA, by its row of the sample sheet, else by its name."""
    cases, samples = listed(row, "Case ID"), listed(row, "Sample ID")
    barcode = BARCODE.match(name)
    if not row and barcode:
        cases, samples = {barcode[1]}, {barcode[0]} if barcode[3] else set()
    if not cases:
        return Tissue("", "", "not in a sample sheet")
    if len(cases) > 1 or len(samples) > 1:
        return Tissue("", "", "of several cases or samples")
    case_id, sample_id = cases.pop(), samples.pop() if samples else ""
    kind = BARCODE.match(sample_id)
    if is_normal(row) or (kind and kind[4] and int(kind[4]) in NORMAL):
        return Tissue("", "", "normal tissue")
    return Tissue(case_id, sample_id, "")


def find_files(
    folder: Path,
    endings: tuple[str, ...] | str,
    sheets: SampleSheets,
    missing: MissingData,
    *,
    tissue: Callable[[str, Mapping[str, str]], Tissue] = tcga_tissue,
    tumour_of: Callable[[str], str] = without_vial,
) -> list[Specimen]:
    """Return the files of a download that come from tumours, with their case and sample.

    The sample sheet says which case and sample a file is of; a slide that it does not list is known by the barcode in
    its name. Files of normal tissue, of several cases, or of no known case are left out and noted. A slide's id is its
    file's stem, a profile's the folder of its file (the GDC's file uuid). Its tumour is the case and the sample type
    (01 primary, 02 recurrent), its specimen the sample with its vial.

    Parameters
    ----------
    folder
        Folder as gdc-client leaves it, with a folder for each file, named by its uuid; files directly in it count too.
    endings
        The files' endings.
    sheets
        The sample sheets.
    missing
        Notes to which files that are left out, and those of one name, are added.
    tissue
        Returns case and sample of a file, given its name and its row of the sample sheet.
    tumour_of
        Returns the tumour of a sample.
    """
    specimens, names = [], Counter[str]()
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if not path.is_file() or not path.name.lower().endswith(endings):
            continue
        row, reason = sheets.row_of(path)
        case_id, sample_id, tissue_reason = tissue(path.name, row)
        reason = reason or tissue_reason
        if reason:
            missing.note(path.name, "file", reason)
            continue
        is_profile = path.name.endswith(GDC_SUFFIX)
        if is_profile and (problem := not_data(path)):
            missing.note(path.name, "file", problem)
        names[path.name] += 1
        barcode = BARCODE.match(case_id)
        specimens.append(
            Specimen(
                id=profile_id(path, folder) if is_profile else path.stem,
                case_id=case_id,
                tumour_id=tumour_of(sample_id),
                specimen_id=sample_id,
                site=barcode[2] if barcode else "",
                path=path.as_posix(),
                preservation=known(row.get("Preservation Method")),
            )
        )
    for name, count in names.items():
        if count > 1:
            missing.note(name, "file", f"{count} files have this name; each is taken as one of its own")
    return specimens
