"""What a study will take, before anything runs."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ksfusion.core.atomic import atomic
from ksfusion.core.errors import UserError
from ksfusion.core.paths import nearest_above
from ksfusion.core.workflow import due_jobs, folder_of, workflow_command
from ksfusion.doctor.cluster import known_cluster
from ksfusion.doctor.findings import Finding
from ksfusion.doctor.profiles import Profile, read_profile
from ksfusion.doctor.studies import planned_study
from ksfusion.estimates import measuring
from ksfusion.estimates.failing import failing
from ksfusion.estimates.forecast import Forecast, Place, forecast
from ksfusion.estimates.rates import Rates
from ksfusion.estimates.slide_sizes import look_at_slides, spread
from ksfusion.estimates.slurm_profile import as_yaml, slurm_profile
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
    told = estimated(config, set, profile, cores, measure)
    if format == "json":
        text = _as_json(told.found, told.failures) + "\n"
    elif profile is None:
        text = "".join(f"{line}\n" for line in told.lines)
    else:
        text = _profile(told.found, told.asked, profile, told.lines)
        if not told.asked.values:
            log.warning("--profile %s: is empty, so that no account or partition is kept; --output writes it", profile)
    if output is None:
        sys.stdout.write(text)
    else:
        with atomic(output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if any(finding.level == "problem" for finding in told.failures):
        sys.exit(UNFIT)


class Estimated(NamedTuple):
    """An estimate: what jobs take, what will fail or may, the profile that was asked for, and all of it in words."""

    found: Forecast
    failures: list[Finding]
    asked: Profile
    lines: list[str]


def estimated(
    config: Path, settings: Sequence[str], profile: str | None, cores: int | None, measure: int = 0
) -> Estimated:
    """Return an estimate; see `estimate`."""
    # A redirection into the profile itself has emptied it before this reads it.
    asked = read_profile(profile, may_be_empty=True)
    use = min(cores or 10**6, len(os.sched_getaffinity(0))) if profile is None else None
    place = Place(use, int(asked.values.get("jobs", 100)) if profile else 0, asked)
    jobs = due_jobs(workflow_command(config, settings=settings))
    there = nearest_above(folder_of(config, settings))
    rates = Rates.read()
    sources = sorted({rate.measured for rate in rates.rates})
    failed: Mapping[str, str] = {}
    with planned_study(config, settings) as plan:
        reading = Reading.of(plan.config.slides)
        slides = look_at_slides(plan.tables.slides(), reading)
        patches = float(plan.config.patches.count)
        if measure:
            chosen = spread(slides.sizes, measure)
            if not chosen or not plan.extracts:
                raise UserError(f"{config}: --measure: no slide is there to be measured; leave it out")
            measured = measuring.measure(plan, chosen, place.threads("extract_features"))
            rates, patches, failed = rates.replaced(measured.rates), measured.patches, measured.failed
            sources = [f"{measuring.MEASURED} on {len(chosen)} slides; of all else: {', '.join(sources)}"]
        workload = Workload(plan, slides, patches)
        found = forecast(jobs, workload, rates, place)
        failures = list(failing(plan, slides, failed, found, place, there))
    return Estimated(found, failures, asked, list(estimate_lines(workload, found, place, failures, sources)))


def _profile(found: Forecast, asked: Profile, name: str, lines: Sequence[str]) -> str:
    """Return a profile as text, with the estimate above it."""
    # Of the shipped one nothing is kept but what it has no numbers for: its own are for any study.
    given = None if asked.is_shipped else asked
    partitions, keeps_accounts = known_cluster()
    values = slurm_profile(found, given, partitions, keeps_accounts=keeps_accounts)
    return as_yaml(values, [f"Of ksfusion estimate --profile {name}: memory and time are this study's.", *lines])


def _as_json(found: Forecast, failures: Sequence[Finding]) -> str:
    told = {
        "stages": found.record(),
        **{name: round(found.total(name), 1) for name in ("processor", "clock", "gpu", "disk_mb")},
        "dominating": [stage.rule for stage in found.dominating],
        "failing": [finding.record() for finding in failures],
    }
    return json.dumps(told, indent=1)
