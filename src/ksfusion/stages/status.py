"""Where a study, or a prediction, stands: what is done, stale or failed and why, and what a run would do."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

from ksfusion.core.errors import DamagedFileError, UserError, first_of
from ksfusion.core.storage import read_json, read_rows
from ksfusion.core.study import read_study
from ksfusion.core.workflow import PREDICTION, REQUEST, PlannedJob, due_jobs, folder_of, workflow_command
from snakemake_logger_plugin_ksfusion.jobs import FOLLOWS, reason_words, tail, words

State = Literal["done", "stale", "failed", "to do"]
STATES: tuple[State, ...] = ("done", "stale", "failed", "to do")
LOCKS = Path(".snakemake", "locks")
# What the last line of a log begins with where its job has not failed.
NO_FAILURE = ("INFO ", "WARNING ")


def status(config: Path, *, set: Sequence[str] = ()) -> None:
    """Show what of a study is done, stale or failed, and why, and what a run would do.

    Parameters
    ----------
    config
        The configuration, such as my.yaml; or the folder that ksfusion predict was given as --output.
    set
        A setting to change, such as training.alpha=0.7; may be given many times.

    Raises
    ------
    UserError
        If there is no such file, or a mistake in it or in a table stops any run.
    """
    again = f"ksfusion run {shlex.quote(str(config))}"
    command = partial(workflow_command, settings=set)
    if config.is_dir() or config.name == REQUEST:
        config = config / REQUEST if config.is_dir() else config
        command = partial(command, snakefile=PREDICTION, profile="default")
        again = "ksfusion predict, as before,"
    folder, listing = folder_of(config, set), command(config)
    with ThreadPoolExecutor() as pool:
        due, every = pool.map(lambda more: due_jobs(listing, *more), ([], ["--forceall"]))
    for line in report(folder, due, every, again):
        sys.stdout.write(f"{line}\n")


def report(folder: Path, due: Sequence[PlannedJob], every: Sequence[PlannedJob], command: str) -> Iterator[str]:
    """Yield the lines on a study.

    Parameters
    ----------
    folder
        The study's folder.
    due, every
        The jobs that a run would do, and all that there are.
    command
        Command that begins the next run.
    """
    study = read_study(folder / "results")
    yield f"{study.describe() if study else 'a study that has not begun'}, in {folder}"
    jobs = {(job.rule, words(job.wildcards)): job for job in every if not job.gathers}
    planned = {(job.rule, words(job.wildcards)): job for job in due if not job.gathers}
    states = {name: state_of(job, planned.get(name), folder) for name, job in jobs.items()}
    yield from _table(states)
    yield from _stale(states, planned)
    yield from _failures(states, jobs, folder)
    yield from _left_out(folder, "results/slides.tsv", "slide_id", "slides")
    yield from _left_out(folder, "results/samples.tsv", "sample_id", "samples")
    yield from _left_out(folder, "predictions.tsv", "case_id", "patients")
    yield from _trainings(folder)
    if any((folder / LOCKS).glob("*")):
        yield f"a run is going on here, or has died; only if it has died: {command} -- --unlock"
    if not planned:
        yield "nothing is left to do"
        return
    counts = Counter(rule for rule, _ in planned)
    listed = ", ".join(f"{rule} {count}" if count > 1 else rule for rule, count in counts.items())
    yield f"{command} would do {len(planned)} job{'s' if len(planned) > 1 else ''}: {listed}"


def state_of(job: PlannedJob, planned: PlannedJob | None, folder: Path) -> State:
    """Return the state of a job.

    Parameters
    ----------
    job
        The job.
    planned
        The same in the plan of the next run; None where it is not due.
    folder
        The study's folder.
    """
    if planned is None:
        return "done"
    if all((folder / output).exists() for output in job.outputs):
        return "stale"
    return "failed" if last_words(job, folder) else "to do"


def last_words(job: PlannedJob, folder: Path) -> str:
    """Return the last line of the log of a job that has failed; empty where it has not."""
    lines = [line for log in job.logs for line in tail(folder / log).splitlines() if line.strip()]
    return "" if not lines or lines[-1].startswith(NO_FAILURE) else lines[-1].removeprefix("error: ")


def _table(states: dict[tuple[str, str], State]) -> Iterator[str]:
    counts: dict[str, Counter[State]] = {}
    for (rule, _), state in states.items():
        counts.setdefault(rule, Counter())[state] += 1
    width = max((len(rule) for rule in counts), default=0)
    yield f"{'stage':<{width}}" + "".join(f"{state:>8}" for state in STATES)
    for rule, count in counts.items():
        yield f"{rule:<{width}}" + "".join(f"{count[state] or '.':>8}" for state in STATES)


def _stale(states: dict[tuple[str, str], State], planned: dict[tuple[str, str], PlannedJob]) -> Iterator[str]:
    reasons: dict[str, dict[str, None]] = {}
    for name, state in states.items():
        if state == "stale":
            reasons.setdefault(name[0], {}).update(dict.fromkeys(reason_words(planned[name].reason)))
    for rule, said in reasons.items():
        if own := [reason for reason in said if reason != FOLLOWS]:
            yield f"stale: {rule}: {', '.join(own)}"


def _failures(
    states: dict[tuple[str, str], State], jobs: dict[tuple[str, str], PlannedJob], folder: Path
) -> Iterator[str]:
    lines = [
        f"failed: {' '.join(filter(None, name))}: {last_words(jobs[name], folder)} ({', '.join(jobs[name].logs)})"
        for name, state in states.items()
        if state == "failed"
    ]
    yield from first_of(lines)


def _left_out(folder: Path, name: str, key: str, what: str) -> Iterator[str]:
    """Yield the line on a table with reasons: how many rows are not used, by reason."""
    table = folder / name
    if not table.is_file():
        return
    try:
        header, fields = read_rows(table)
    except UserError as error:
        yield str(error)
        return
    rows = [dict(zip(header, row, strict=False)) for _, row in fields]
    lost = [row for row in rows if row["status"] != "ok"]
    if not lost:
        yield f"{what}: {len(rows)}, all in use"
        return
    reasons = Counter(row["reason"] or row["status"] for row in lost)
    listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    yield f"{what}: {len(rows)}, {len(lost)} not in use: {listed}, such as {lost[0][key]} ({name})"


def _trainings(folder: Path) -> Iterator[str]:
    """Yield the lines on trainings that have no model, with the reason."""
    lines = []
    for path in sorted((folder / "results/models").rglob("metrics.json")):
        try:
            metrics = read_json(path)
        except DamagedFileError as error:
            lines.append(str(error))
            continue
        # That a method is not for a task is no news.
        if metrics.get("status", "ok") not in ("ok", "unsuited"):
            run = words({"task": metrics["task"], "method": metrics["method"], "fold": str(metrics["fold"])})
            lines.append(f"training {metrics['status']}: {run} seed {metrics['seed']}: {metrics['reason']}")
    yield from first_of(lines)
