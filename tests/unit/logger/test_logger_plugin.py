"""What a run prints, told by events as Snakemake gives them."""

import io
import logging
import signal

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings

from snakemake_logger_plugin_ksfusion import LogHandler, LogHandlerSettings
from snakemake_logger_plugin_ksfusion.estimate import Estimate
from snakemake_logger_plugin_ksfusion.jobs import Job, duration, reason_words

PARAMS = 'Params have changed since last execution: before: {"a": "; Code has changed"}'


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Teller:
    """A handler, and what it has printed."""

    def __init__(self, out, monkeypatch, *, dryrun=False, plan=None, nocolor=False):
        settings = MockOutputSettings()
        settings.dryrun, settings.nocolor = dryrun, nocolor
        monkeypatch.setattr("sys.stderr", out)
        # A handler that listens for Ctrl-C would take it from pytest.
        monkeypatch.setattr("signal.signal", lambda *_: None)
        self.handler, self.out = LogHandler(settings, LogHandlerSettings(plan=plan)), out
        self.now = 1000.0

    def tell(self, event, text="", level=logging.INFO, **known):
        record = logging.LogRecord("snakemake", level, "", 0, text, (), None)
        record.event, record.created = event, self.now
        record.__dict__.update(known)
        self.handler.emit(record)

    def plan(self, **rules):
        self.tell(LogEvent.RUN_INFO, "Job stats", stats={**rules, "total": sum(rules.values())})

    def start(self, number, rule, log=(), shellcmd="ksfusion", reason="Missing output files: a", **wildcards):
        known = {"jobid": number, "rule_name": rule, "wildcards": wildcards, "log": log, "output": ["a"]}
        self.tell(LogEvent.JOB_INFO, **known, shellcmd=shellcmd, reason=reason)

    def finish(self, number, after, done, total):
        self.now += after
        self.tell(LogEvent.JOB_FINISHED, job_id=number)
        self.tell(LogEvent.PROGRESS, done=done, total=total)

    @property
    def lines(self):
        return self.out.getvalue().splitlines()


@pytest.fixture
def teller(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return Teller(io.StringIO(), monkeypatch)


def test_a_line_for_each_job_and_one_before_and_after(teller):
    teller.tell(LogEvent.WORKFLOW_STARTED, "Workflow has started!")
    teller.tell(None, "Building DAG of jobs...")
    teller.plan(tile_slides=4, all=1)
    for number in range(4):
        teller.tell(None, "Select jobs to execute...")
        teller.start(number, "tile_slides", batch=str(number))
        teller.finish(number, 10, number + 1, 5)
    teller.start(9, "all", shellcmd=None)
    teller.finish(9, 0, 5, 5)
    teller.handler.close()
    first, *jobs, last = teller.lines
    assert first == "5 steps; results go to results"
    assert [line.split() for line in jobs] == [
        ["[1/5]", "tile_slides", "batch", "0", "10", "s"],
        ["[2/5]", "tile_slides", "batch", "1", "10", "s"],
        ["[3/5]", "tile_slides", "batch", "2", "10", "s", "about", "10", "s", "left"],
        # All that is left is `all`, which computes nothing.
        ["[4/5]", "tile_slides", "batch", "3", "10", "s"],
    ]
    assert last.startswith("5 steps done in") and last.endswith("results are in results")


def test_what_is_not_in_use_is_told_at_the_end(teller, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    rows = ["slide_id\tstatus\treason", "A\tok\t", "B\tfailed\ttruncated", "C\tfailed\ttruncated", "D\tfailed\ttimeout"]
    (tmp_path / "results/slides.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "results/samples.tsv").write_text("sample_id\tstatus\treason\nA\tok\t\n")
    teller.plan(tile_slides=1)
    teller.start(0, "tile_slides", batch="0")
    teller.finish(0, 10, 1, 1)
    teller.handler.close()
    *_, told, last = teller.lines
    assert told.startswith("3 of 4 slides are not in use: truncated 2, timeout 1 (") and "slides.tsv" in told
    assert last.startswith("1 steps done in") and not any("samples are" in line for line in teller.lines)


def test_the_time_that_is_left():
    estimate = Estimate()
    estimate.planned.update({"tile_slides": 4, "train_model": 10})
    assert estimate.left([], 1) is None
    for _ in range(4):
        estimate.finished("tile_slides", 5)
    estimate.finished("train_model", 20)
    # 40 s of work in 20 s: two at once. Nine trainings are left, one of them half done: (9 * 20 - 10) / (50 / 20).
    assert estimate.left([("train_model", 10)], 20) == pytest.approx(170 / 2.5)


def test_the_time_that_is_left_by_earlier_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seconds in (("a", 100), ("b", 300)):
        path = tmp_path / f"results/benchmarks/train_model/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0\n")
    estimate = Estimate()
    estimate.planned.update({"tile_slides": 3, "train_model": 2})
    for _ in range(3):
        estimate.finished("tile_slides", 10)
    assert estimate.left([], 30) == pytest.approx(400)


def test_jobs_that_were_held_up_do_not_count_for_the_time_that_is_left():
    estimate = Estimate()
    estimate.planned.update({"fit_stain": 6})
    for seconds in (8, 10, 24, 3600):
        estimate.finished("fit_stain", seconds)
    # Two are left, of (8 + 10 + 24) / 3 = 14 s, and one job has run at a time.
    assert estimate.left([], 8 + 10 + 24 + 3600) == pytest.approx(28)


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (99, "99 s"), (600, "10 min"), (7500, "2 h 5 min")])
def test_durations(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Missing output files: a; Input files updated by another job: b", ["not there yet"]),
        (PARAMS, ["settings or code changed"]),
        ("Updated input files: x.tsv", ["an input changed"]),
        ("Input files updated by another job: b", ["follows other steps"]),
        ("Something new: x", ["Something new"]),
    ],
)
def test_reasons(reason, said):
    assert reason_words(reason) == said


def test_a_failure_is_told_in_full_with_the_end_of_its_log(teller, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    teller.plan(train_model=2)
    teller.start(1, "train_model", log=["train.log"], task="grading", method="snn", fold="0")
    teller.now += 12
    teller.tell(LogEvent.ERROR, "RuleException:\nCalledProcessError in file x", logging.ERROR)
    known = {"jobid": 1, "rule_name": "train_model", "rule_msg": None, "log": ["train.log"], "shellcmd": "x"}
    teller.tell(LogEvent.JOB_ERROR, "Error in rule", logging.ERROR, **known, aux={"external_jobid": "77"})
    teller.tell(LogEvent.ERROR, "WorkflowError:\nAt least one job did not complete successfully.", logging.ERROR)
    teller.handler.close()
    _, what, external, cut, *said, end = teller.lines
    assert what == "FAILED train_model grading snn fold 0 after 12 s; log: train.log"
    assert external == "    external_jobid: 77"
    assert "the last 30 lines" in cut and said == [f"    line {number}" for number in range(70, 100)]
    assert end.startswith("0 of 2 steps are done, 1 failed, 1 were not reached")


def test_a_job_that_said_nothing_shows_its_command(teller):
    teller.plan(train_model=1)
    teller.start(1, "train_model", log=["lost.log"])
    known = {"jobid": 1, "rule_name": "train_model", "rule_msg": None, "log": ["lost.log"], "aux": {}}
    teller.tell(LogEvent.JOB_ERROR, "", logging.ERROR, **known, shellcmd="ksfusion train-model --fold 0")
    assert teller.lines[-1] == "    ksfusion train-model --fold 0"


def test_a_mistake_of_the_users_is_its_lines(teller):
    text = 'WorkflowError in file "/x/Snakefile", line 42:\nmy.yaml: a: unknown key\nmy.yaml: b: unknown key\n'
    teller.tell(LogEvent.ERROR, text + '  File "/x/Snakefile", line 42, in <module>', logging.ERROR)
    assert teller.lines == ["error: my.yaml: a: unknown key", "error: my.yaml: b: unknown key"]


def test_a_folder_that_another_run_holds(teller):
    text = "LockException:\nError: Directory cannot be locked. Please make sure"
    teller.tell(LogEvent.ERROR, text, logging.ERROR, exception="LockException")
    (line,) = teller.lines
    assert line.startswith("error: another run is at work in this folder, or has died;") and "--unlock" in line


def test_warnings_and_unknown_lines_are_told(teller):
    teller.tell(None, "No validator found", logging.WARNING)
    teller.tell(None, "SLURM run ID: 5")
    teller.tell(None, "Job 3 has been submitted with SLURM jobid 8 (log: x).")
    assert teller.lines == ["No validator found", "SLURM run ID: 5"]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("INFO x: task a, method snn, fold 0, seed 1: epoch 3 of 20: train_loss 1, 2.0 s\n", "seed 1, epoch 3 of 20"),
        ("INFO x: a, trial 3: lr 0.1: value 0.5\nINFO x: a, trial 4: lr 0.1: value 0.5\n", "trial 4"),
        ("INFO ksfusion.slides.features.extraction: s1\t144 patches\t2 s\n" * 2, "2 slides done"),
        ("nothing\n", ""),
    ],
)
def test_how_far_a_job_is(tmp_path, log, said):
    (tmp_path / "job.log").write_text(log)
    assert Job("train_model", {}, [str(tmp_path / "job.log")], 0).progress() == said
    assert Job("train_model", {}, [str(tmp_path / "lost.log")], 0).progress() == ""


def test_on_a_terminal_what_runs_stands_below(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.log").write_text("x, seed 0: epoch 12 of 20: train_loss 1\n")
    teller = Teller(Terminal(), monkeypatch)
    teller.plan(train_model=2)
    teller.start(1, "train_model", log=["job.log"], task="grading", method="snn")
    teller.handler._show(1030)
    teller.finish(1, 40, 1, 2)
    shown, cleared = teller.out.getvalue().split("\r\033[K")[1:3]
    assert shown.startswith("[0/2] train_model grading snn 30 s (seed 0, epoch 12 of 20)")
    assert cleared.startswith("[1/2] train_model")


def test_without_a_terminal_there_is_a_sign_of_life_seldom(teller, tmp_path, monkeypatch):
    (tmp_path / "job.log").write_text("x, seed 0: epoch 12 of 20: train_loss 1\n")
    teller.plan(train_model=2)
    teller.start(1, "train_model", log=["job.log"], task="grading", method="snn")
    handler, waits = teller.handler, iter([False] * 3 + [True])
    monkeypatch.setattr(handler, "_stop", type("Stop", (), {"wait": lambda *_: next(waits), "set": lambda *_: None})())
    times = iter([1000 + 60, 1000 + 121, 1000 + 122])
    monkeypatch.setattr("snakemake_logger_plugin_ksfusion.time.time", lambda: next(times))
    handler._tick()
    assert teller.lines[1:] == ["    train_model grading snn has run for 2 min: seed 0, epoch 12 of 20"]
    assert "\r" not in teller.out.getvalue() and "\033" not in teller.out.getvalue()


def test_a_dry_run_is_a_table(monkeypatch):
    teller = Teller(io.StringIO(), monkeypatch, dryrun=True)
    teller.start(1, "tile_slides", batch="0")
    teller.start(2, "tile_slides", batch="1", reason="Updated input files: x")
    teller.start(3, "all", shellcmd=None)
    teller.handler.close()
    assert [line.split(maxsplit=2) for line in teller.lines[:-1]] == [
        ["step", "jobs", "why"],
        ["tile_slides", "2", "not there yet, an input changed"],
        ["total", "2"],
    ]


def test_an_interrupt_is_two_lines(teller):
    teller.plan(extract_features=2, train_model=3)
    teller.start(1, "extract_features", batch="0")
    teller.finish(1, 10, 1, 5)
    teller.start(2, "train_model")
    with pytest.raises(KeyboardInterrupt):
        teller.handler._interrupt(signal.SIGINT, None)
    teller.handler._interrupt(signal.SIGINT, None)
    before = len(teller.lines)
    teller.tell(None, "Terminating processes on user request, this might take some time.")
    teller.tell(LogEvent.ERROR, "RuleException", logging.ERROR)
    teller.handler.close()
    assert teller.lines[before:] == [
        "interrupted: 1 of 5 steps are done and kept, and what was running keeps its finished epochs",
        "to go on, give the same command again; what would then be done is told with --dry-run",
    ]
