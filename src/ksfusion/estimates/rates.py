"""What a job takes for each slide, patch or sample, as it was measured (``resources/rates.tsv``)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ksfusion.core.errors import UserError
from ksfusion.core.resources import resource

# Of rules that were not measured: they only read and write tables.
ANY_RULE = "*"
# What costs are counted by: a job's start; its slides, their billions of pixels, its patches; its samples, each time
# that a model is trained on one, and their patches; the patches of a map that eight samples of a step have; profiles of
# expression; and for the memory of encoding its readers, the patches that wait, and those encoded at the same time.
PER = ("job", "slide", "gigapixel", "patch", "sample", "sample_patch", "map_patch", "profile", "reader", "queued",
       "encoded")  # fmt: skip


@dataclass(frozen=True)
class Rate:
    """What one unit of a rule takes.

    Attributes
    ----------
    rule
        The rule.
    kind
        Encoder or method that it was measured with; empty for what all have in common.
    per
        The unit, one of `PER`.
    seconds
        Of a processor core.
    mb, disk_mb
        Memory of the job, and what stays on the disk, in MB.
    measured
        Where and when.
    """

    rule: str
    kind: str
    per: str
    seconds: float
    mb: float
    disk_mb: float
    measured: str


@dataclass(frozen=True)
class Cost:
    """What a job takes: seconds of a processor core, memory and what stays on the disk in MB."""

    seconds: float
    mb: float
    disk_mb: float


@dataclass(frozen=True)
class Rates:
    """All rates, and what they say of a job."""

    rates: Sequence[Rate]

    @classmethod
    def read(cls, path: Path | None = None) -> Rates:
        """Read a table of rates: the shipped one, or another."""
        path = path or resource("rates.tsv")
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        try:
            return cls([_rate(row) for row in rows])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: is no table of rates ({error}); restore it") from None

    def cost(self, rule: str, kinds: Sequence[str], units: Mapping[str, float]) -> Cost:
        """Return what a job takes.

        Parameters
        ----------
        rule
            Its rule.
        kinds
            Its encoder or methods; what was not measured is taken for the dearest that was.
        units
            How much it has of each of `PER`; a job is one job.
        """
        found = [rate for rate in self.rates if rate.rule == rule] or [r for r in self.rates if r.rule == ANY_RULE]
        costs = [_sum([rate for rate in found if not rate.kind], units)]
        costs += [
            _sum([rate for rate in found if rate.kind == kind], units) for kind in self._measured(found, kinds, units)
        ]
        return Cost(
            sum(cost.seconds for cost in costs),
            # Methods of one job follow one another.
            costs[0].mb + max((cost.mb for cost in costs[1:]), default=0),
            sum(cost.disk_mb for cost in costs),
        )

    def unmeasured(self, rule: str, kinds: Iterable[str]) -> list[str]:
        """Return those kinds of a rule that were not measured, where others were."""
        known = {rate.kind for rate in self.rates if rate.rule == rule and rate.kind}
        return [kind for kind in kinds if known and kind not in known]

    def replaced(self, measured: Iterable[Rate]) -> Rates:
        """Return the rates with the seconds of others in place of those of the same rule and kind, or of none.

        Memory and room on the disk stay, and the start of jobs where that was not measured too; those of a kind that is
        not in the table are those of the dearest.
        """
        new = list(measured)
        kinds = {(rate.rule, rate.kind) for rate in new}
        known = [*self.rates, *(rate for rule, kind in sorted(kinds) for rate in self._standing_in(rule, kind))]
        over = {(rule, kind) for rule, own in kinds for kind in ("", own)}
        starts = {rate.rule for rate in new if rate.per == "job"}

        def is_over(rate: Rate) -> bool:
            return (rate.rule, rate.kind) in over and (rate.per != "job" or rate.rule in starts)

        return Rates([*(replace(rate, seconds=0.0) if is_over(rate) else rate for rate in known), *new])

    @property
    def sources(self) -> list[str]:
        """Where and when those of the table were measured, each place with its first and last day."""
        days: dict[str, set[str]] = {}
        for rate in self.rates:
            where, comma, day = rate.measured.rpartition(", ")
            if comma:
                days.setdefault(where, set()).add(day)
        return [f"{where}, {' to '.join(sorted({min(of), max(of)}))}" for where, of in sorted(days.items())]

    def _standing_in(self, rule: str, kind: str) -> list[Rate]:
        """Return the rates of the dearest kind of a rule under another's name, where that has none of its own."""
        if not kind or not self.unmeasured(rule, [kind]):
            return []
        found = [rate for rate in self.rates if rate.rule == rule]
        (dearest,) = self._measured(found, [kind], dict.fromkeys(PER, 1.0))
        return [replace(rate, kind=kind) for rate in found if rate.kind == dearest]

    def _measured(self, found: Sequence[Rate], kinds: Sequence[str], units: Mapping[str, float]) -> list[str]:
        known = {rate.kind for rate in found if rate.kind}
        dearest = max(
            sorted(known), key=lambda kind: _sum([r for r in found if r.kind == kind], units).seconds, default=""
        )
        return [kind if kind in known else dearest for kind in kinds] if known else []


def _rate(row: Mapping[str, str]) -> Rate:
    if row["per"] not in PER:
        raise ValueError(f"per {row['per']}")
    seconds, mb, disk_mb = (float(row[name]) for name in ("seconds", "mb", "disk_mb"))
    return Rate(row["rule"], row["kind"], row["per"], seconds, mb, disk_mb, row["measured"])


def _sum(rates: Iterable[Rate], units: Mapping[str, float]) -> Cost:
    amounts = [(rate, 1.0 if rate.per == "job" else units.get(rate.per, 0.0)) for rate in rates]
    return Cost(
        sum(rate.seconds * amount for rate, amount in amounts),
        sum(rate.mb * amount for rate, amount in amounts),
        sum(rate.disk_mb * amount for rate, amount in amounts),
    )
