"""An estimate in words."""

from __future__ import annotations

from collections.abc import Iterator

from ksfusion.doctor.findings import Finding
from ksfusion.estimates.forecast import Forecast
from ksfusion.estimates.slide_sizes import SlideSizes
from ksfusion.estimates.study_estimate import StudyEstimate

COLUMNS = ("stage", "jobs", "processor", "clock", "GPU", "memory", "disk")


def estimate_lines(told: StudyEstimate) -> Iterator[str]:
    """Yield the lines of an estimate.

    Parameters
    ----------
    told
        The estimate.
    """
    found, place = told.found, told.place
    yield from slide_lines(told.workload.slides, told.workload.patches)
    yield ""
    yield from _table(found)
    yield ""
    where = (
        f"{place.cores} core{'s' if place.cores != 1 else ''}"
        if place.cores is not None
        else f"{place.jobs:,} jobs at once ({place.profile.path})"
    )
    processor, clock = span(found.total("processor")), span(found.total("clock"))
    yield f"in all      {processor} of processor, {clock} on the clock, {where}"
    if gpu := found.total("gpu"):
        here = f"of this machine ({', '.join(place.gpus)}) " if place.cores is not None else ""
        by = "by the rates of a processor: none was measured on a GPU"
        if told.measured and place.gpus:
            by = "encoding as it was measured on one here, training by the rates of a processor"
        yield f"GPUs        {here}are held for {span(gpu)} at most, {by}"
    yield f"disk        {size(found.total('disk_mb'))} of results"
    names = ", ".join(
        f"{stage.rule} {100 * stage.processor / found.total('processor'):.0f} %" for stage in found.dominating
    )
    yield f"dominating  {names}" if names else "dominating  nothing is left to do"
    for level, head in (("problem", "will fail"), ("note", "note")):
        yield from (f"{head:<12}{_said(finding)}" for finding in told.failures if finding.level == level)
    yield from _rate_lines(told)


def _rate_lines(told: StudyEstimate) -> Iterator[str]:
    if told.found.unmeasured:
        yield f"rates       none of {', '.join(told.found.unmeasured)}: those of the dearest of their kind were taken"
    of_table = f"{' and '.join(told.rates.sources)}, most likely another machine than that of this study"
    if told.measured:
        slides = f"{told.measured} slide{'s' if told.measured > 1 else ''}"
        yield f"rates       measured here on {slides}; of all else: {of_table}"
    else:
        hint = "; --measure 5 runs the stages of slides on five of yours first" if told.can_measure else ""
        yield f"rates       {of_table}{hint}"


def _said(finding: Finding) -> str:
    return "; ".join(filter(None, [finding.said, finding.remedy]))


def slide_lines(slides: SlideSizes, patches: float) -> Iterator[str]:
    """Yield the lines on the slides."""
    lines = slides.lines() or ["none of their files is there"] if slides.sizes else ["none"]
    yield from (f"slides      {line}" for line in lines)
    if slides.sizes:
        yield f"patches     {patches:,.0f} of a slide, {patches * len(slides.sizes):,.0f} in all"


def _table(found: Forecast) -> Iterator[str]:
    rows = [
        (
            stage.rule,
            f"{stage.jobs:,}",
            span(stage.processor),
            span(stage.clock),
            span(stage.gpu) if stage.gpu else ".",
            size(stage.mb),
            size(stage.disk_mb),
        )
        for stage in found.stages
    ]
    widths = [max(len(row[column]) for row in [COLUMNS, *rows]) for column in range(len(COLUMNS))]
    for row in [COLUMNS, *rows]:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield f"{row[0]:<{widths[0]}}  " + "  ".join(cells)


def span(seconds: float) -> str:
    """Return a time in the unit that suits it: ``42 s``, ``3 min`` or ``5.2 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(megabytes: float) -> str:
    """Return a size in MB or GB."""
    if megabytes >= 1e6:
        return f"{megabytes / 1e6:.1f} TB"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
