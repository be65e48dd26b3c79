"""The samples and cases of CPTAC's glioblastomas, from what a user downloads from the GDC and the imaging archive.

What to download and where to put it: ``docs/data.md``. Neither source says IDH, 1p/19q or CDKN2A: they stay empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ksfusion.cohort.glioma import gdc, gdc_clinical
from ksfusion.cohort.glioma.build import (
    CASE_COLUMNS,
    GliomaCohort,
    check_folder,
    note_absent_sources,
    note_conflicts,
    note_what_is_empty,
    overwrite,
)
from ksfusion.cohort.glioma.downloads import MissingData, find, known, read_rows
from ksfusion.cohort.glioma.specimens import PairingOfSlides, Row, Specimen, pair_slides, unused_profiles
from ksfusion.core.errors import UserError
from ksfusion.terms.published_files import GDC_SUFFIX

CPTAC, PROJECT, TUMOUR, ORGAN = "CPTAC-GBM", "CPTAC-3", "GBM", "brain"
# The table of slides as the imaging archive names it, or as its user does.
SLIDE_TABLES = tuple(f"*{name}*.{ending}" for name in ("cohort", "slides", "pathology") for ending in ("csv", "tsv"))
SLIDE_COLUMNS = ("Slide_ID", "Case_ID", "Specimen_ID")
# C3L-00016-21.svs: patient, and the number of the slide.
SLIDE_NAME = re.compile(r"(C3[LN]-\d{5})-\d{2}")
SOURCES = {"sample sheet": gdc.SHEETS, "clinical data": gdc_clinical.CLINICAL, "table of slides": SLIDE_TABLES}
NOT_PUBLISHED = "not among these downloads; give it with --known"
NOT_IN_CLINICAL = "not in the GDC's clinical data"
SAID_NOWHERE = ("idh", "codel_1p19q", "cdkn2a")


def collect_cptac_cohort(folder: Path, *, known_cases: Path | None, pairs: PairingOfSlides) -> GliomaCohort:
    """Join what the downloads say of the slides, profiles and cases.

    Parameters
    ----------
    folder
        The folder of the downloads, laid out as ``docs/data.md`` says.
    known_cases
        A table of the user's own, as for `ksfusion.cohort.glioma.build.collect_glioma_cohort`; None for no table.
    pairs
        The profiles that a slide stands with, as in `ksfusion.cohort.glioma.specimens.pair_slides`.

    Raises
    ------
    UserError
        If the folder or a table is not what it should be, or no slide or profile of a known case is found.
    """
    missing = MissingData()
    check_folder(folder, "--cptac")
    note_absent_sources(folder, SOURCES, missing)
    clinical = gdc_clinical.read_clinical(folder, missing)
    listed, sheets = read_slide_table(folder), gdc.read_sample_sheets(folder)

    def slide_tissue(name: str, _: Mapping[str, str]) -> gdc.Tissue:
        return _of_slide(Path(name).stem, listed)

    found = [
        gdc.find_files(folder / place, endings, sheets, missing, tissue=tissue, tumour_of=_no_tumour)
        for place, endings, tissue in (
            ("slides", gdc.SLIDE_ENDINGS, slide_tissue),
            ("expression", GDC_SUFFIX, _of_profile),
        )
    ]
    slides, profiles = (_of_the_brain(files, clinical, missing) for files in found)
    samples = pair_slides(slides, profiles, CPTAC, pairs=pairs)
    if not samples:
        raise UserError("no slide and no profile of a known case was found; see docs/data.md for where files belong")
    cases = {
        case_id: _case(case_id, clinical.get(case_id, {}), missing)
        for case_id in sorted({row["case_id"] for row in samples})
    }
    more_columns = overwrite(cases, known_cases, missing) if known_cases else ()
    note_what_is_empty(
        samples, cases, missing, lambda _, column: NOT_PUBLISHED if column in SAID_NOWHERE else NOT_IN_CLINICAL
    )
    for slide in slides:
        if listed and slide.id not in listed:
            missing.note(slide.id, "slide_specimen_id", "not in a table of slides: only its name says whose it is")
    for profile in unused_profiles(slides, profiles, samples):
        missing.note(profile["id"], "expression_id", profile["reason"])
    return GliomaCohort(samples, list(cases.values()), (*CASE_COLUMNS, *more_columns), missing)


def read_slide_table(folder: Path) -> dict[str, list[Row]]:
    """Read the imaging archive's tables of slides: Slide_ID to its rows, of which there should be one."""
    listed: dict[str, list[Row]] = {}
    for path in find(folder, *SLIDE_TABLES):
        for row in read_rows(path, SLIDE_COLUMNS):
            rows = listed.setdefault(known(row["Slide_ID"]).removesuffix(".svs"), [])
            if row not in rows:
                rows.append(row)
    return listed


def _of_slide(slide_id: str, listed: Mapping[str, list[Row]]) -> gdc.Tissue:
    """Return the case and the specimen of a slide, and why it is left out."""
    rows, named = listed.get(slide_id, []), SLIDE_NAME.match(slide_id)
    cases = {known(row["Case_ID"]) for row in rows} | ({named[1]} if named else set())
    cases, specimens = cases - {""}, {known(row["Specimen_ID"]) for row in rows} - {""}
    tumours = {known(row.get("Tumor")) for row in rows} - {"", TUMOUR}
    if not cases:
        return gdc.Tissue("", "", "neither its name nor a table of slides says whose it is")
    for said in (cases, specimens):
        if len(said) > 1:
            return gdc.Tissue("", "", f"its name and the table of slides say {' and '.join(sorted(said))}")
    if any("normal" in known(row.get("Specimen_Type")).lower() for row in rows):
        return gdc.Tissue("", "", "normal tissue")
    if tumours:
        return gdc.Tissue("", "", f"of another tumour ({', '.join(sorted(tumours))})")
    return gdc.Tissue(cases.pop(), specimens.pop() if specimens else "", "")


def _of_profile(name: str, row: Mapping[str, str]) -> gdc.Tissue:
    """Return the case and the sample of a profile, and why it is left out.

    CPTAC's RNA is at times of several samples of a tumour: the sample is then not told.
    """
    cases, samples = (gdc.listed(row, column) for column in ("Case ID", "Sample ID"))
    project = known(row.get("Project ID"))
    if not cases:
        return gdc.Tissue("", "", "not in a sample sheet")
    if project and project != PROJECT:
        return gdc.Tissue("", "", f"of project {project}, not {PROJECT}")
    if len(cases) > 1:
        return gdc.Tissue("", "", "of several cases")
    if gdc.is_normal(row):
        return gdc.Tissue("", "", "normal tissue")
    return gdc.Tissue(cases.pop(), samples.pop() if len(samples) == 1 else "", "")


def _no_tumour(sample_id: str) -> str:
    """Return nothing: which samples of a patient are of one tumour, CPTAC's names do not say."""
    return ""


def _of_the_brain(
    files: list[Specimen], clinical: Mapping[str, Mapping[str, str]], missing: MissingData
) -> list[Specimen]:
    """Return the files of cases that the clinical data do not place in another organ; CPTAC-3 has many."""
    kept = []
    for file in files:
        organ = clinical.get(file.case_id, {}).get("primary_site", "")
        if organ and organ.lower() != ORGAN:
            missing.note(Path(file.path).name, "file", f"of {organ.lower()}, not of the {ORGAN}")
        else:
            kept.append(file)
    return kept


def _case(case_id: str, patient: dict[str, str], missing: MissingData) -> Row:
    row = {"case_id": case_id, **{name: patient.get(name, "") for name in ("grade", "age", "sex", "event")}}
    if patient.get("survival_days") and patient.get("event"):
        row |= {"survival_days": patient["survival_days"], "survival_source": "GDC"}
    note_conflicts(row, patient, {}, missing)
    return row
