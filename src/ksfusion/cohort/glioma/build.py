"""The samples and cases of the paper's cohort, from what a user downloads.

What to download and where to put it: ``docs/data.md``. Nothing is guessed: what no source says stays empty, and is
noted with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ksfusion.cohort.columns import map_columns
from ksfusion.cohort.config import Labelling
from ksfusion.cohort.glioma import gdc, gdc_clinical
from ksfusion.cohort.glioma import ivygap as atlas
from ksfusion.cohort.glioma.downloads import MissingData, as_days, find, not_data
from ksfusion.cohort.glioma.markers import COPY_NUMBER_TABLES, MARKER_TABLES, read_cdkn2a, read_markers
from ksfusion.cohort.glioma.specimens import PairingOfSlides, Row, pair_slides, unused_profiles
from ksfusion.cohort.labels import MARKER_VALUES
from ksfusion.cohort.samples import check_cases
from ksfusion.cohort.user_table import check_columns, read_user_table
from ksfusion.core.errors import UserError
from ksfusion.terms.published_files import GDC_SUFFIX
from ksfusion.terms.units import DAYS_IN

TCGA, IVYGAP = "TCGA", "IvyGAP"
CASE_COLUMNS = ("case_id", *MARKER_VALUES, "survival_days", "event", "survival_source", "age", "sex")
TCGA_SOURCES = {
    "sample sheet": gdc.SHEETS,
    "clinical data": gdc_clinical.CLINICAL,
    "marker table": MARKER_TABLES,
    "copy number table": COPY_NUMBER_TABLES,
}
IVYGAP_SOURCES = {
    "table of tumours": (atlas.TUMOURS,),
    "table of sub-blocks": (atlas.SUB_BLOCKS,),
    "table of profiles": (atlas.PROFILES,),
}
WHERE = {
    "idh": "the marker table (S1A)",
    "codel_1p19q": "the marker table (S1A)",
    "cdkn2a": "the copy number table",
    "grade": "the marker table (S1A) or the GDC's clinical data",
    "survival_days": "the GDC's clinical data or the marker table (S1A)",
    "event": "the GDC's clinical data or the marker table (S1A)",
}
# What the columns of a user's own table may hold.
LABELS = {
    **{
        name: Labelling(kind="classification", column=name, classes=list(values))
        for name, values in MARKER_VALUES.items()
    },
    "survival": Labelling(kind="survival", time="survival_days", event="event"),
}
NOT_IN_IVYGAP = "IvyGAP does not publish it; give it with --known"


@dataclass(frozen=True)
class GliomaCohort:
    """The samples and cases that the downloads have, and what they do not say.

    Attributes
    ----------
    samples
        Rows with the columns `ksfusion.cohort.glioma.specimens.SAMPLE_COLUMNS`.
    cases
        Rows with the columns ``case_columns``, in order of case_id.
    case_columns
        `CASE_COLUMNS`, and those that the user brings.
    missing
        What stays empty or is left out, and why.
    """

    samples: list[Row]
    cases: list[Row]
    case_columns: tuple[str, ...]
    missing: MissingData


def collect_glioma_cohort(
    *,
    tcga: Path | None,
    ivygap: Path | None,
    known_cases: Path | None,
    ivygap_mpp: float | None,
    pairs: PairingOfSlides,
) -> GliomaCohort:
    """Join what the downloads say of the slides, profiles and cases.

    Parameters
    ----------
    tcga, ivygap
        The folders of the downloads, laid out as ``docs/data.md`` says; either may be None.
    known_cases
        A table of the user's own, checked as ``cases.tsv`` is: case_id and any columns, labels of other tasks too. Its
        values win. None for no table.
    ivygap_mpp
        Micrometres per pixel of IvyGAP's images; None where it is not known.
    pairs
        The profiles that a slide stands with, as in `ksfusion.cohort.glioma.specimens.pair_slides`.

    Raises
    ------
    UserError
        If a folder or a table is not what it should be, or no slide or profile of a known case is found.
    """
    missing = MissingData()
    samples: list[Row] = []
    unused: list[Row] = []
    cases: dict[str, Row] = {}
    if tcga:
        check_folder(tcga, "--tcga")
        note_absent_sources(tcga, TCGA_SOURCES, missing)
        sheets = gdc.read_sample_sheets(tcga)
        slides = gdc.find_files(tcga / "slides", gdc.SLIDE_ENDINGS, sheets, missing)
        profiles = gdc.find_files(tcga / "expression", GDC_SUFFIX, sheets, missing)
        samples += pair_slides(slides, profiles, TCGA, pairs=pairs)
        unused += unused_profiles(slides, profiles, samples)
        cases |= _tcga_cases(tcga, {row["case_id"] for row in samples}, missing)
    if ivygap:
        check_folder(ivygap, "--ivygap")
        note_absent_sources(ivygap, IVYGAP_SOURCES, missing)
        slides = atlas.find_slides(ivygap, ivygap_mpp, missing)
        profiles = atlas.find_profiles(ivygap)
        rows = pair_slides(slides, profiles, IVYGAP, pairs=pairs)
        unused += unused_profiles(slides, profiles, rows)
        tumours = atlas.read_tumours(ivygap, missing)
        samples += rows
        cases |= {case_id: _ivygap_case(case_id, tumours) for case_id in sorted({row["case_id"] for row in rows})}
    if not samples:
        raise UserError("no slide and no profile of a known case was found; see docs/data.md for where files belong")
    more_columns = overwrite(cases, known_cases, missing) if known_cases else ()
    note_what_is_empty(samples, cases, missing, _why_empty)
    for profile in unused:
        missing.note(profile["id"], "expression_id", profile["reason"])
    in_order = [cases[case_id] for case_id in sorted(cases)]
    return GliomaCohort(samples, in_order, (*CASE_COLUMNS, *more_columns), missing)


def check_folder(folder: Path, option: str) -> None:
    """Raise UserError where the folder that an option names is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder; give {option} the folder of the downloads (docs/data.md)")


def note_absent_sources(folder: Path, sources: Mapping[str, Sequence[str]], missing: MissingData) -> None:
    """Note the sources of which a folder has no file: what they are called, and the patterns of their names."""
    for source, patterns in sources.items():
        if not find(folder, *patterns):
            missing.note(folder.as_posix(), "file", f"no {source} in it ({' or '.join(patterns)})")


def _tcga_cases(folder: Path, case_ids: set[str], missing: MissingData) -> dict[str, Row]:
    """Join the sources: survival from the GDC, else the marker table; grade the other way round."""
    clinical, markers = gdc_clinical.read_clinical(folder, missing), read_markers(folder, missing)
    cdkn2a, cases = read_cdkn2a(folder, missing), {}
    for case_id in sorted(case_ids):
        patient, marked = clinical.get(case_id, {}), markers.get(case_id, {})
        row = {
            "case_id": case_id,
            "idh": marked.get("idh", ""),
            "codel_1p19q": marked.get("codel_1p19q", ""),
            "cdkn2a": cdkn2a.get(case_id, ""),
            "grade": marked.get("grade") or patient.get("grade", ""),
            "age": patient.get("age", ""),
            "sex": patient.get("sex", ""),
        }
        for source, values in (("GDC", patient), ("Ceccarelli 2016", marked)):
            if values.get("survival_days") and values.get("event"):
                row |= {"survival_days": values["survival_days"], "event": values["event"], "survival_source": source}
                missing.resolve(case_id, "survival_days")
                missing.resolve(case_id, "event")
                break
        else:
            row["event"] = patient.get("event") or marked.get("event", "")
        note_conflicts(row, patient, marked, missing)
        cases[case_id] = row
    return cases


def note_conflicts(row: Row, patient: Row, marked: Row, missing: MissingData) -> None:
    """Note where the GDC and the marker table differ, or the GDC's own records do, and which value is used."""
    names_of: dict[str, dict[str, str]] = {"grade": {}, "event": {"0": "alive", "1": "dead"}}
    for column, names in names_of.items():
        said = [("the GDC", patient.get(column, "")), ("the marker table", marked.get(column, ""))]
        if all(value for _, value in said) and said[0][1] != said[1][1]:
            (source, used), (other, value) = sorted(said, key=lambda source: source[1] != row[column])
            reason = f"{source} says {names.get(used, used)} (used), {other} {names.get(value, value)}"
            missing.note(row["case_id"], column, reason)
        if conflict := patient.get(f"{column}_conflict"):
            used = f"; {names.get(row[column], row[column])} of the marker table is used" if row[column] else ""
            missing.note(row["case_id"], column, conflict + used)
    for column in ("survival_days", "age", "sex"):
        if conflict := patient.get(f"{column}_conflict"):
            missing.note(row["case_id"], column, conflict)
    days = [float(source.get("survival_days") or 0) for source in (patient, marked)]
    if all(days) and patient.get("event") == marked.get("event") == "1" and abs(days[0] - days[1]) > DAYS_IN["months"]:
        reason = f"the GDC says death at day {as_days(days[0])} (used), the marker table at {as_days(days[1])}"
        missing.note(row["case_id"], "survival_days", reason)


def _ivygap_case(case_id: str, tumours: dict[str, Row]) -> Row:
    row = {"case_id": case_id, **tumours.get(case_id, {})}
    return row | {"survival_source": IVYGAP if row.get("survival_days") else ""}


def overwrite(cases: dict[str, Row], path: Path, missing: MissingData) -> tuple[str, ...]:
    """Put the user's own values in place of the downloads'; return the columns that they bring."""
    table = read_user_table(str(path))
    map_columns(table, {})
    if table.columns and check_columns(table, ["case_id"]):
        check_cases(table, LABELS)
    if problems := table.all_problems():
        raise UserError("\n".join(problems))
    for row in table.rows:
        values = {name: value for name, value in row.items() if value}
        if row["case_id"] not in cases:
            missing.note(row["case_id"], "case_id", f"in {path.name} and in no download")
            continue
        cases[row["case_id"]] |= values
        for column in values:
            missing.resolve(row["case_id"], column)
        if "survival_days" in values or "event" in values:
            cases[row["case_id"]]["survival_source"] = values.get("survival_source", path.name)
    return tuple(name for name in table.columns if name not in CASE_COLUMNS)


def _why_empty(cohort: str, column: str) -> str:
    if cohort == IVYGAP:
        return f"not in {atlas.TUMOURS}" if column == "survival_days" else NOT_IN_IVYGAP
    return f"not in {WHERE[column]}"


def note_what_is_empty(
    samples: list[Row], cases: dict[str, Row], missing: MissingData, why: Callable[[str, str], str]
) -> None:
    """Note the reason of each empty value that no source has said more of, and forget cases that are not used.

    Parameters
    ----------
    samples, cases
        Rows of the two tables, those of the cases by case_id.
    missing
        Notes to which the reasons are added.
    why
        Returns the reason of an empty column of cases, given the cohort and the column.
    """
    cohort_of = {row["case_id"]: row["cohort"] for row in samples}
    missing.rows = [row for row in missing.rows if row[0] in cases or row[1] in ("file", "case_id")]
    noted = {row[:2] for row in missing.rows}
    for row in samples:
        if not row["slide"]:
            missing.note(row["sample_id"], "slide", "no slide of the case was found")
        elif problem := not_data(Path(row["slide"])):
            # The row stays, and the pipeline's ledger will call the slide unreadable.
            missing.note(row["sample_id"], "slide", problem)
        if row["slide"] and not row["expression_id"]:
            missing.note(row["sample_id"], "expression_id", "no profile of the case was found")
        if row["slide"] and row["cohort"] == IVYGAP and not row["mpp"]:
            missing.note(row["sample_id"], "mpp", "IvyGAP's images do not say their scale; give --ivygap-mpp")
    for case_id, row in cases.items():
        for column in WHERE:
            if not row.get(column) and (case_id, column) not in noted:
                missing.note(case_id, column, why(cohort_of[case_id], column))
