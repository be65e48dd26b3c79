"""The paper's configuration on a prepared cohort: doctor, estimate, run, and the published tables beside its own."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_undamaged
from ksfusion.core.workflow import folder_of
from ksfusion.doctor.findings import Finding
from ksfusion.doctor.studies import planned_study
from ksfusion.estimates.text import estimate_lines
from ksfusion.preflight.parsing import load_config
from ksfusion.stages.doctor import UNFIT, doctor
from ksfusion.stages.estimate import estimated

log = logging.getLogger(__name__)

PAPER = Path("glioma.yaml")
COMPARISON = Path("results/tables/reproduction.md")


def reproduce(
    config: Path = PAPER,
    *,
    set: Sequence[str] = (),
    cores: str | None = None,
    profile: str | None = None,
    passed_on: Sequence[str] = (),
) -> None:
    """Run the paper's configuration on a prepared cohort, and compare it with the published tables.

    What would stop it is looked for first (doctor, estimate). Each step that fails says what to do, and the same
    command goes on from there. Exit code 1: something stands in the way.

    Parameters
    ----------
    config
        The configuration: a copy of resources/cohorts/glioma.yaml beside the folder data of `ksfusion cohort glioma`.
    set
        A setting to change, such as patches.count=1024; may be given many times.
    cores
        Number of processor cores that may be used at once; all without it.
    profile
        Where jobs run: slurm, or the folder of a profile of your own.
    passed_on
        Options after ``--``, which go to Snakemake.

    Raises
    ------
    UserError
        If there is no such configuration, its cohort is not prepared, or it compares nothing with the paper.
    """
    if not config.is_file():
        raise UserError(f"{config}: is not there; copy resources/cohorts/glioma.yaml to it (docs/reproduce.md)")
    _check_prepared(config, set)
    published = "paper"
    with contextlib.suppress(UserError), planned_study(config, set) as plan:  # doctor tells of what cannot be planned
        published = plan.config.results.published
    if published != "paper":
        raise UserError(
            f"{config}: results.published: none compares nothing with the paper; write published: paper there"
        )
    log.info("step 1 of 4: whether machine and study are fit for it")
    doctor(config, set=set, profile=profile)
    log.info("step 2 of 4: what it will take")
    told = estimated(config, set, profile, int(cores) if cores and cores.isdigit() else None)
    sys.stdout.writelines(f"{line}\n" for line in estimate_lines(told))
    sys.stdout.flush()
    if problems := [finding for finding in told.failures if finding.level == "problem"]:
        _stop(problems)
    log.info("step 3 of 4: the run")
    if code := _run(config, set, cores, profile, passed_on):
        log.info("the run has stopped for what it says above; the same command goes on from there")
        sys.exit(code)
    log.info("step 4 of 4: the published values, and those here")
    sys.stdout.write(read_undamaged(folder_of(config, set) / COMPARISON).decode())


def _check_prepared(config: Path, settings: Sequence[str]) -> None:
    """Raise UserError where there are no tables yet: what doctor says of that knows nothing of this cohort."""
    cohort = load_config(config).cohort
    places = [config.resolve().parent, Path.cwd(), folder_of(config, settings)]
    for table in (cohort.samples, cohort.cases):
        if not any((place / table).is_file() for place in places):
            raise UserError(
                f"{config}: {table} is not there; make it of the downloads with ksfusion cohort glioma (docs/data.md)"
            )


def _stop(problems: Sequence[Finding]) -> NoReturn:
    """Say what stands in the way, and exit."""
    sys.stdout.writelines(f"{problem.line()}\n" for problem in problems)
    sys.exit(UNFIT)


def _run(
    config: Path, settings: Sequence[str], cores: str | None, profile: str | None, passed_on: Sequence[str]
) -> int:
    """Run the workflow as `ksfusion run` does, and return its exit code."""
    command = [sys.executable, "-P", "-m", "ksfusion", "run", str(config)]
    command += [text for setting in settings for text in ("--set", setting)]
    command += ["--cores", cores] if cores else []
    command += ["--profile", profile] if profile else []
    child = subprocess.Popen([*command, "--", *passed_on])
    # Ctrl-C reaches Snakemake too, which ends its jobs first; what ends this process alone is handed on.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        return child.wait()
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
