"""What a study will take, before anything runs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ksfusion.core.atomic import atomic
from ksfusion.core.errors import UserError
from ksfusion.core.paths import nearest_above
from ksfusion.core.workflow import due_jobs, folder_of, workflow_command
from ksfusion.doctor.cluster import known_cluster
from ksfusion.doctor.gpus import usable_gpus
from ksfusion.doctor.profiles import read_profile, shipped_requests
from ksfusion.doctor.studies import planned_study
from ksfusion.estimates import measuring
from ksfusion.estimates.failing import failing
from ksfusion.estimates.forecast import forecast, place_of
from ksfusion.estimates.rates import Rates
from ksfusion.estimates.slide_sizes import look_at_slides, spread
from ksfusion.estimates.slurm_profile import AS_SHIPPED, as_yaml, slurm_profile
from ksfusion.estimates.study_estimate import StudyEstimate
from ksfusion.estimates.text import estimate_lines
from ksfusion.estimates.workload import Workload
from ksfusion.slides.config import Reading
from ksfusion.stages.doctor import UNFIT

log = logging.getLogger(__name__)

USUAL = Path("config.yaml")


def estimate(
    config: Path = USUAL,
    *,
    set: Sequence[str] = (),
    profile: str | None = None,
    cores: int | None = None,
    measure: int = 0,
    format: Literal["text", "json"] = "text",
    output: Path | None = None,
) -> None:
    """Say what a study will take before anything runs: time, memory, disk, what dominates it and what will fail.

    Exit code 0: nothing that was seen stops the run; 1: something will, which is told or written all the same.

    With a profile it prints one of SLURM whose memory and times are those of the study, under the estimate as comments:
    ``ksfusion estimate my.yaml --profile slurm --output mine/config.yaml``.

    Parameters
    ----------
    config
        The configuration, such as my.yaml.
    set
        A setting to change, such as patches.count=1024; may be given many times.
    profile
        Where jobs will run: slurm, or the folder of a profile of your own, whose accounts and partitions are kept; this
        machine without it.
    cores
        Cores of this machine that will be used; all without it.
    measure
        Slides of the study on which the stages of slides are run first, such as 5; takes about a minute. Without it
        rates are those of resources/rates.tsv.
    format
        Lines to read, or JSON for scripts.
    output
        File to write in place of printing; the profile itself too, which is read before.

    Raises
    ------
    UserError
        If configuration or tables have a mistake, or no slide can be measured.
    """
    _check_output(output)
    told = estimated(config, set, profile, cores, measure)
    if format == "json":
        text = json.dumps(told.record(), indent=1) + "\n"
    elif profile is None:
        text = "".join(f"{line}\n" for line in estimate_lines(told))
    elif told.place.cores is not None:
        file = told.place.profile.path
        raise UserError(
            f"{file}: names no executor, so that its jobs run on this machine, and estimate writes profiles of SLURM; "
            "write executor: slurm there, or leave --profile out"
        )
    else:
        text = _profile(told, profile)
        if not told.place.profile.values:
            log.warning("--profile %s: is empty, so that no account or partition is kept; --output writes it", profile)
    if output is None:
        sys.stdout.write(text)
    else:
        with atomic(output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if any(finding.level == "problem" for finding in told.failures):
        sys.exit(UNFIT)


def estimated(
    config: Path, settings: Sequence[str], profile: str | None, cores: int | None, measure: int = 0
) -> StudyEstimate:
    """Return an estimate; see `estimate`."""
    if cores is not None and cores < 1:
        raise UserError(f"--cores {cores}: must be 1 or more; leave it out for all of this machine")
    if measure < 0:
        raise UserError(f"--measure {measure}: must be a number of slides, such as 5; leave it out to run none")
    # A redirection into the profile itself has emptied it before this reads it.
    place = place_of(read_profile(profile, may_be_empty=True), cores, on_cluster=profile is not None)
    jobs = due_jobs(workflow_command(config, settings=settings))
    there = nearest_above(folder_of(config, settings))
    if place.cores is not None or measure:
        place = replace(place, gpus=usable_gpus())
    rates = Rates.read()
    failed: Mapping[str, str] = {}
    with planned_study(config, settings) as plan:
        slides = look_at_slides(plan.tables.slides(), Reading.of(plan.config.slides))
        patches = float(plan.config.patches.count)
        chosen = spread(slides.sizes, measure) if plan.extracts else []
        if measure:
            if not chosen:
                raise UserError(f"{config}: --measure: no slide is there to be measured; leave it out")
            measured = measuring.measure(plan, chosen, place, on_gpu=bool(place.gpus))
            rates, patches, failed = rates.replaced(measured.rates), measured.patches, measured.failed
        workload = Workload(plan, slides, patches, place.threads(measuring.ENCODING))
        found = forecast(jobs, workload, rates, place)
        failures = list(failing(plan, slides, failed, found, place, there))
    return StudyEstimate(workload, found, place, failures, rates, len(chosen))


def _check_output(output: Path | None) -> None:
    """Raise UserError where no file can be written: before the work, not after it."""
    if output is not None and output.is_dir():
        raise UserError(f"--output {output}: is a folder; name a file, such as {output / 'config.yaml'}")
    if output is not None and not (above := nearest_above(output.parent)).is_dir():
        raise UserError(f"--output {output}: {above} is no folder; name a file in a folder")


def _profile(told: StudyEstimate, name: str) -> str:
    """Return a profile as text, with the estimate above it."""
    asked = told.place.profile
    # Of the shipped one nothing is kept but what there is no estimate of: its own numbers are for any study.
    given = None if asked.is_shipped else asked
    partitions, keeps_accounts = known_cluster()
    values = slurm_profile(told.found, given, shipped_requests(), partitions, keeps_accounts=keeps_accounts)
    head = f"Of ksfusion estimate --profile {name}: memory and time are this study's."
    return as_yaml(values, [head, *AS_SHIPPED, *estimate_lines(told)])
