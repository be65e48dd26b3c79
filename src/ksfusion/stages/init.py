"""Begin a study: write its tables and configuration from what lies in folders."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ksfusion.cohort.clinical import ClinicalTable, Row, guess_columns, read_clinical
from ksfusion.cohort.first_config import CASES, SAMPLES, clinical_columns, configuration_text, task_kinds
from ksfusion.cohort.first_samples import Started, from_here, place
from ksfusion.cohort.placing import best_column, name_of
from ksfusion.config import PAPER_METHODS
from ksfusion.core.errors import UserError
from ksfusion.core.missing import is_missing
from ksfusion.genes.expression.recognise import Recognised, recognise
from ksfusion.methods.registry import BASELINES
from ksfusion.preflight.parsing import load_config
from ksfusion.results.tasks import BUILTIN_TASKS
from ksfusion.slides import SlideError, open_slide
from ksfusion.terms.units import ExpressionUnit

log = logging.getLogger(__name__)

CONFIG, UNPLACED = "my.yaml", "unplaced.tsv"
SLIDE_SUFFIXES = {
    ".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".png", ".jpg", ".jpeg",
}  # fmt: skip
# Files that may not say their scale: it is looked for.
OFTEN_WITHOUT_SCALE = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}
SAMPLE_COLUMNS = ("sample_id", "case_id", "cohort", "slide", "expression_id", "slide_id", "mpp")


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

    The cases keep the names and words of the table of patients; my.yaml says what they mean (cohort.columns).
    Slides and profiles are placed with cases by their names: a TCGA barcode, the id itself, the longest id in it. What
    could not be placed is written to unplaced.tsv, with the reason. Nothing that exists is overwritten.

    Parameters
    ----------
    slides
        The folder of the slides; asked where it is not given, as are the next two.
    expression
        The table of expression, or the folder of gene counts.
    clinical
        The table of patients: with tabs, semicolons or commas between its columns, or .xlsx.
    column
        Meaning of a column of that table, as NAME=COLUMN; may be given many times. NAME is case_id, idh, codel_1p19q,
        cdkn2a, grade, survival_days, survival_months, survival_years, event, age, sex, slide, expression_id, or the
        name of a task of your own.
    unit
        Unit of expression; judged by the values where it is not given.
    mpp
        Micrometres per pixel of slides whose files do not say it.
    cohort
        Name of the cohort.

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
    started = place(files, source.ids, table, meanings, cohort)
    no_scale = [row for row in started.samples if row["slide"] and _lacks_scale(Path(row["slide"]))]
    if no_scale and mpp is None and asked:
        answer = _ask(f"{len(no_scale)} images do not say their scale: micrometres per pixel?", "unknown")
        mpp = None if answer == "unknown" else _positive(answer)
    for row in no_scale:
        row["mpp"] = "" if mpp is None else f"{mpp:g}"
        if mpp is None:
            started.notes.append(
                ("slide", row["slide"], "does not say its scale: give --mpp, or fill in mpp in samples.tsv")
            )
    _write(started, source, expression, unit or source.unit, unit is not None or not source.guessed, cohort)
    _tell(started, files, source)


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
    _write_table(Path(CASES), started.cases.own_columns, started.cases.own_rows)
    entry = {"cohort": cohort, "format": source.format, "unit": unit, "path": from_here(expression)}
    if source.sample_sheet is not None:
        entry["sample_sheet"] = from_here(source.sample_sheet)
    methods = [*PAPER_METHODS, *_baselines(started)]
    text = configuration_text(started.cases, entry, BUILTIN_TASKS, unit_is_sure=sure, methods=methods)
    Path(CONFIG).write_text(text, encoding="utf-8")
    load_config(Path(CONFIG))
    if started.notes:
        rows = [dict(zip(("what", "which", "why"), note, strict=True)) for note in started.notes]
        _write_table(Path(UNPLACED), ("what", "which", "why"), rows)


def _baselines(started: Started) -> list[str]:
    """Return the baselines that have something to read, for the kinds of tasks that there are."""
    clinical, kinds = clinical_columns(started.cases), task_kinds(started.cases, BUILTIN_TASKS)
    return [
        name
        for name, info in BASELINES.items()
        if (clinical or "c" not in info.modalities) and any(map(info.serves, kinds))
    ]


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    lines = ["\t".join(columns), *("\t".join(" ".join(row[name].split()) for name in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tell(started: Started, files: Sequence[Path], source: Recognised) -> None:
    """Print what has been placed, what not, and what comes next."""
    placed = {row["slide"] for row in started.samples}
    paired = {row["expression_id"] for row in started.samples if row["expression_id"]}
    log.info("%d of %d slides and %d of %d profiles are placed", len(placed), len(files), len(paired), len(source.ids))
    for (what, why), count in Counter((what, why) for what, _, why in started.notes).most_common(10):
        first = next(which for kind, which, said in started.notes if (kind, said) == (what, why))
        log.info("not placed or left empty: %s: %d such as %s: %s", what, count, first, why)
    log.info("wrote %s, %s and %s%s", SAMPLES, CASES, CONFIG, f"; {UNPLACED} has the rest" if started.notes else "")
    log.info("next: ksfusion run %s --dry-run", CONFIG)
