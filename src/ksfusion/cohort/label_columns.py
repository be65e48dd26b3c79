"""Tasks that get no label because a column is not there, or has another name: told before any job.

Read with the standard library alone: the Snakefile asks each time it is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ksfusion.cohort.config import Labelling
from ksfusion.cohort.labels import DIAGNOSIS, MARKER_VALUES, derives_diagnosis
from ksfusion.cohort.samples import CohortTables
from ksfusion.cohort.user_table import columns_there

# What the names of a column have in common in tables of hospitals and of published cohorts, in small letters.
PARTS_OF_NAMES = {
    "survival_days": ("surviv", "os_", "os.", "days", "months", "time", "follow"),
    "event": ("event", "os_status", "os.status", "vital", "dead", "death", "died", "deceased", "censor"),
    "grade": ("grad", "who"),
    "idh": ("idh",),
    "codel_1p19q": ("codel", "1p", "19q"),
    "cdkn2a": ("cdkn2", "p16", "9p21"),
    DIAGNOSIS: ("diagnos", "histol", "entity", "subtype", "oncotree"),
}


def label_warnings(tables: CohortTables, tasks: Mapping[str, Labelling], path: str) -> list[str]:
    """Return a line for each task that has no label for want of a column, or none for the cases that it decides.

    Parameters
    ----------
    tables
        The validated tables.
    tasks
        Name of each task to what its labels are.
    path
        The table of cases, for messages.
    """
    return [
        f"{path}: task {name}: {what}, so that {whose}; {remedy}"
        for name, task in tasks.items()
        for what, whose, remedy in _lost(tables, task)
    ]


def _lost(tables: CohortTables, task: Labelling) -> Iterator[tuple[str, str, str]]:
    """Yield what a task lacks, which cases have no label for that, and the remedy."""
    derived = derives_diagnosis(task, tables.case_columns)
    needed = tuple(MARKER_VALUES) if derived else task.columns
    empty = [column for column in needed if not any(row.get(column) for row in tables.cases)]
    whose = "no case has a label"
    if derived and "idh" in empty:
        empty = ["idh"]
    elif derived:
        # Whoever is not mutant is a glioblastoma, whatever the other markers are.
        if not any(row.get("idh") == "Mutant" for row in tables.cases):
            return
        whose = "cases that it decides have no label"
    absent = [column for column in empty if column not in tables.case_columns]
    if absent:
        yield f"no column {_joined(absent)}", whose, _remedy(absent, tables.case_columns)
    elif empty:
        yield f"column {_joined(empty)} is empty", whose, "fill it in, or leave the task out"


def _joined(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _remedy(absent: Sequence[str], there: Sequence[str]) -> str:
    """Return which columns there are, and how the configuration says which of them are meant."""
    pairs = ", ".join(f"{column}: {_may_be(column, there) or 'YOURS'}" for column in absent)
    return (
        f"there are {columns_there(there)}: write cohort.columns: {{{pairs}}} if that is meant, or leave the task out"
    )


def _may_be(column: str, there: Sequence[str]) -> str:
    """Return the column that may be meant by one that is not there; empty where none has such a name."""
    parts = PARTS_OF_NAMES.get(column, (column.lower(),))
    others = (name for name in there if name not in PARTS_OF_NAMES)
    return next((name for name in others if any(part in name.lower() for part in parts)), "")
