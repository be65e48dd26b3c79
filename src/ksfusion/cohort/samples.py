"""The user's two tables, validated: samples (a slide paired with a profile) and cases (labels and survival).

Read with the standard library alone: the Snakefile checks the tables each time it is parsed, before any job starts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ksfusion.cohort.columns import map_columns, unmapped
from ksfusion.cohort.config import CohortFiles, Labelling, UserColumn
from ksfusion.cohort.labels import DIAGNOSIS, MARKER_VALUES, derives_diagnosis
from ksfusion.cohort.user_table import Row, UserTable, check_columns, columns_there, read_user_table
from ksfusion.core.errors import UserError, first_of
from ksfusion.core.ids import default_slide_id
from ksfusion.core.near_names import did_you_mean
from ksfusion.core.numbers import parse_number
from ksfusion.core.paths import find_path
from ksfusion.terms.units import TimeUnit

SAMPLE_COLUMNS = ("sample_id", "case_id", "cohort", "slide", "expression_id")
OPTIONAL_SAMPLE_COLUMNS = (
    "slide_id",
    "mpp",
    "site",
    "tumour_id",
    "slide_specimen_id",
    "slide_block_id",
    "expression_specimen_id",
    "expression_block_id",
)
SURVIVAL_COLUMNS = ("survival_days", "event")
# A table may lack these: its cases then have no label for the task. A diagnosis is derived where none is given.
BUILTIN_COLUMNS = (*MARKER_VALUES, *SURVIVAL_COLUMNS, DIAGNOSIS)
COMPETING = (
    "competing events are not modelled; write 1 where the event of the task happened, and 0 where another came first, "
    "which counts as censoring then"
)
# What 0 and 1 mean.
DIED, HAPPENED = "1: died, 0: alive when last seen", "1: it happened, 0: it had not when last seen"


@dataclass(frozen=True)
class CohortTables:
    """The validated tables: text as given, empty where nothing is known."""

    samples: list[Row]
    cases: list[Row]
    case_columns: tuple[str, ...]

    def located(self, folders: Sequence[Path], table: str) -> CohortTables:
        """Return the tables with the slides' paths as the working directory sees them.

        Parameters
        ----------
        folders
            Folders in which a relative path may start, see `ksfusion.core.paths.find_path`.
        table
            The table of samples, for messages.

        Raises
        ------
        UserError
            If a path leads to two files.
        """
        rows, problems = [], []
        for row in self.samples:
            try:
                rows.append({**row, "slide": find_path(row["slide"], folders)})
            except UserError as error:
                problems.append(f"{table}: sample {row['sample_id']}: slide {error}")
        if problems:
            raise UserError("\n".join(first_of(problems)))
        return replace(self, samples=rows)

    def slides(self) -> dict[str, Row]:
        """Return one sample row for each slide_id, in order of id."""
        return {
            row["slide_id"]: row for row in sorted(self.samples, key=lambda row: row["slide_id"]) if row["slide_id"]
        }


def read_cohort(files: CohortFiles, tasks: Mapping[str, Labelling], cohorts: Collection[str]) -> CohortTables:
    """Read and validate both tables.

    Parameters
    ----------
    files
        Paths of the two tables, and the names of their columns and words.
    tasks
        Name of each task to what its labels are.
    cohorts
        The cohorts that have expression profiles.

    Raises
    ------
    UserError
        With the problems of both tables, a line each: file, row, what is wrong, the remedy.
    """
    cases, samples = read_user_table(files.cases), read_user_table(files.samples)
    lost = list(unmapped(files.columns, cases, samples)) if cases.columns and samples.columns else []
    for table in (cases, samples):
        map_columns(table, files.columns)
    known = cases.columns and check_columns(cases, ["case_id"])
    if known:
        check_cases(cases, tasks)
    needed = [name for name in SAMPLE_COLUMNS if name != "slide" or files.require == "paired"]
    if samples.columns and check_columns(samples, needed):
        _check_samples(samples, {row["case_id"] for row in cases.rows} if known else None, files.cases, cohorts)
    problems = lost + cases.all_problems() + samples.all_problems()
    if problems:
        raise UserError("\n".join(problems))
    return CohortTables(samples.rows, cases.rows, cases.columns)


def read_new_samples(
    path: str, columns: Mapping[str, UserColumn], cohorts: Collection[str], modalities: str
) -> CohortTables:
    """Read and validate a table of samples of which nothing is known but their slides and profiles.

    Parameters
    ----------
    path
        The table.
    columns
        Names of its columns, where they are the user's own.
    cohorts
        The cohorts that have expression profiles.
    modalities
        What is read of a sample: ``p``, ``g`` or ``pg``; what is not is left empty.

    Returns
    -------
    CohortTables
        The samples, and their cases without anything else.

    Raises
    ------
    UserError
        With the problems of the table, a line each.
    """
    samples = read_user_table(path)
    lost = list(unmapped(columns, samples)) if samples.columns else []
    map_columns(samples, columns)
    read = ["sample_id", "case_id", "cohort"]
    read += ["slide"] * (modalities == "p") + ["expression_id"] * (modalities == "g")
    if samples.columns and check_columns(samples, read):
        unread = [] if "p" in modalities else ["slide", "slide_id"]
        unread += [] if "g" in modalities else ["expression_id"]
        for row in samples.rows:
            row.setdefault("expression_id", "")
            row.update(dict.fromkeys(unread, ""))
        _check_samples(samples, None, "", cohorts)
    if problems := lost + samples.all_problems():
        raise UserError("\n".join(problems))
    cases = sorted({row["case_id"] for row in samples.rows})
    return CohortTables(samples.rows, [{"case_id": case_id} for case_id in cases], ("case_id",))


def check_cases(table: UserTable, tasks: Mapping[str, Labelling]) -> None:
    """Note what is wrong in a table of cases: in its ids, and in the columns that tasks read."""
    judged = _Judged(table, tasks)
    for column in table.columns:
        here = column.lower()
        if here != column and here in judged.columns and here not in table.columns:
            table.problems.append(
                f"{table.path}: row 1: column {column} must be written {here}; rename it, or write cohort.columns: "
                f"{{{here}: {column}}}"
            )
    for line, row in table.numbered():
        table.check_id(line, "case_id", row["case_id"])
        for column, allowed in judged.choices.items():
            table.check_choice(line, row, column, allowed)
        for column, unit in sorted(judged.times.items()):
            table.check_number(line, row, column, minimum=0, remedy=f"a time in {unit} is a number above 0, or empty")
        for column in sorted(judged.numbers):
            table.check_number(line, row, column, minimum=-math.inf, remedy="write a number, or leave it empty")
        for column in sorted(judged.events):
            if is_competing(row.get(column, "")):
                table.problem(line, column, f"{column} is {row[column]!r}; {COMPETING}")
            else:
                table.check_choice(line, row, column, ("0", "1"), meaning=DIED if column == "event" else HAPPENED)
    table.check_unique("case_id")


def is_competing(event: str) -> bool:
    """Return whether an event is coded as another than 0 and 1 are: 2, 3 and so on stand for competing ones."""
    number = parse_number(event)
    return number is not None and number > 1 and number.is_integer()


class _Judged:
    """The columns of a table of cases that tasks read, and what these may hold.

    Parameters
    ----------
    table
        Gets a problem for each column that is not there, and for classes that no value can have.
    tasks
        Name of each task to what its labels are.

    Attributes
    ----------
    choices
        The values of each column of classes.
    times
        The unit of each column of times.
    events
        The columns of events.
    numbers
        The columns of numbers that are predicted.
    """

    def __init__(self, table: UserTable, tasks: Mapping[str, Labelling]):
        self.choices: dict[str, tuple[str, ...]] = {}
        self.times: dict[str, TimeUnit] = {}
        self.events: set[str] = set()
        self.numbers: set[str] = set()
        derived = any(derives_diagnosis(task, table.columns) for task in tasks.values())
        # What the diagnosis is derived from has values of its own.
        self._fixed = MARKER_VALUES if derived else {}
        self.choices |= self._fixed
        for name, task in tasks.items():
            for column in task.columns:
                if column not in table.columns and column not in BUILTIN_COLUMNS:
                    table.problems.append(
                        f"{table.path}: row 1: column {column} is missing, task {name} needs it; add it or correct the "
                        f"task in the configuration; it has {columns_there(table.columns)}"
                    )
            if task.kind == "survival":
                time, event = task.columns
                self.times.setdefault(time, task.unit)
                self.events.add(event)
            elif task.kind == "regression":
                self.numbers.update(task.columns)
            elif not derives_diagnosis(task, table.columns):
                self._add_classes(name, task, table)

    def _add_classes(self, name: str, task: Labelling, table: UserTable) -> None:
        (column,) = task.columns
        if column not in self._fixed:
            known = self.choices.get(column, ())
            self.choices[column] = known + tuple(value for value in task.classes if value not in known)
        elif not set(task.classes) <= set(self._fixed[column]):
            table.problems.append(
                f"{table.path}: task {name}: its classes {', '.join(task.classes)} are not values of column {column}, "
                f"which the diagnosis is derived from; write {', '.join(self._fixed[column])} in the configuration, or "
                "leave the diagnosis out"
            )

    @property
    def columns(self) -> set[str]:
        """All of them."""
        return {*self.choices, *self.times, *self.events, *self.numbers}


def _check_samples(table: UserTable, case_ids: set[str] | None, cases: str, cohorts: Collection[str]) -> None:
    # A table that has other names than these is somebody else's, with columns that say nothing here.
    known = {*SAMPLE_COLUMNS, *OPTIONAL_SAMPLE_COLUMNS}
    own = {name for name in table.mapped if name in known and table.mapped[name] != name}
    unknown = [] if own else [name for name in table.columns if name not in known | set(table.mapped)]
    if unknown:
        table.problems.append(
            f"{table.path}: row 1: unknown column {', '.join(unknown)}; remove it, correct its name, or say in "
            f"cohort.columns what it is (optional: {', '.join(OPTIONAL_SAMPLE_COLUMNS)})"
        )
    for line, row in table.numbered():
        for column in ("slide", *OPTIONAL_SAMPLE_COLUMNS):
            row.setdefault(column, "")
        row["slide_id"] = row["slide_id"] or default_slide_id(row["slide"])
        table.check_id(line, "sample_id", row["sample_id"])
        if table.check_id(line, "case_id", row["case_id"]) and case_ids is not None and row["case_id"] not in case_ids:
            table.problem(
                line,
                "unknown case_id",
                f"case_id {row['case_id']!r} is not in {cases}; add the case there or correct the id",
            )
        if table.check_id(line, "cohort", row["cohort"]) and row["expression_id"] and row["cohort"] not in cohorts:
            table.problem(
                line,
                "unknown cohort",
                f"cohort {row['cohort']!r} has no source in cohort.expression ({', '.join(sorted(cohorts))}); add it"
                f"{did_you_mean(row['cohort'], cohorts)}",
            )
        for column in ("slide_id", "expression_id"):
            if row[column]:
                table.check_id(line, column, row[column])
        if any(mark in row["slide"] for mark in "{}*?") or any(len(part) > 255 for part in row["slide"].split("/")):
            table.problem(
                line,
                "slide",
                f"slide {row['slide'][:80]!r} has one of {{}}*? in its path or too long a name; rename it",
            )
        table.check_number(line, row, "mpp", minimum=0, remedy="micrometres per pixel is a number above 0, or empty")
    table.check_unique("sample_id")
    table.check_one_owner("slide_id", "slide", "use one path, or give each slide its own slide_id")
    table.check_one_owner("slide", "slide_id", "one file is one slide; give it one slide_id")
    table.check_one_owner("slide_id", "mpp", "give it one scale")
    table.check_one_owner("slide_id", "case_id", "a slide belongs to one case; correct the ids")
    table.check_one_owner("tumour_id", "case_id", "a tumour belongs to one case; correct the ids")
    table.check_one_owner("expression_id", "case_id", "a profile belongs to one case; correct the ids", within="cohort")
