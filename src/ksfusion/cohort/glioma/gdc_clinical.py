"""Clinical data that a user downloads from the GDC portal, in JSON or TSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ksfusion.cohort.glioma.downloads import MissingData, as_days, find, known, number, read_rows
from ksfusion.cohort.glioma.gdc import BARCODE
from ksfusion.core.data_files import open_data
from ksfusion.core.errors import UserError
from ksfusion.terms.units import DAYS_IN

CLINICAL = ("clinical*.json", "clinical*.tsv", "follow_up*.tsv")

Node = dict[str, Any]
# What days and ages may differ by and be the same: a day, and a year that is counted before or after a birthday.
DAY, YEAR = 1, 1.1


def read_clinical(folder: Path, missing: MissingData) -> dict[str, dict[str, str]]:
    """Read the clinical data of the GDC, in JSON or TSV, as cart and cohort downloads have them.

    Both schemas are read. Up to data release 41 the time of the last follow-up stands with the diagnosis
    (``days_to_last_follow_up``), since then with each follow-up (``days_to_follow_up``): the largest counts.

    Returns
    -------
    dict
        case_id (the submitter's, TCGA-06-0125) to survival_days, event (1 = died), grade, age (years), sex and (of TSV
        alone) primary_site; empty where unknown, noted in ``missing``. Where records contradict each other,
        ``{column}_conflict`` says so: a vital status, a grade or a sex is then empty, of days of death the last and of
        ages the first is used.
    """
    cases: dict[str, list[Node]] = {}
    for path in find(folder, *CLINICAL):
        records = _json_records(path) if path.suffix == ".json" else _tsv_records(path)
        for case_id, record in records:
            cases.setdefault(case_id, []).append(record)
    return {case_id: _patient(case_id, records, missing) for case_id, records in sorted(cases.items())}


def _json_records(path: Path) -> list[tuple[str, Node]]:
    records = []
    for case in _json_cases(path):
        demographic = _nodes(case.get("demographic"), path)
        # Older downloads name the patient in the demographic record alone: TCGA-06-0125_demographic.
        case_id = known(case.get("submitter_id")) or next(iter(_values(demographic, "submitter_id")), "")
        barcode = BARCODE.match(case_id)
        if not case_id:
            raise UserError(f"{path}: a case has no submitter_id; download Clinical, JSON again")
        parts = [*demographic, *_nodes(case.get("diagnoses"), path), *_nodes(case.get("follow_ups"), path)]
        records += [(barcode[1] if barcode else case_id, part) for part in parts]
    return records


def _json_cases(path: Path) -> list[Node]:
    """Return the cases of a file that the portal or the API has written."""
    with open_data(path) as file:
        try:
            document = json.load(file)
        except (ValueError, RecursionError):
            raise UserError(f"{path}: is not complete JSON; download it again") from None
    cases = document
    if isinstance(document, dict):
        cases = document.get("data")
        if cases is None and "message" in document:
            raise UserError(f"{path}: holds an error of the GDC ({known(document['message'])}); download it again")
        cases = cases.get("hits") if isinstance(cases, dict) else cases
    if not isinstance(cases, list):
        raise UserError(f"{path}: is not the GDC's clinical JSON; download Clinical, JSON")
    if not cases:
        raise UserError(f"{path}: holds no case; download Clinical, JSON again")
    return _nodes(cases, path)


def _nodes(value: Any, path: Path) -> list[Node]:
    """Return the records of a part of a case: one or a list of them, some of which may be null."""
    nodes = [node for node in (value if isinstance(value, list) else [value]) if node is not None]
    if not all(isinstance(node, dict) for node in nodes):
        raise UserError(f"{path}: is not the GDC's clinical JSON; download Clinical, JSON")
    return nodes


def _tsv_records(path: Path) -> list[tuple[str, Node]]:
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


def _values(records: list[Node], *names: str) -> list[str]:
    return [value for record in records for name in names if (value := known(record.get(name)))]


def _patient(case_id: str, records: list[Node], missing: MissingData) -> dict[str, str]:
    status = {value.lower() for value in _values(records, "vital_status")}
    event = {frozenset({"dead"}): "1", frozenset({"alive"}): "0"}.get(frozenset(status), "")
    died, followed = _days(records, "days_to_death"), _days(records, "days_to_last_follow_up", "days_to_follow_up")
    event_conflict = _conflict(status)
    if event == "0" and died:
        event, event_conflict = "", f"the GDC says alive and a day of death, {as_days(max(died))}"
        missing.note(case_id, "survival_days", event_conflict)
    times = died if event == "1" else followed
    days = max(times, default=None) if event else None
    if event and days is None:
        reason = "dead without a date in the GDC" if event == "1" else "alive without a follow-up in the GDC"
        missing.note(case_id, "survival_days", reason)
    elif days is not None and days <= 0:
        missing.note(case_id, "survival_days", "the GDC's time is not above 0 days")
        days = None
    grades = {value for value in _values(records, "tumor_grade") if value in ("G2", "G3", "G4")}
    sexes = _values(records, "sex_at_birth", "gender")
    sex_conflict = _conflict({value.lower() for value in sexes})
    ages = _ages(records)
    return {
        "survival_days": "" if days is None else as_days(days),
        "survival_days_conflict": _conflict_of_death(died, followed) if event == "1" else "",
        "event": event,
        "event_conflict": event_conflict,
        "grade": next(iter(grades)) if len(grades) == 1 else "",
        "grade_conflict": _conflict(grades),
        "age": ages[0] if ages else "",
        "age_conflict": _conflict_of_ages(ages),
        "sex": sexes[0] if sexes and not sex_conflict else "",
        "sex_conflict": sex_conflict,
        "primary_site": next(iter(_values(records, "primary_site")), ""),
    }


def _days(records: list[Node], *names: str) -> list[float]:
    return [day for value in _values(records, *names) if (day := number(value)) is not None]


def _conflict(values: set[str]) -> str:
    return f"the GDC says {' and '.join(sorted(values))}" if len(values) > 1 else ""


def _conflict_of_death(died: list[float], followed: list[float]) -> str:
    """Return what is contradictory in the days of death of the dead, and which is used."""
    if len(set(died)) > 1:
        days = " and ".join(map(as_days, sorted(set(died))))
        return f"the GDC says days of death {days}; the last is used"
    if died and max(followed, default=0) > max(died) + DAY:
        return (
            f"the GDC says a follow-up at day {as_days(max(followed))}, after the death at {as_days(max(died))} (used)"
        )
    return ""


def _conflict_of_ages(ages: list[str]) -> str:
    years = [float(age) for age in ages]
    # At the beginning of a year and at its end one is of the same age in years.
    if not years or max(years) - min(years) <= YEAR:
        return ""
    return f"the GDC says ages {min(years):g} and {max(years):g}; {ages[0]} is used"


def _ages(records: list[Node]) -> list[str]:
    """Return the ages in years: as the GDC gives them, then from the days at diagnosis."""
    given = [value for value in _values(records, "age_at_index") if number(value) is not None]
    return given + [f"{day / DAYS_IN['years']:.1f}" for day in _days(records, "age_at_diagnosis")]
