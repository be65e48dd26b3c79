"""The jobs of a run as they are told: what each is, how far it is, and how long the rest may take."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

# Where rules keep how long their jobs took (workflow/rules), by rule.
BENCHMARKS = Path("results", "benchmarks")
LOG_BYTES = 16384
# So many jobs tell how long others may take.
FEWEST_JOBS = 3
# A job that took so many times as long as half of its kind was held up: the machine slept, or the run was halted.
HELD_UP = 10
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


@dataclass
class Estimate:
    """How long the rest of a run may take.

    Attributes
    ----------
    planned
        How many jobs each rule has.
    """

    planned: Counter[str] = field(default_factory=Counter)
    _took: dict[str, list[float]] = field(default_factory=dict)
    _before: dict[str, float | None] = field(default_factory=dict)

    def finished(self, rule: str, seconds: float) -> None:
        """Count a job that has ended."""
        self._took.setdefault(rule, []).append(seconds)

    def left(self, running: Sequence[tuple[str, float]], elapsed: float) -> float | None:
        """Return the seconds that the rest may take; None where too little is known.

        Each rule's jobs are taken to last as long as those before, in this run or else in earlier ones, or as the mean
        of the other rules' where there were none; as many run at once as have done so far.

        Parameters
        ----------
        running
            Rule and age in seconds of each running job.
        elapsed
            Seconds since the first job.
        """
        rest = Counter(self.planned)
        rest.subtract({rule: len(took) for rule, took in self._took.items()})
        times = {rule: self._typical(rule) for rule, count in rest.items() if count > 0 and rule not in GATHERING}
        known = [seconds for seconds in map(self._typical, self.planned) if seconds is not None]
        if sum(map(len, self._took.values())) < FEWEST_JOBS:
            return None
        guess = sum(known) / len(known)
        ages = Counter[str]()
        for rule, age in running:
            ages[rule] += min(age, times.get(rule) or guess)  # type: ignore[assignment]
        work = sum(rest[rule] * (guess if seconds is None else seconds) for rule, seconds in times.items())
        busy = sum(map(sum, self._took.values())) + sum(age for _, age in running)
        return max(0.0, work - sum(ages.values())) / max(1.0, busy / max(elapsed, 1e-9))

    def _typical(self, rule: str) -> float | None:
        if took := self._took.get(rule):
            return _mean(took)
        if rule not in self._before:
            self._before[rule] = _of_earlier_runs(rule)
        return self._before[rule]


def _of_earlier_runs(rule: str) -> float | None:
    """Return the mean seconds that a rule's jobs took in earlier runs; None where none is known."""
    files = [BENCHMARKS / f"{rule}.tsv", *(BENCHMARKS / rule).rglob("*.tsv")]
    seconds = []
    for file in files:
        lines = tail(file).splitlines()
        try:
            seconds.append(float(lines[-1].split("\t")[lines[0].split("\t").index("s")]))
        except (IndexError, ValueError):
            continue
    return _mean(seconds) if seconds else None


def _mean(seconds: Sequence[float]) -> float:
    """Return the mean of jobs' times, without those that were held up."""
    most = HELD_UP * median(seconds)
    return fmean(second for second in seconds if second <= most)


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
