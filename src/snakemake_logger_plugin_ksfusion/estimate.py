"""How long the rest of a run may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

from snakemake_logger_plugin_ksfusion.jobs import GATHERING, tail

# Where rules keep how long their jobs took (workflow/rules), by rule.
BENCHMARKS = Path("results", "benchmarks")
# So many jobs tell how long others may take.
FEWEST_JOBS = 3
# A job that took so many times as long as half of its kind was held up: the machine slept, or the run was halted.
HELD_UP = 10


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
