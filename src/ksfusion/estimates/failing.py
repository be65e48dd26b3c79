"""What of a study will fail: files that are not there, slides without a scale, weights, room, memory."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ksfusion.core.machine_errors import LOWER
from ksfusion.core.memory import memory_limit
from ksfusion.doctor.findings import Finding
from ksfusion.doctor.studies import study_findings
from ksfusion.estimates.forecast import Forecast, Place
from ksfusion.estimates.slide_sizes import SlideSizes
from ksfusion.plan import Plan
from ksfusion.terms.failures import most_failed

# Temporary files and logs, and what a file system keeps for itself.
DISK_MARGIN = 1.2


def failing(
    plan: Plan, slides: SlideSizes, failed: Mapping[str, str], found: Forecast, place: Place, folder: Path
) -> Iterator[Finding]:
    """Yield what will fail, or may.

    Parameters
    ----------
    plan
        The study.
    slides
        Its slides.
    failed
        Reasons of slides that were measured and failed.
    found
        What its jobs take.
    place
        Where they run.
    folder
        Where results are written.
    """
    told_below = plan.extracts and not plan.config.demo
    for finding in study_findings(plan):
        if finding.level != "ok":
            # With slides of no use the share of those that are missing is told once.
            yield replace(finding, level="note") if told_below and finding.subject == "slides" else finding
    if told_below:
        yield from _slides(plan, slides, failed)
    needed, free = DISK_MARGIN * found.total("disk_mb") / 1000, shutil.disk_usage(folder).free / 1e9
    if needed > free:
        said = f"results take some {needed:,.1f} GB, and {folder} has {free:,.1f} GB free"
        yield Finding("problem", "disk", said, "free some, or name a folder on a larger disk (folder)")
    largest = max(found.stages, key=lambda stage: stage.mb, default=None)
    if largest and place.cores is not None and largest.mb * 1e6 > memory_limit():
        said = f"{largest.rule} takes some {largest.mb / 1000:.1f} GB, and this machine has {memory_limit() / 1e9:.1f}"
        yield Finding("problem", "memory", said, f"{LOWER.get(largest.rule, '')}or move to a larger machine")


def _slides(plan: Plan, slides: SlideSizes, failed: Mapping[str, str]) -> Iterator[Finding]:
    seen = {**slides.unusable, **failed}
    looked = len(slides.headers)
    if seen:
        reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(seen.values()).most_common())
        said = f"of {looked} slides looked at {len(seen)} will fail: {reasons}, such as {next(iter(seen))}"
        yield Finding("note", "slides", said, "docs/slides.md says what each reason means and what to do")
    total, fraction = len(slides.sizes), plan.config.slides.max_failed_fraction
    most, lost = most_failed(total, fraction), len(slides.missing) + len(seen)
    # Of those whose header was not read as many may be of no use: a guess, on which no run is stopped.
    others = total - len(slides.missing) - looked
    guessed = lost + (round(others * len(slides.unusable) / looked) if looked else 0)
    limit = f"more than {most} stop the run (slides.max_failed_fraction: {fraction:g})"
    if lost > most:
        said = f"{lost} of {total} slides will fail, and {limit}"
        yield Finding("problem", "slides", said, "correct the table of samples, or raise the limit")
    elif guessed > most:
        said = f"if as many of the other {others} fail, {guessed} of {total} slides do, and {limit}"
        yield Finding("note", "slides", said, "look at all of them first: ksfusion run CONFIG slides")
