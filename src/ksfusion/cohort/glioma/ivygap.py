"""What a user downloads from the Ivy Glioblastoma Atlas Project: tumours, sub-blocks, their images, RNA samples."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ksfusion.cohort.glioma.downloads import MissingData, as_days, known, number, read_rows
from ksfusion.cohort.glioma.specimens import Specimen
from ksfusion.core.errors import UserError
from ksfusion.terms.published_files import SAMPLES_TABLE

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".svs")
# W22-1-1: patient, primary (1) or recurrent (2) tumour, resection.
TUMOUR = re.compile(r"(W\d+)-\d+-\d+")
TUMOURS, SUB_BLOCKS, PROFILES = "tumor_details.csv", "sub_block_details.csv", f"expression/{SAMPLES_TABLE}"
# The atlas does not say where a tumour was removed: it counts as one tissue source site.
SITE = "IvyGAP"


def case_of(tumour_name: str) -> str:
    """Return the patient of a tumour: W22-1-1 and W22-2-1 are both of W22."""
    found = TUMOUR.fullmatch(tumour_name)
    return found[1] if found else tumour_name


def read_tumours(folder: Path, missing: MissingData) -> dict[str, dict[str, str]]:
    """Read ``tumor_details.csv``.

    IvyGAP publishes neither vital status nor IDH, 1p/19q, CDKN2A or grade: they stay empty.

    Returns
    -------
    dict
        case_id to survival_days and age (years); empty where unknown, or where two tumours of a patient differ.
    """
    path = folder / TUMOURS
    if not path.exists():
        return {}
    found: dict[str, dict[str, set[str]]] = {}
    for row in read_rows(path, ("tumor_name", "survival_days", "age_in_years")):
        case = found.setdefault(case_of(known(row["tumor_name"])), {"survival_days": set(), "age": set()})
        days, age = number(row["survival_days"]), known(row["age_in_years"]).removesuffix("yrs").strip()
        case["survival_days"] |= {as_days(days)} if days is not None and days > 0 else set()
        case["age"] |= {age} if number(age) is not None else set()
    cases = {}
    for case_id, values in found.items():
        for column, options in values.items():
            if len(options) > 1:
                missing.note(case_id, column, f"two tumours say {' and '.join(sorted(options))}")
        cases[case_id] = {name: options.pop() if len(options) == 1 else "" for name, options in values.items()}
    return cases


def find_profiles(folder: Path) -> list[Specimen]:
    """Read ``expression/columns-samples.csv``: one profile for each rna_well_id."""
    path = folder / PROFILES
    if not path.exists():
        return []
    rows = read_rows(path, ("rna_well_id", "tumor_name", "block_name", "specimen_name"))
    wells = Counter(known(row["rna_well_id"]) for row in rows)
    if repeated := [well for well, count in wells.items() if count > 1]:
        raise UserError(f"{path}: rna_well_id {repeated[0]} stands twice; a well is one profile, download it again")
    return [
        Specimen(
            id=known(row["rna_well_id"]),
            case_id=case_of(known(row["tumor_name"])),
            tumour_id=known(row["tumor_name"]),
            block_id=known(row["block_name"]),
            specimen_id=known(row["specimen_name"]),
            site=SITE,
        )
        for row in rows
    ]


def find_slides(folder: Path, mpp: float | None, missing: MissingData) -> list[Specimen]:
    """Return the images under ``slides/`` that belong to a sub-block of ``sub_block_details.csv``.

    An image belongs to the sub-block whose name or id is its folder's name, or the beginning of its own up to the
    first underscore. Others are noted.

    Parameters
    ----------
    folder
        The folder of the downloads.
    mpp
        Micrometres per pixel of the images, which they do not say themselves.
    missing
        Notes to which files that are left out are added.
    """
    slides = folder / "slides"
    images = sorted(path for path in slides.rglob("*") if path.is_file() and path.suffix.lower() in IMAGE_ENDINGS)
    details = folder / SUB_BLOCKS
    if not details.exists():
        for path in images:
            missing.note(path.name, "file", f"no {SUB_BLOCKS} says whose it is")
        return []
    sub_blocks: dict[str, dict[str, str]] = {}
    for row in read_rows(details, ("tumor_name", "sub_block_id", "sub_block_name")):
        sub_blocks |= {known(row["sub_block_name"]): row, known(row["sub_block_id"]): row}
    specimens = []
    for path in images:
        names = (path.parent.name, path.stem.split("_")[0])
        sub_block = next((sub_blocks[name] for name in names if name in sub_blocks), None)
        if sub_block is None:
            missing.note(path.name, "file", "neither its folder nor its name is a sub-block")
            continue
        specimen = known(sub_block["sub_block_name"])
        specimens.append(
            Specimen(
                id=path.stem if path.stem.startswith(specimen) else f"{specimen}_{path.stem}",
                case_id=case_of(known(sub_block["tumor_name"])),
                tumour_id=known(sub_block["tumor_name"]),
                # W1-1-2-D.2.01 is sub-block 01 of block W1-1-2-D.2.
                block_id=specimen.rpartition(".")[0],
                specimen_id=specimen,
                site=SITE,
                path=path.as_posix(),
                mpp="" if mpp is None else str(mpp),
            )
        )
    return specimens
