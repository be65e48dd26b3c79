"""An estimate in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ksfusion.doctor.findings import Finding
from ksfusion.estimates.forecast import Forecast, Place
from ksfusion.estimates.slide_sizes import SlideSizes
from ksfusion.estimates.workload import Workload

COLUMNS = ("stage", "jobs", "processor", "clock", "GPU", "memory", "disk")


def estimate_lines(
    workload: Workload, found: Forecast, place: Place, failures: Sequence[Finding], sources: Sequence[str]
) -> Iterator[str]:
    """Yield the lines of an estimate.

    Parameters
    ----------
    workload, found, place
        What there is to do, what that takes, and where it runs.
    failures
        What will fail.
    sources
        Where the rates were measured.
    """
    yield from slide_lines(workload.slides, workload.patches)
    yield ""
    yield from _table(found)
    yield ""
    where = (
        f"{place.cores} core{'s' if place.cores != 1 else ''}"
        if place.cores is not None
        else f"{place.jobs} jobs at once ({place.profile.path})"
    )
    processor, clock = span(found.total("processor")), span(found.total("clock"))
    yield f"in all      {processor} of processor, {clock} on the clock, {where}"
    if gpu := found.total("gpu"):
        yield f"GPUs        are held for {span(gpu)} at most, by the rates of a processor: none was measured on a GPU"
    yield f"disk        {size(found.total('disk_mb'))} of results"
    names = ", ".join(
        f"{stage.rule} {100 * stage.processor / found.total('processor'):.0f} %" for stage in found.dominating
    )
    yield f"dominating  {names}" if names else "dominating  nothing is left to do"
    yield from (f"will fail   {finding.said}; {finding.remedy}" for finding in failures if finding.level == "problem")
    yield from (f"note        {finding.said}" for finding in failures if finding.level == "note")
    if found.unmeasured:
        yield f"rates       none of {', '.join(found.unmeasured)}: those of the dearest of their kind were taken"
    yield from (f"rates       {source}" for source in sources)


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
