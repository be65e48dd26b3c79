"""A clinical table as a hospital keeps it, read for a first table of cases: which columns mean what, in which words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ksfusion.cohort.config import UserColumn
from ksfusion.cohort.needs import COVARIATES, covariate_columns
from ksfusion.cohort.placing import plain
from ksfusion.core.errors import UserError
from ksfusion.core.missing import is_missing
from ksfusion.core.near_names import near_name
from ksfusion.core.numbers import decimal_point, parse_number
from ksfusion.core.tables import read_text_table
from ksfusion.terms.units import DAYS_IN, TimeUnit

TIMES: dict[str, TimeUnit] = {"survival_days": "days", "survival_months": "months", "survival_years": "years"}
UNIT_NAMES: dict[TimeUnit, tuple[str, ...]] = {
    "days": ("day", "tage"), "months": ("month", "monat", "mths"), "years": ("year", "jahr"),
}  # fmt: skip
# What columns are called, in small letters and digits.
CASE_NAMES = (
    "caseid", "case", "patientid", "patient", "bcrpatientbarcode", "casesubmitterid", "submitterid", "subjectid",
    "subject", "pseudonym", "fallnummer", "fall", "pid", "id",
)  # fmt: skip
EVENT_NAMES = ("event", "vitalstatus", "osstatus", "died", "dead", "death", "deceased", "verstorben", "tod", "status")
TIME_NAMES = re.compile(r"^(os|overallsurvival|survival|survivaltime|ueberleben|überleben|gesamtüberleben|daystodeath)")
MARKERS = {
    "idh": re.compile(r"^idh[12]?(status|mutation|mutationstatus|mut)?$"),
    "codel_1p19q": re.compile(r"^(1p19q|codel|1p19qcodel).*$"),
    "cdkn2a": re.compile(r"^cdkn2a"),
    "grade": re.compile(r"^(whograde|tumou?rgrade|grade|grad|whograd|cnsgrade)$"),
}
# What values are called, of those that leave no doubt.
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "idh": {
        "WT": ("wt", "wildtype", "idhwt", "idhwildtype", "wildtyp"),
        "Mutant": ("mutant", "mut", "mutated", "idhmut", "idhmutant", "mutiert", "r132h", "idh1r132h"),
    },
    "codel_1p19q": {
        "codel": ("codel", "codeleted", "kodeletiert"),
        "non-codel": ("noncodel", "noncodeleted", "notcodeleted", "nocodel", "nichtkodeletiert"),
    },
    "cdkn2a": {
        "homdel": ("homdel", "homozygousdeletion", "homozygouslydeleted", "homozygotdeletiert"),
        "intact": ("intact", "nohomdel", "notdeleted", "retained", "intakt"),
    },
    "grade": {"G2": ("2", "ii"), "G3": ("3", "iii"), "G4": ("4", "iv")},
    "event": {
        "1": ("1", "dead", "deceased", "died", "death", "yes", "true", "verstorben", "tot", "ja"),
        "0": ("0", "alive", "living", "lebend", "lebt", "censored", "no", "false", "nein"),
    },
}  # fmt: skip
_GRADE_WORDS = re.compile(r"cns|who|grade|grad|g|\W|_", re.IGNORECASE)
FEWEST_CLASSES, MOST_CLASSES = 2, 12

Row = dict[str, str]
Note = tuple[str, str, str]  # what it is, which one, why


@dataclass(frozen=True)
class ClinicalTable:
    """A table as it stands in its file."""

    path: Path
    columns: tuple[str, ...]
    rows: list[Row]

    def values(self, column: str) -> list[str]:
        """Return the values of a column that say something."""
        return [row[column] for row in self.rows if not is_missing(row[column])]

    def check_columns(self, meanings: Mapping[str, str]) -> None:
        """Raise UserError where a column that means something is not there."""
        for meaning, column in meanings.items():
            if column not in self.columns:
                near = near_name(column, self.columns)
                meant = f"{column}={meaning}" if meaning in self.columns else f"{meaning}={near}" if near else ""
                told = f"; did you mean --column {meant}?" if meant else ""
                there = ", ".join(self.columns)
                raise UserError(f"--column {meaning}={column}: {self.path} has no such column; it has {there}{told}")


def read_clinical(path: Path) -> ClinicalTable:
    """Read a table as `ksfusion.core.tables.read_text_table` does.

    Raises
    ------
    UserError
        If it is no such table, or has a column twice.
    """
    text = read_text_table(path)
    columns = text.header
    if len(columns) < 2:
        raise UserError(f"{path}: row 1: no tab, semicolon or comma separates columns; save it as CSV or .xlsx")
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise UserError(f"{path}: row 1: column {twice[0]!r} stands twice; rename one")
    rows = []
    for line, fields in text.rows:
        if len(fields) > len(columns):
            raise UserError(f"{path}: row {line}: has {len(fields)} fields, the header has {len(columns)}; quote them")
        cells = [" ".join(field.split()) for field in fields]
        rows.append(dict(zip(columns, cells + [""] * (len(columns) - len(cells)), strict=True)))
    if not rows:
        raise UserError(f"{path}: has no rows")
    return ClinicalTable(path, columns, rows)


def guess_columns(table: ClinicalTable) -> Row:
    """Return the column of each meaning that is plain from its name, and for labels from its values."""
    names = {plain(column): column for column in table.columns}
    found = {}
    if case := next((names[name] for name in CASE_NAMES if name in names), None):
        found["case_id"] = case
    for marker, pattern in MARKERS.items():
        columns = [column for name, column in names.items() if pattern.match(name)]
        if known := [column for column in columns if any(_translated(marker, table.values(column)))]:
            found[marker] = known[0]
    times = [column for name, column in names.items() if TIME_NAMES.match(name) and _are_numbers(table.values(column))]
    for column in times:
        unit = next((unit for unit, said in UNIT_NAMES.items() if any(word in plain(column) for word in said)), None)
        if unit:
            found[f"survival_{unit}"] = column
            break
    events = [names[name] for name in EVENT_NAMES if name in names]
    if event := next((column for column in events if all(_translated("event", table.values(column)))), None):
        found["event"] = event
    return found | covariate_columns(names, {name for name in table.columns if _are_numbers(table.values(name))})


def _are_numbers(values: Sequence[str]) -> bool:
    return bool(values) and all(_number(value) is not None for value in values)


def _number(text: str) -> float | None:
    return parse_number(decimal_point(text))


def _translated(meaning: str, values: Sequence[str]) -> list[str | None]:
    return [translate(meaning, value) for value in values]


def translate(meaning: str, value: str) -> str | None:
    """Return a value in the words of the table of cases; None where it leaves a doubt.

    Parameters
    ----------
    meaning
        ``idh``, ``codel_1p19q``, ``cdkn2a``, ``grade`` or ``event``.
    value
        Value as it stands in a user's table, such as ``Wildtyp``, ``WHO III`` or ``1:DECEASED``.
    """
    said = _GRADE_WORDS.sub("", value).lower() if meaning == "grade" else plain(value.rpartition(":")[2])
    return next((word for word, names in WORDS[meaning].items() if said == plain(word) or said in names), None)


@dataclass(frozen=True)
class Cases:
    """Rows for a table of cases.

    Attributes
    ----------
    columns
        Those that the study reads, ``case_id`` first.
    rows
        One for each case, in the words that the study reads.
    classes
        Of each task of the user's own, the values of its column.
    notes
        What was left empty, and why.
    own_columns, own_rows
        The same in the names and words of the clinical table.
    mapping
        What ``cohort.columns`` says of these.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    classes: dict[str, list[str]]
    notes: list[Note]
    own_columns: tuple[str, ...]
    own_rows: list[Row]
    mapping: dict[str, Any]


class Label(NamedTuple):
    """What a row says of a label: in the words that the study reads, and in its own, cleaned."""

    name: str
    value: str
    own: str


def cases_of(table: ClinicalTable, meanings: Mapping[str, str], ids: Mapping[str, str]) -> Cases:
    """Return the cases of a clinical table.

    Parameters
    ----------
    table
        The table.
    meanings
        The column of each meaning; one that is none of ours is a task of the user's own, by that name.
    ids
        Id of each value of the column of cases.

    Raises
    ------
    UserError
        If a column of the user's own task has not 2 to 12 values.
    """
    own = [name for name in meanings if name not in (*WORDS, *TIMES, *COVARIATES, "case_id", "slide", "expression_id")]
    covariates = [name for name in COVARIATES if name in meanings]
    kept = [name for name in WORDS if name in meanings]
    timed = [name for name in TIMES if name in meanings][:1]
    columns = ["case_id", *(name for name in kept if name != "event"), *(["survival_days"] if timed else [])]
    columns += [name for name in kept if name == "event"] + covariates + own
    source = {name: meanings[timed[0] if name == "survival_days" else name] for name in columns}
    notes: list[Note] = []
    words: dict[str, dict[str, str | None]] = {name: {} for name in columns}
    found: dict[str, tuple[Row, Row]] = {}
    for row in table.rows:
        if is_missing(row[meanings["case_id"]]):
            continue
        case = ids[row[meanings["case_id"]]]
        empty = (
            {**dict.fromkeys(columns, ""), "case_id": case},
            {**dict.fromkeys(source.values(), ""), source["case_id"]: case},
        )
        said, as_given = found.setdefault(case, empty)
        for name, value, given in _labels(row, meanings, kept, timed, [*covariates, *own], case, notes):
            words[name][given] = value or None
            if said[name] and value and value != said[name]:
                notes.append((name, case, f"rows of the case say {said[name]} and {value}: the first is taken"))
            elif not said[name]:
                said[name], as_given[source[name]] = value, given
    rows = [said for said, _ in found.values()]
    classes = {name: sorted({row[name] for row in rows if row[name]}) for name in own}
    for name, values in classes.items():
        if not FEWEST_CLASSES <= len(values) <= MOST_CLASSES:
            raise UserError(
                f"--column {name}={meanings[name]}: has {len(values)} values, and a task has {FEWEST_CLASSES} to "
                f"{MOST_CLASSES} classes; name another column"
            )
    unit = TIMES[timed[0]] if timed else "days"
    mapping = {name: entry for name in columns if (entry := _entry(name, source[name], words[name], unit))}
    own_columns = tuple(dict.fromkeys(source.values()))
    own_rows = [given for _, given in found.values()]
    return Cases(tuple(columns), rows, classes, list(dict.fromkeys(notes)), own_columns, own_rows, mapping)


def _entry(name: str, column: str, words: Mapping[str, str | None], unit: TimeUnit) -> Any:
    """Return what ``cohort.columns`` says of a column; nothing where it has its name and words already."""
    entry: dict[str, Any] = {} if column == name else {"column": column}
    if name == "survival_days":
        entry |= {} if unit == "days" else {"unit": unit}
    elif name in WORDS:
        others = {word: meaning for word, meaning in words.items() if word != meaning}
        if name == "event":
            for key, value in (("died", "1"), ("alive", "0")):
                if listed := [word for word, meaning in others.items() if meaning == value]:
                    entry[key] = listed
            others = {word: meaning for word, meaning in others.items() if meaning is None}
        reserved = not set(others).isdisjoint(UserColumn.model_fields)
        entry |= {"words": others} if reserved else others
    return column if entry == {"column": column} else entry


def _labels(
    row: Row,
    meanings: Mapping[str, str],
    kept: Sequence[str],
    timed: Sequence[str],
    own: Sequence[str],
    case: str,
    notes: list[Note],
) -> Iterator[Label]:
    """Yield the labels that a row gives, and note those of which it leaves a doubt."""
    for name in kept:
        given = row[meanings[name]]
        if is_missing(given):
            continue
        if (word := translate(name, given)) is None:
            notes.append((name, case, f"{given!r} is none of {', '.join(WORDS[name])}: left empty"))
        yield Label(name, word or "", given)
    for name in timed:
        given = row[meanings[name]]
        if is_missing(given):
            continue
        number = _number(given)
        if number is None or not number > 0:
            notes.append(("survival_days", case, f"{given!r} is not a time above 0: left empty"))
        else:
            yield Label("survival_days", f"{number * DAYS_IN[TIMES[name]]:.6g}", decimal_point(given))
    for name in own:
        if not is_missing(row[meanings[name]]):
            yield Label(name, row[meanings[name]], row[meanings[name]])
