"""Labels of a case: the integrated diagnosis from its markers, and one label per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ksfusion.terms.units import DAYS_IN

if TYPE_CHECKING:
    import pandas as pd

MARKERS = ("idh", "codel_1p19q", "cdkn2a", "grade")
GLIOBLASTOMA, ASTROCYTOMA_G4, ASTROCYTOMA, OLIGODENDROGLIOMA = (
    "glioblastoma",
    "astrocytoma_g4",
    "astrocytoma",
    "oligodendroglioma",
)


def diagnose(idh: str, codel_1p19q: str, cdkn2a: str, grade: str) -> tuple[str, str]:
    """Derive the integrated diagnosis, as the paper does.

    Every IDH-wildtype case is a glioblastoma here, also one of grade 2 or 3 without the molecular criteria that the
    WHO classification of 2021 asks for.

    Parameters
    ----------
    idh, codel_1p19q, cdkn2a, grade
        Values as in the table of cases; empty where unknown.

    Returns
    -------
    diagnosis : str
        Empty where the markers do not determine it.
    reason : str
        Why it is empty; empty where it is not.
    """
    if idh == "WT":
        return GLIOBLASTOMA, ""
    if not idh:
        return "", "idh unknown"
    if codel_1p19q == "codel":
        return OLIGODENDROGLIOMA, ""
    if not codel_1p19q:
        return "", "idh mutant, codel_1p19q unknown"
    if grade == "G4" or cdkn2a == "homdel":
        return ASTROCYTOMA_G4, ""
    if grade and cdkn2a == "intact":
        return ASTROCYTOMA, ""
    unknown = [name for name, value in (("grade", grade), ("cdkn2a", cdkn2a)) if not value]
    return "", f"idh mutant without codeletion, {' and '.join(unknown)} unknown"


def contradiction(idh: str, codel_1p19q: str, grade: str) -> str:
    """Return what is contradictory in a case's markers, or nothing.

    A 1p/19q codeletion occurs with an IDH mutation, and an oligodendroglioma has no grade 4 (WHO 2021).
    """
    if idh == "WT" and codel_1p19q == "codel":
        return "IDH wildtype with 1p/19q codeletion"
    if codel_1p19q == "codel" and grade == "G4":
        return "1p/19q codeletion with grade 4"
    return ""


def label_column(task: str, kind: str) -> str:
    """Return the column that says whether a case has a label for a task: its class, or whether it died."""
    return f"event_{task}" if kind == "survival" else f"label_{task}"


def label_cases(cases: pd.DataFrame, tasks: Mapping[str, Mapping]) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Add the label columns of every task.

    Parameters
    ----------
    cases : pandas.DataFrame, one row per case
        Text columns as the user gave them.
    tasks
        Name to ``{kind, column, classes, time, event, unit}``.

    Returns
    -------
    labelled : pandas.DataFrame
        With ``label_{task}`` (class number) or ``days_{task}`` (brought to days from the task's unit: a month has
        30.4375 days, a year 365.25) and ``event_{task}``; missing where unknown.
    findings : list of dict
        Cases without a label, and contradictory markers: check, subject, detail.
    """
    import pandas as pd

    labelled, findings = cases.copy(), []
    markers = {name: cases[name] if name in cases else pd.Series("", index=cases.index) for name in MARKERS}
    for row in zip(cases["case_id"], *markers.values(), strict=True):
        case_id, idh, codel, _, grade = row
        if detail := contradiction(idh, codel, grade):
            findings.append({"check": "contradictory_markers", "subject": case_id, "detail": detail})
    for name, task in tasks.items():
        if task["kind"] == "survival":
            days, event = (cases.get(task[key], pd.Series("", index=cases.index)) for key in ("time", "event"))
            known = (days != "") & (event != "")
            labelled[f"days_{name}"] = pd.to_numeric(days.where(known, ""), errors="coerce") * DAYS_IN[task["unit"]]
            labelled[f"event_{name}"] = pd.to_numeric(event.where(known, ""), errors="coerce").astype("Int64")
            reasons = (~known).map({True: "time or event unknown", False: ""})
        else:
            if task["column"] in cases:
                values = cases[task["column"]]
                reasons = (values == "").map({True: f"{task['column']} unknown", False: ""})
            elif task["column"] == "diagnosis":
                derived = [diagnose(*values) for values in zip(*markers.values(), strict=True)]
                values = pd.Series([value for value, _ in derived], index=cases.index)
                reasons = pd.Series([reason for _, reason in derived], index=cases.index)
            else:
                values = pd.Series("", index=cases.index)
                reasons = pd.Series(f"{task['column']} unknown", index=cases.index)
            numbers = {value: number for number, value in enumerate(task["classes"])}
            labelled[f"label_{name}"] = values.map(numbers).astype("Int64")
            other = (values != "") & ~values.isin(numbers)
            reasons = reasons.mask(other, values + f" is not among the classes of {name}")
        findings += [
            {"check": f"no_label_{name}", "subject": case_id, "detail": reason}
            for case_id, reason in zip(cases["case_id"], reasons, strict=True)
            if reason
        ]
    return labelled, findings
