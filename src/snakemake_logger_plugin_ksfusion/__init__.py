"""What a run prints: a line for each job when it has ended, failures in full, and on a terminal what is running.

A logger plugin of Snakemake, which finds it by this package's name: ``snakemake --logger ksfusion``, as ``ksfusion
run`` has it. Snakemake imports it whenever it starts: nothing heavy is imported here. Its own full log, under
``.snakemake/log``, is written as ever.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from logging import ERROR, WARNING, LogRecord
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_ksfusion.estimate import Estimate
from snakemake_logger_plugin_ksfusion.jobs import KEPT, Job, duration, left_out, plan_table, tail
from snakemake_logger_plugin_ksfusion.messages import (
    LOCKED,
    LOOK_ABOVE,
    NOT_COMPLETE,
    NOTHING_TO_DO,
    is_own_work,
    without_places,
)
from snakemake_logger_plugin_ksfusion.settings import LogHandlerSettings

# What tells what is not in use; the last of new patients alone, whose answers lie beside the results.
LEDGERS = {"slides": "results/slides.tsv", "samples": "results/samples.tsv", "patients": "predictions.tsv"}
LINES_OF_A_FAILURE = 30
# Where there is no terminal a job that takes long is told of after so many seconds, then at twice that, and so on.
FIRST_SIGN_OF_LIFE = 120.0
PLAIN, RED, YELLOW = "", "\033[31m", "\033[33m"


class LogHandler(LogHandlerBase):
    """Print a run in few lines."""

    def __post_init__(self) -> None:
        self.out = sys.stdout if self.common_settings.stdout else sys.stderr
        self.terminal = self.out.isatty() and os.environ.get("TERM") != "dumb"
        self.dry = self.common_settings.dryrun
        self.plan: Path | None = getattr(self.settings, "plan", None)
        self.started_in = Path.cwd()
        self.jobs: dict[int, Job] = {}
        self.running: dict[int, Job] = {}
        self.failed: dict[int, Job] = {}
        self.due: list[dict[str, Any]] = []
        self.estimate = Estimate()
        self.begun: float | None = None
        self.done = self.total = 0
        self.interrupted = self.ended = False
        self._signs: dict[int, float] = {}
        self._shown = False
        self._writing = threading.RLock()
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._interrupt)
            sys.excepthook = self._without_traceback
            # `ksfusion run` holds Ctrl-C back until here.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: False)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record: LogRecord) -> None:
        """Print an event, or count it; after an interrupt nothing more is printed."""
        with self._writing:
            if self.interrupted:
                self._tell_of_interrupt()
            else:
                self._tell(record)

    def _tell(self, record: LogRecord) -> None:
        told = {
            LogEvent.JOB_INFO: self._job,
            LogEvent.JOB_FINISHED: self._finished,
            LogEvent.JOB_ERROR: self._failed,
            LogEvent.PROGRESS: self._progress,
            LogEvent.RUN_INFO: self._planned,
            LogEvent.ERROR: self._error,
            LogEvent.SHELLCMD: self._command,
            LogEvent.GROUP_ERROR: self._text,
            None: self._text,
        }
        try:
            if handler := told.get(getattr(record, "event", None)):
                handler(record)
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Print how the run has ended."""
        self._stop.set()
        with self._writing:
            self._clear()
            if self.interrupted:
                self._tell_of_interrupt()
            elif self.dry:
                self._tell_plan()
            elif self.total and self.done == self.total and not self.ended:
                took = duration(time.time() - (self.begun or time.time()))
                for name, table in LEDGERS.items():
                    if told := left_out(Path(table), name):
                        self._line(f"{told} ({self._path(table)})")
                where = "." if Path(LEDGERS["patients"]).is_file() else "results"
                self._line(f"{self.total} steps done in {took}; results are in {self._path(where)}")
            self.ended = True
        super().close()

    # Events of Snakemake.

    def _planned(self, record: LogRecord) -> None:
        stats = dict(getattr(record, "stats", {}))
        total = int(stats.pop("total", 0))
        if self.dry or not total:
            return
        self.total, self.estimate.planned = total, Counter(stats)
        self._line(f"{total} steps; results go to {self._path('results')}")

    def _job(self, record: LogRecord) -> None:
        known: Any = record
        wildcards = {name: str(value) for name, value in dict(known.wildcards or {}).items()}
        job = Job(known.rule_name, wildcards, list(known.log or ()), record.created, gathers=not known.shellcmd)
        if self.dry:
            due = {"rule": job.rule, "wildcards": wildcards, "reason": known.reason, "gathers": job.gathers}
            self.due.append({**due, "outputs": list(known.output or ()), "logs": list(job.logs)})
            return
        self.begun = self.begun or record.created
        self.jobs[known.jobid] = self.running[known.jobid] = job
        self._signs[known.jobid] = FIRST_SIGN_OF_LIFE
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()

    def _finished(self, record: LogRecord) -> None:
        number = int(getattr(record, "job_id", -1))
        job = self.running.pop(number, None)
        self.failed.pop(number, None)
        self.done += 1
        if job is None:
            return
        took = record.created - job.started
        self.estimate.finished(job.rule, took)
        if not job.gathers:
            done = f"[{self.done:>{len(str(self.total))}}/{self.total}]"
            self._line(f"{done} {job.rule:<16} {job.what:<28} {duration(took):>8}{self._left(record.created)}".rstrip())

    def _failed(self, record: LogRecord) -> None:
        known: Any = record
        job = self.running.pop(known.jobid, None) or self.jobs.get(known.jobid)
        job = job or Job(known.rule_name, {}, list(known.log or ()), record.created)
        self.failed[known.jobid] = job
        logs = list(dict.fromkeys([*job.logs, *(known.log or ())]))
        took = duration(record.created - job.started)
        self._line(f"FAILED {job.name} after {took}; log: {self._paths(logs)}", RED)
        if known.rule_msg:
            self._line(f"    {known.rule_msg}")
        for name, value in dict(known.aux or {}).items():
            self._line(f"    {name}: {value}")
        said = [line for log in logs for line in tail(Path(log)).rstrip().splitlines()]
        if not said and known.shellcmd:
            said = ["nothing was said; the command was:", *str(known.shellcmd).strip().splitlines()]
        if len(said) > LINES_OF_A_FAILURE:
            said = [f"... the last {LINES_OF_A_FAILURE} lines of the log:", *said[-LINES_OF_A_FAILURE:]]
        for line in said:
            self._line(f"    {line}")

    def _progress(self, record: LogRecord) -> None:
        known: Any = record
        self.done, self.total = int(known.done), int(known.total)

    def _command(self, record: LogRecord) -> None:
        if command := getattr(record, "cmd", None) or getattr(record, "shellcmd", None):
            self._line(str(command).strip())

    def _error(self, record: LogRecord) -> None:
        text = record.getMessage()
        # What a job's command has done is told of the job.
        if "CalledProcessError in file" in text or (NOT_COMPLETE in text and not self.failed):
            return
        if NOT_COMPLETE in text:
            rest = self.total - self.done - len(self.failed)
            self._line(
                f"{self.done} of {self.total} steps are done, {len(self.failed)} failed, {rest} were not reached; "
                "the same command again goes on from here",
                RED,
            )
            self.ended = True
            return
        if getattr(record, "exception", "") == "LockException":
            self._line(f"error: {LOCKED}", RED)
            return
        for line in without_places(text):
            self._line(f"error: {line}", RED)

    def _text(self, record: LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= WARNING:
            if not text.startswith(LOOK_ABOVE):
                self._line(text, RED if record.levelno >= ERROR else YELLOW)
            return
        if text.startswith(NOTHING_TO_DO) or not (self.dry or is_own_work(text)):
            self._line(text)

    # The interrupt.

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Take Ctrl-C: once; Snakemake ends its jobs then, and another would only break into that."""
        if not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt

    def _without_traceback(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            self._tell_of_interrupt()
        else:
            sys.__excepthook__(kind, error, trace)

    def _tell_of_interrupt(self) -> None:
        """Print, once, what is kept of a run that was interrupted, and how to go on."""
        if self.ended:
            return
        self.ended = True
        self._clear()
        if self.dry:
            self._line("interrupted")
            return
        kept = {KEPT[job.rule]: None for job in self.running.values() if job.rule in KEPT}
        of_running = f", and what was running keeps its finished {' and '.join(kept)}" if kept else ""
        done = f"{self.done} of {self.total} steps are done and kept{of_running}" if self.total else "nothing had begun"
        self._line(f"interrupted: {done}")
        self._line("to go on, give the same command again; what would then be done is told with --dry-run")

    # What is printed.

    def _tell_plan(self) -> None:
        if self.plan is not None:
            self.plan.write_text(json.dumps(self.due), encoding="utf-8")
        elif self.due and not self.ended:
            for line in plan_table(self.due):
                self._line(line)
            self._line("this was a dry run: nothing was done")

    def _left(self, now: float) -> str:
        running = [(job.rule, now - job.started) for job in self.running.values()]
        left = self.estimate.left(running, now - (self.begun or now))
        return f"   about {duration(max(left, 1))} left" if left else ""

    def _tick(self) -> None:
        """Show what is running: on a terminal each second, elsewhere seldom."""
        while not self._stop.wait(1):
            with self._writing:
                if self.interrupted:
                    continue
                now = time.time()
                if self.terminal:
                    self._show(now)
                    continue
                for number, job in self.running.items():
                    if now - job.started >= self._signs[number]:
                        self._signs[number] *= 2
                        progress = _after(": ", job.progress())
                        self._line(f"    {job.name} has run for {duration(now - job.started)}{progress}")

    def _show(self, now: float) -> None:
        """Write the line at the bottom of the terminal."""
        jobs = [job for job in self.running.values() if not job.gathers]
        if not jobs:
            return
        told = ", ".join(
            f"{job.name} {duration(now - job.started)}{_after(' (', job.progress(), ')')}" for job in jobs[:3]
        )
        more = f" and {len(jobs) - 3} more" if len(jobs) > 3 else ""
        line = f"[{self.done}/{self.total}] {told}{more}{self._left(now)}"
        self.out.write(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}")
        self.out.flush()
        self._shown = True

    def _clear(self) -> None:
        if self._shown:
            self.out.write("\r\033[K")
            self._shown = False

    def _line(self, text: str, colour: str = PLAIN) -> None:
        if self.plan is not None and colour != RED:
            return
        self._clear()
        coloured = self.terminal and colour and not self.common_settings.nocolor
        self.out.write(f"{colour}{text}\033[0m\n" if coloured else f"{text}\n")
        self.out.flush()

    def _path(self, name: str) -> str:
        """Return a path of the run as it is seen from where the command was given."""
        path = Path(name).absolute()
        return str(path.relative_to(self.started_in)) if path.is_relative_to(self.started_in) else str(path)

    def _paths(self, names: list[str]) -> str:
        return ", ".join(map(self._path, names)) or "none"


def _after(before: str, text: str, behind: str = "") -> str:
    return f"{before}{text}{behind}" if text else ""


__all__ = ["LogHandler", "LogHandlerSettings"]
