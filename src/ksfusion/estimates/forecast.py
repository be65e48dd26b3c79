"""What the jobs of a study take together: processor time, time on the clock, memory and room on the disk."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ksfusion.core.errors import UserError
from ksfusion.core.workflow import PlannedJob
from ksfusion.doctor.profiles import LOCAL, Profile
from ksfusion.estimates.rates import Cost, Rates
from ksfusion.estimates.workload import Workload

# SLURM and Snakemake take this long to place a job and to notice its end (docs/slurm.md).
PLACED, NOTICED = 5.0, 40.0
# The processes that read patches and the encoder never keep all cores busy.
BUSY = 0.85
# Of a cluster, where its profile does not say; and more than there ever are.
JOBS, UNLIMITED = 100, 10**6


@dataclass(frozen=True)
class Place:
    """Where jobs run.

    Attributes
    ----------
    cores
        Cores of this machine that may be used; None: of a cluster that starts ``jobs`` at once.
    jobs
        Jobs at once.
    profile
        What a job asks for.
    gpus
        Names of the GPUs of this machine that PyTorch can use.
    """

    cores: int | None
    jobs: int
    profile: Profile
    gpus: Sequence[str] = ()

    def threads(self, rule: str) -> int:
        """Return the cores that a job of a rule has."""
        asked = self.profile.threads(rule)
        return asked if self.cores is None else min(asked, self.cores)

    def at_once(self, rule: str) -> int:
        """Return how many jobs of a rule run at once."""
        return self.jobs if self.cores is None else max(1, self.cores // self.threads(rule))

    def seconds(self, rule: str, cost: Cost) -> float:
        """Return how long a job takes on the clock."""
        return cost.seconds / self.kept_busy(rule)

    def kept_busy(self, rule: str) -> float:
        """Return how many cores a job of a rule keeps busy."""
        threads = self.threads(rule)
        return threads * (BUSY if threads > 1 else 1.0)

    def clock(self, rule: str, seconds: Iterable[float]) -> float:
        """Return how long jobs take on the clock, each begun as soon as another has ended."""
        longest_first = sorted(seconds, reverse=True)
        lanes = [0.0] * min(self.at_once(rule), len(longest_first))
        overhead = 0.0 if self.cores is not None else PLACED
        for job in longest_first:
            heapq.heappushpop(lanes, lanes[0] + job + overhead)
        return max(lanes) + (0.0 if self.cores is not None else NOTICED)

    def uses_gpu(self, rule: str) -> bool:
        """Return whether a job of a rule is given a GPU: as the profile says, and on this machine where it has one."""
        return self.profile.number(rule, "gpu") > 0 and (self.cores is None or bool(self.gpus))


def place_of(profile: Profile, cores: int | None, *, on_cluster: bool) -> Place:
    """Return where jobs run.

    Parameters
    ----------
    profile
        What a job asks for.
    cores
        Cores of this machine that may be used; None: those of the profile, or all.
    on_cluster
        Whether the profile was asked for. One that names no executor is of this machine all the same; an empty one is
        of a cluster, whose profile is yet to be written.

    Raises
    ------
    UserError
        If its number of jobs at once is none.
    """
    if not on_cluster or (profile.values and profile.executor == LOCAL):
        here = len(os.sched_getaffinity(0))
        return Place(min(cores or _count(profile, "cores", here), here), 0, profile)
    return Place(None, _count(profile, "jobs", JOBS), profile)


def _count(profile: Profile, key: str, usual: int) -> int:
    """Return a number of a profile, as many as there are for ``all`` or ``unlimited``."""
    text = str(profile.values.get(key, usual))
    if text in ("all", "unlimited"):
        return UNLIMITED
    if not text.isdecimal() or not int(text):
        raise UserError(f"{profile.path}: {key}: {text} is no number of 1 or more; correct it")
    return int(text)


@dataclass(frozen=True)
class Stage:
    """The jobs of a rule together.

    Attributes
    ----------
    rule, jobs
        Which, and how many.
    processor
        Seconds of processor cores.
    longest
        Seconds of the longest job on the clock.
    clock
        Seconds on the clock.
    gpu
        Seconds for which GPUs are held.
    mb
        Memory of the largest job, in MB.
    disk_mb
        What stays on the disk, in MB.
    """

    rule: str
    jobs: int
    processor: float
    longest: float
    clock: float
    gpu: float
    mb: float
    disk_mb: float


@dataclass(frozen=True)
class Forecast:
    """All stages, and which of their encoders and methods no rate was measured of."""

    stages: Sequence[Stage]
    unmeasured: Sequence[str]

    def total(self, name: str) -> float:
        """Return the sum of a number of the stages."""
        return float(sum(getattr(stage, name) for stage in self.stages))

    @property
    def dominating(self) -> list[Stage]:
        """The stages that take the most processor time, until they have half of it."""
        found, sum_, half = [], 0.0, 0.5 * self.total("processor")
        for stage in sorted(self.stages, key=lambda stage: -stage.processor):
            if sum_ >= half:
                break
            found.append(stage)
            sum_ += stage.processor
        return found

    def record(self) -> list[dict[str, Any]]:
        """Return the stages as JSON can hold them."""
        return [vars(stage) | {"processor": round(stage.processor, 1)} for stage in self.stages]


def forecast(jobs: Iterable[PlannedJob], workload: Workload, rates: Rates, place: Place) -> Forecast:
    """Return what jobs take.

    Parameters
    ----------
    jobs
        The jobs of a dry run.
    workload
        What each has to do.
    rates
        What that takes.
    place
        Where they run.
    """
    costs: dict[str, list[Cost]] = {}
    unmeasured: dict[str, None] = {}
    for job in jobs:
        if job.gathers:
            continue
        work = workload.of(job)
        costs.setdefault(job.rule, []).append(rates.cost(work.rule, work.kinds, work.units))
        unmeasured.update(dict.fromkeys(rates.unmeasured(work.rule, work.kinds)))
    return Forecast([_stage(rule, found, place) for rule, found in costs.items()], list(unmeasured))


def _stage(rule: str, costs: Sequence[Cost], place: Place) -> Stage:
    seconds = [place.seconds(rule, cost) for cost in costs]
    return Stage(
        rule=rule,
        jobs=len(costs),
        processor=sum(cost.seconds for cost in costs),
        longest=max(seconds),
        clock=place.clock(rule, seconds),
        gpu=sum(seconds) if place.uses_gpu(rule) else 0.0,
        mb=max(cost.mb for cost in costs),
        disk_mb=sum(cost.disk_mb for cost in costs),
    )
