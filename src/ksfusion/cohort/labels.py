"""Labels of a case: the integrated diagnosis from its markers, and one label per task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from ksfusion.cohort.config import Labelling
from ksfusion.terms.findings import Finding
from ksfusion.terms.tasks import TaskKind
from ksfusion.terms.units import DAYS_IN

if TYPE_CHECKING:
    import pandas as pd

# The markers of a case, in the order in which `diagnose` takes them, and the values that they may have.
MARKER_VALUES = {
    "idh": ("WT", "Mutant"),
    "codel_1p19q": ("codel", "non-codel"),
    "cdkn2a": ("homdel", "intact"),
    "grade": ("G2", "G3", "G4"),
}
# The column that is derived where the table has none.
DIAGNOSIS = "diagnosis"
GLIOBLASTOMA, ASTROCYTOMA_G4, ASTROCYTOMA, OLIGODENDROGLIOMA = (
    "glioblastoma",
    "astrocytoma_g4",
    "astrocytoma",
    "oligodendroglioma",
)


def derives_diagnosis(task: Labelling, columns: Collection[str]) -> bool:
    """Return whether the labels of a task are diagnoses that its cases' markers decide.

    Parameters
    ----------
    task
        Definition of its labels.
    columns
        Columns of the table of cases: a diagnosis that stands there is taken as it is.
    """
    return task.columns == (DIAGNOSIS,) and DIAGNOSIS not in columns


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


# What label columns are called by, before the name of their task.
LABELS: dict[TaskKind, str] = {"classification": "label", "survival": "event", "regression": "value"}


def label_column(task: str, kind: TaskKind) -> str:
    """Return the column that says whether a case has a label for a task: its class, whether it died, or its value."""
    return f"{LABELS[kind]}_{task}"


def label_cases(cases: pd.DataFrame, tasks: Mapping[str, Labelling]) -> tuple[pd.DataFrame, list[Finding]]:
    """Add the label columns of every task.

    Parameters
    ----------
    cases : pandas.DataFrame, one row per case
        Text columns as the user gave them.
    tasks
        Name of each task to what its labels are.

    Returns
    -------
    labelled : pandas.DataFrame
        With ``label_{task}`` (class number) or ``days_{task}`` (brought to days from the task's unit: a month has
        30.4375 days, a year 365.25) and ``event_{task}``, or ``value_{task}`` (a number); missing where unknown.
    findings : list of Finding
        Cases without a label, and contradictory markers.
    """
    labelled, findings = cases.copy(), _contradictory_markers(cases)
    for name, task in tasks.items():
        columns, reasons = LABELLERS[task.kind](cases, name, task)
        for column, values in columns.items():
            labelled[column] = values
        findings += [
            Finding(check=f"no_label_{name}", subject=case_id, detail=reason)
            for case_id, reason in zip(cases["case_id"], reasons, strict=True)
            if reason
        ]
    return labelled, findings


def _column(cases: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of text, empty where the table has none of that name."""
    import pandas as pd

    return cases[name] if name in cases else pd.Series("", index=cases.index)


def _contradictory_markers(cases: pd.DataFrame) -> list[Finding]:
    markers = (_column(cases, name) for name in ("idh", "codel_1p19q", "grade"))
    return [
        Finding(check="contradictory_markers", subject=case_id, detail=detail)
        for case_id, *values in zip(cases["case_id"], *markers, strict=True)
        if (detail := contradiction(*values))
    ]


def _survival(cases: pd.DataFrame, name: str, task: Labelling) -> tuple[dict[str, pd.Series], pd.Series]:
    """Return the columns of a task of survival, and why a case has no label (empty where it has one)."""
    import pandas as pd

    days, event = (_column(cases, column) for column in task.columns)
    known = (days != "") & (event != "")
    columns = {
        f"days_{name}": pd.to_numeric(days.where(known, ""), errors="coerce") * DAYS_IN[task.unit],
        f"event_{name}": pd.to_numeric(event.where(known, ""), errors="coerce").astype("Int64"),
    }
    return columns, (~known).map({True: "time or event unknown", False: ""})


def _values(cases: pd.DataFrame, name: str, task: Labelling) -> tuple[dict[str, pd.Series], pd.Series]:
    """Return the column of a task of regression, and why a case has no label (empty where it has one)."""
    import pandas as pd

    (column,) = task.columns
    values = pd.to_numeric(_column(cases, column), errors="coerce").astype(float)
    return {label_column(name, task.kind): values}, values.isna().map({True: f"{column} unknown", False: ""})


def _classes(cases: pd.DataFrame, name: str, task: Labelling) -> tuple[dict[str, pd.Series], pd.Series]:
    """Return the column of a task of classification, and why a case has no label (empty where it has one)."""
    import pandas as pd

    (column,) = task.columns
    if derives_diagnosis(task, cases.columns):
        markers = (_column(cases, marker) for marker in MARKER_VALUES)
        derived = [diagnose(*values) for values in zip(*markers, strict=True)]
        values = pd.Series([value for value, _ in derived], index=cases.index)
        reasons = pd.Series([reason for _, reason in derived], index=cases.index)
    else:
        values = _column(cases, column)
        reasons = (values == "").map({True: f"{column} unknown", False: ""})
    numbers = {value: number for number, value in enumerate(task.classes)}
    other = (values != "") & ~values.isin(numbers)
    reasons = reasons.mask(other, values + f" is not among the classes of {name}")
    return {f"label_{name}": values.map(numbers).astype("Int64")}, reasons


# What labels the cases for a kind of task.
LABELLERS: Mapping[TaskKind, Callable[[pd.DataFrame, str, Labelling], tuple[dict[str, pd.Series], pd.Series]]] = {
    "classification": _classes,
    "survival": _survival,
    "regression": _values,
}
