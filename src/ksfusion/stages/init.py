"""Begin a study: write its tables and configuration from what lies in folders."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from ksfusion.cohort.clinical import Cases as CaseRows
from ksfusion.cohort.clinical import ClinicalTable, Note, Row, cases_of, guess_columns, is_missing, read_clinical
from ksfusion.cohort.placing import Cases, best_column, closest_profiles, name_of, valid_id
from ksfusion.config import BUILTIN_TASKS, load_config
from ksfusion.core.errors import UserError
from ksfusion.genes.expression.recognise import Recognised, recognise
from ksfusion.slides import SlideError, open_slide
from ksfusion.terms.units import ExpressionUnit

log = logging.getLogger(__name__)

SAMPLES, CASES, CONFIG, UNPLACED = "samples.tsv", "cases.tsv", "my.yaml", "unplaced.tsv"
SLIDE_SUFFIXES = {
    ".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".png", ".jpg", ".jpeg",
}  # fmt: skip
# Files that may not say their scale: it is looked for.
OFTEN_WITHOUT_SCALE = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}
# Fewer cases than this are divided so that validation and test have some.
FEW_CASES = 200
FRACTIONS_OF_FEW = [0.6, 0.2, 0.2]
SAMPLE_COLUMNS = ("sample_id", "case_id", "cohort", "slide", "expression_id", "slide_id", "mpp")
# What no name may hold that Snakemake takes for a wildcard.
NOT_IN_PATHS = "{}*?"


def init(
    *,
    slides: Path | None = None,
    expression: Path | None = None,
    clinical: Path | None = None,
    column: Sequence[str] = (),
    unit: ExpressionUnit | None = None,
    mpp: float | None = None,
    cohort: str = "mine",
) -> None:
    """Begin a study in this folder: ask where its data are, and write samples.tsv, cases.tsv and my.yaml.

    Slides and profiles are placed with cases by their names: a TCGA barcode, the id itself, the longest id in the name.
    What could not be placed is written to unplaced.tsv, with the reason. Nothing that exists is overwritten.

    Parameters
    ----------
    slides
        The folder of the slides; asked where it is not given, as are the next two.
    expression
        The table of expression, or the folder of gene counts.
    clinical
        The table of patients: .csv or .tsv, also with semicolons.
    column
        What a column of that table means, as NAME=COLUMN; may be given many times. NAME is case_id, idh, codel_1p19q,
        cdkn2a, grade, survival_days, survival_months, survival_years, event, slide, expression_id, or the name of a
        task of your own.
    unit
        Unit of expression; judged by the values where it is not given.
    mpp
        Micrometres per pixel of slides whose files do not say it.
    cohort
        What the cohort is called.

    Raises
    ------
    UserError
        If a file of these names is there, what is given cannot be read, or no slide belongs to a case.
    """
    if there := [name for name in (SAMPLES, CASES, CONFIG, UNPLACED) if Path(name).exists()]:
        raise UserError(f"{there[0]}: is there already; begin in another folder, or move it away")
    asked = None in (slides, expression, clinical)
    slides = slides or Path(_ask("1/5 In which folder are the slides?"))
    files = _slide_files(slides)
    expression = expression or Path(_ask("2/5 Where is the expression (a table, or the folder of gene counts)?"))
    source = recognise(expression)
    if asked and unit is None:
        answer = _ask("3/5 In which unit is it (counts, tpm, fpkm, log, zscore)?", source.unit)
        if answer not in ("counts", "tpm", "fpkm", "log", "zscore"):
            raise UserError(f"unit: {answer!r} is none; give counts, tpm, fpkm, log or zscore")
        unit = answer  # type: ignore[assignment]
    clinical = clinical or Path(_ask("4/5 Where is the table of patients?"))
    table = read_clinical(clinical)
    meanings = _meanings(table, column, files, source, asked=asked)
    started = _place(files, source, table, meanings, cohort)
    no_scale = [row for row in started.samples if row["slide"] and _lacks_scale(Path(row["slide"]))]
    if no_scale and mpp is None and asked:
        answer = _ask(f"{len(no_scale)} images do not say their scale: micrometres per pixel?", "unknown")
        mpp = None if answer == "unknown" else _positive(answer)
    for row in no_scale:
        row["mpp"] = "" if mpp is None else f"{mpp:g}"
        if mpp is None:
            started.notes.append(("slide", row["slide"], "does not say its scale: fill in mpp in samples.tsv"))
    _write(started, source, expression, unit or source.unit, unit is not None or not source.guessed, cohort)
    _tell(started, files, source)


class Started:
    """What is known of a study that begins.

    Attributes
    ----------
    samples
        Rows of the table of samples.
    cases
        Those of the table of cases.
    notes
        What could not be placed, and why.
    """

    def __init__(self, samples: list[Row], cases: CaseRows, notes: list[Note]):
        self.samples, self.cases, self.notes = samples, cases, notes


def _ask(question: str, offered: str = "") -> str:
    sys.stderr.write(f"{question}{f' [{offered}]' if offered else ''} ")
    sys.stderr.flush()
    try:
        answer = input().strip() or offered
    except EOFError:
        raise UserError(f"{question} No answer; give it as an option, see ksfusion init --help") from None
    if not answer:
        raise UserError(f"{question} No answer; nothing is written")
    return answer


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not number > 0:
        raise UserError(f"mpp: {text!r} is no number above 0, such as 0.5")
    return number


def _slide_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; name that of the slides")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SLIDE_SUFFIXES and path.is_file())
    if not files:
        raise UserError(f"{folder}: holds no slide ({', '.join(sorted(SLIDE_SUFFIXES))}); correct the path")
    return files


def _meanings(
    table: ClinicalTable, given: Sequence[str], files: Sequence[Path], source: Recognised, *, asked: bool
) -> dict[str, str]:
    """Return the column of each meaning: as given, else as plain from names and values."""
    guessed, explicit = guess_columns(table), dict(map(_pair, given))
    if asked and not given:
        explicit = _asked_columns(table, guessed)
    meanings = {**guessed, **explicit}
    if any(map(_is_time, explicit)):
        meanings = {name: column for name, column in meanings.items() if name in explicit or not _is_time(name)}
    if ("event" in meanings) != any(map(_is_time, meanings)):
        # Half of a survival is none; half that the user names is told as such by the configuration.
        meanings = {name: column for name, column in meanings.items() if name in explicit or name != "event"}
        meanings = {name: column for name, column in meanings.items() if name in explicit or not _is_time(name)}
    names = [name_of(path) for path in files]
    identities = {column: {value: value for value in table.values(column)} for column in table.columns}
    meanings.setdefault("case_id", best_column(names, identities) or table.columns[0])
    table.check_columns(meanings)
    for meaning, wanted in (("slide", names), ("expression_id", source.ids)):
        meanings.setdefault(meaning, _column_of(wanted, table, meanings["case_id"]))
    return meanings


def _asked_columns(table: ClinicalTable, guessed: Mapping[str, str]) -> dict[str, str]:
    offered = " ".join(f"{name}={column}" for name, column in guessed.items())
    sys.stderr.write(f"The table has the columns {', '.join(table.columns)}.\n")
    answer = _ask("5/5 Which columns mean what (NAME=COLUMN ...)?", offered)
    if answer == offered:
        return {}
    # A column's name may hold blanks: what has no = belongs to the word before.
    words: list[str] = []
    for word in answer.split():
        words = [*words, word] if "=" in word or not words else [*words[:-1], f"{words[-1]} {word}"]
    return dict(map(_pair, words))


def _column_of(names: Sequence[str], table: ClinicalTable, case_column: str) -> str:
    """Return the column that places the most names with cases; that of the cases where none places more."""
    of_case: dict[str, dict[str, str]] = {case_column: {}}
    for column in (case_column, *table.columns):
        pairs = {(row[column], row[case_column]) for row in table.rows if not is_missing(row[column])}
        # What several cases share, such as a grade, is none of their names.
        if len(pairs) == len({value for value, _ in pairs}):
            of_case[column] = dict(pairs)
    return best_column(names, of_case) or case_column


def _is_time(name: str) -> bool:
    return name.startswith("survival_")


def _pair(text: str) -> tuple[str, str]:
    name, equals, column = (part.strip() for part in text.partition("="))
    if not (name and equals and column):
        raise UserError(f"--column {text}: write it as NAME=COLUMN, such as case_id=Patient")
    return name, column


def _place(
    files: Sequence[Path], source: Recognised, table: ClinicalTable, meanings: Mapping[str, str], cohort: str
) -> Started:
    """Place slides and profiles with the cases of a table."""
    ids = {value: valid_id(value) for value in dict.fromkeys(table.values(meanings["case_id"]))}
    notes: list[Note] = []
    if twice := [name for name, count in Counter(ids.values()).items() if count > 1]:
        raise UserError(f"{table.path}: column {meanings['case_id']}: several ids become {twice[0]}; rename them")
    cases = cases_of(table, meanings, ids)
    finder = {
        meaning: Cases(
            {row[meanings[meaning]]: ids[row[meanings["case_id"]]] for row in table.rows
             if row[meanings[meaning]] and row[meanings["case_id"]] in ids}
        )
        for meaning in ("slide", "expression_id")
    }  # fmt: skip
    slides: dict[str, list[Path]] = {}
    for path in files:
        placed = finder["slide"].of(name_of(path))
        if any(mark in str(path) for mark in NOT_IN_PATHS):
            notes.append(("slide", str(path), f"has one of {NOT_IN_PATHS} in its path: rename it"))
        elif placed.case is None:
            notes.append(("slide", str(path), placed.reason))
        else:
            slides.setdefault(placed.case, []).append(path)
    profiles: dict[str, list[str]] = {}
    of_slides = Cases({name_of(path): case for case, paths in slides.items() for path in paths})
    for profile in source.ids:
        placed = finder["expression_id"].of(profile)
        placed = placed if placed.case is not None else of_slides.of(profile)
        if profile != valid_id(profile):
            notes.append(("profile", profile, "has characters that no id has: rename it"))
        elif placed.case is None:
            notes.append(("profile", profile, placed.reason))
        else:
            profiles.setdefault(placed.case, []).append(profile)
    for case in (case for case in profiles if case not in slides):
        notes += [("profile", name, "its case has no slide") for name in profiles[case]]
    notes += [("case", row["case_id"], "has no slide") for row in cases.rows if row["case_id"] not in slides]
    if not slides:
        raise UserError(
            f"no slide belongs to a case: {files[0].name} has none of the ids of column {meanings['case_id']} of "
            f"{table.path}, such as {next(iter(ids), '')}; name the column (--column case_id=COLUMN, or slide=COLUMN)"
        )
    samples = list(_samples(slides, profiles, cohort, notes))
    return Started(samples, cases, [*notes, *cases.notes])


def _samples(
    slides: Mapping[str, Sequence[Path]], profiles: Mapping[str, Sequence[str]], cohort: str, notes: list[Note]
) -> Iterator[Row]:
    """Yield a row for each slide with each of the profiles that are closest to it."""
    stems = Counter(valid_id(name_of(path)) for paths in slides.values() for path in paths)
    for case, paths in slides.items():
        for path in paths:
            name = valid_id(name_of(path))
            slide_id = name if stems[name] == 1 else valid_id(f"{path.parent.name}_{name}_{path.suffix[1:]}")
            own = closest_profiles(name_of(path), profiles.get(case, ()))
            if not own:
                notes.append(("slide", str(path), "its case has no profile: it is kept, and not used"))
            for number, profile in enumerate(own or [""]):
                yield {
                    "sample_id": slide_id if number == 0 else f"{slide_id}.{number + 1}",
                    "case_id": case,
                    "cohort": cohort,
                    "slide": _from_here(path),
                    "expression_id": profile,
                    "slide_id": slide_id,
                    "mpp": "",
                }


def _from_here(path: Path) -> str:
    """Return a path from this folder where it lies in it, else in full."""
    full = Path.cwd() / path
    return os.path.normpath(full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full)


def _lacks_scale(path: Path) -> bool:
    if path.suffix.lower() not in OFTEN_WITHOUT_SCALE:
        return False
    try:
        open_slide(path).close()
    except SlideError as error:
        return error.reason == "missing_mpp"
    return False


def _write(started: Started, source: Recognised, expression: Path, unit: str, sure: bool, cohort: str) -> None:
    """Write the tables and the configuration."""
    _write_table(Path(SAMPLES), SAMPLE_COLUMNS, started.samples)
    _write_table(Path(CASES), started.cases.columns, started.cases.rows)
    entry = {"cohort": cohort, "format": source.format, "unit": unit, "path": _from_here(expression)}
    if source.sample_sheet is not None:
        entry["sample_sheet"] = _from_here(source.sample_sheet)
    Path(CONFIG).write_text(_configuration(started.cases, entry, sure), encoding="utf-8")
    load_config(Path(CONFIG))
    if started.notes:
        rows = [dict(zip(("what", "which", "why"), note, strict=True)) for note in started.notes]
        _write_table(Path(UNPLACED), ("what", "which", "why"), rows)


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    lines = ["\t".join(columns), *("\t".join(" ".join(row[name].split()) for name in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _configuration(cases: CaseRows, entry: Mapping[str, str], sure: bool) -> str:
    """Return the text of the configuration."""
    few = len(cases.rows) < FEW_CASES
    blocks = [
        "# What is left out has the paper's values: docs/configuration.md, and config.yaml with every key explained.",
        f"cohort:\n  samples: {SAMPLES}\n  cases: {CASES}\n  expression:",
        *([] if sure else [f"    # The unit is judged by the values: make sure that it is {entry['unit']}."]),
        f"    - {_flow(entry)}",
        "features:\n  # Its weights are fetched from the Hugging Face hub; without internet: efficientnet-lite0\n"
        "  encoder: resnet50",
        *([f"splits:\n  fractions: {_flow(FRACTIONS_OF_FEW)}  # training, validation, test"] if few else []),
        _tasks(cases),
    ]
    return "\n".join(block for block in blocks if block) + "\n"


def _tasks(cases: CaseRows) -> str:
    """Return the block of tasks: the built-in ones whose labels are there, and the user's own."""
    there = {column for column in cases.columns if any(row[column] for row in cases.rows)}
    labels = {"diagnosis": {"idh", "codel_1p19q"}, "grading": {"grade"}, "survival": {"survival_days", "event"}}
    builtin = [name for name in BUILTIN_TASKS if labels[name] <= there]
    if not cases.classes:
        return f"tasks: {_flow(builtin)}" if builtin else ""
    lines = ["tasks:"]
    for name in builtin:
        task = BUILTIN_TASKS[name]
        lines.append(f"  {name}: {_flow(task.model_dump(include={'kind', *_given(task)}, exclude_defaults=True))}")
    for name, classes in cases.classes.items():
        lines.append(f"  {name}: {_flow({'kind': 'classification', 'column': name, 'classes': classes})}")
    return "\n".join(lines)


def _given(task: object) -> set[str]:
    return set(getattr(task, "model_fields_set", ()))


def _flow(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True).strip()


def _tell(started: Started, files: Sequence[Path], source: Recognised) -> None:
    """Say what has been placed, what not, and what comes next."""
    placed = {row["slide"] for row in started.samples}
    paired = {row["expression_id"] for row in started.samples if row["expression_id"]}
    log.info("%d of %d slides and %d of %d profiles are placed", len(placed), len(files), len(paired), len(source.ids))
    for (what, why), count in Counter((what, why) for what, _, why in started.notes).most_common(10):
        first = next(which for kind, which, said in started.notes if (kind, said) == (what, why))
        log.info("not placed or left empty: %s: %d such as %s: %s", what, count, first, why)
    log.info("wrote %s, %s and %s%s", SAMPLES, CASES, CONFIG, f"; {UNPLACED} has the rest" if started.notes else "")
    log.info("next: ksfusion run %s --dry-run", CONFIG)
