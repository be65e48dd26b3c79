"""Tasks that get no label because a column is not there, or has another name: told before any job.

Read with the standard library alone: the Snakefile asks each time it is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ksfusion.cohort.config import Labelling
from ksfusion.cohort.labels import MARKER_VALUES
from ksfusion.cohort.samples import CohortTables
from ksfusion.cohort.user_table import columns_there

DIAGNOSIS = "diagnosis"
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
    derived = task.columns == (DIAGNOSIS,) and DIAGNOSIS not in tables.case_columns
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
    """Return which columns there are, and which of them may be meant."""
    parts = {part for column in absent for part in PARTS_OF_NAMES.get(column, (column.lower(),))}
    may_be = [name for name in there if name not in PARTS_OF_NAMES and any(part in name.lower() for part in parts)]
    remedy = f"rename {_joined(may_be)} if that is meant" if may_be else "rename the one that is meant"
    return f"there are {columns_there(there)}: {remedy}, or leave the task out"
