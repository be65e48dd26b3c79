"""The jobs of a run as they are told: what each is, how far it is, why it is due, and what was left out."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG_BYTES = 16384
# What logs say of progress: training/progress.py, training/search.py, slides/features/extraction.py.
EPOCH = re.compile(r"(?:seed (\d+))?: epoch (\d+) of (\d+):")
TRIAL = re.compile(r", trial (\d+): ")
SLIDE = re.compile(r"^INFO ksfusion\.\S+: \S+\t\d+ (?:patches|tiles)", flags=re.MULTILINE)
FOLLOWS, PARAMS = "follows other steps", "Params have changed"
# Rules of the Snakefile that only gather what others make.
GATHERING = ("all", "slides", "tables", "alpha", "modalities", "heatmaps", "report")
# What Snakemake says of why a job is due, and what that means; in the order in which they are told.
REASONS = {
    "Forced execution": "asked for",
    "Missing output files": "not there yet",
    "Incomplete output files": "interrupted",
    PARAMS: "settings or code changed",
    "Code has changed": "rule changed",
    "Software environment definition has changed": "environment changed",
    "Set of input files has changed": "other inputs than before",
    "Updated input files": "an input changed",
    "Input files updated by another job": FOLLOWS,
}
# What a job that was ended keeps for the next run.
KEPT = {"train_model": "epochs", "train_together": "epochs", "search_settings": "trials", "extract_features": "slides"}


@dataclass(frozen=True)
class Job:
    """A job of the run.

    Attributes
    ----------
    rule, wildcards
        What it is.
    logs
        Its log files.
    started
        When, in seconds.
    gathers
        Whether it computes nothing, such as ``all``.
    """

    rule: str
    wildcards: Mapping[str, str]
    logs: Sequence[str]
    started: float
    gathers: bool = False

    @property
    def what(self) -> str:
        """What it is about, such as ``grading snn fold 0``."""
        return words(self.wildcards)

    @property
    def name(self) -> str:
        """Its rule, and what it is about."""
        return f"{self.rule} {self.what}".rstrip()

    def progress(self) -> str:
        """Return how far it is, by its log; empty where that does not say it."""
        text = "\n".join(tail(Path(log)) for log in self.logs)
        if epochs := EPOCH.findall(text):
            seed, epoch, of = epochs[-1]
            return f"seed {seed}, epoch {epoch} of {of}" if seed else f"epoch {epoch} of {of}"
        if trials := TRIAL.findall(text):
            return f"trial {trials[-1]}"
        slides = len(SLIDE.findall(text))
        return f"{slides} slide{'s' if slides > 1 else ''} done" if slides else ""


def words(wildcards: Mapping[str, str]) -> str:
    """Return wildcards as words: names alone, numbers with what they number."""
    return " ".join(f"{name} {value}" if value.isdigit() else value for name, value in wildcards.items())


def tail(log: Path, size: int = LOG_BYTES) -> str:
    """Return the end of a log; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def reason_words(reason: str) -> list[str]:
    """Return why a job is due, in a few words each."""
    # Behind this stand the settings, which may hold anything.
    start, params, _ = reason.partition(PARAMS)
    reason = start + params
    found = [said for start, said in REASONS.items() if re.search(rf"(^|; ){re.escape(start)}", reason)]
    if "not there yet" in found and FOLLOWS in found:
        found.remove(FOLLOWS)
    return found or [reason.partition(":")[0] or "not known"]


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


def plan_table(due: list[dict[str, Any]]) -> list[str]:
    """Return the lines on what a dry run found to be due: for each rule how many jobs, and why."""
    counts, reasons = Counter[str](), dict[str, dict[str, None]]()
    for job in due:
        if not job["gathers"]:
            counts[job["rule"]] += 1
            reasons.setdefault(job["rule"], {}).update(dict.fromkeys(reason_words(job["reason"])))
    width = max(map(len, [*counts, "step"]))
    rows = [f"{rule:<{width}}  {count:>5}  {', '.join(reasons[rule])}" for rule, count in counts.items()]
    return [f"{'step':<{width}}  {'jobs':>5}  why", *rows, f"{'total':<{width}}  {counts.total():>5}"]


def left_out(table: Path, what: str) -> str:
    """Return a line on the rows of a ledger that are not in use, by reason; empty where there is none.

    Parameters
    ----------
    table
        A table with a status and a reason; one that cannot be read says nothing.
    what
        What a row is.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
            lost = Counter(row["reason"] or row["status"] for row in rows if row["status"] != "ok")
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return ""
    listed = ", ".join(f"{reason} {count}" for reason, count in lost.most_common())
    return f"{lost.total()} of {len(rows)} {what} are not in use: {listed}" if lost else ""
