"""A minute's measurement: what slides of a study's own take, by the difference of two runs of each stage.

Both runs start alike (interpreter, libraries, readers, encoder, weights), and differ in how much there is to do.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ksfusion.core.errors import UserError
from ksfusion.estimates.forecast import Place
from ksfusion.estimates.rates import Rate
from ksfusion.estimates.running import SlideStages, Used
from ksfusion.plan import Plan

log = logging.getLogger(__name__)

# How often each slide stands in the larger run, and how many of its patches are encoded there (square numbers): more,
# until that takes as long again as the smaller run, nearly all of which is the start.
COPIES = 3
COUNTS = (4, 25, 100)
ENCODING = "extract_features"
MEASURED = "measured here"


@dataclass(frozen=True)
class Measurement:
    """What slides took, and what became of them.

    Attributes
    ----------
    rates
        Per job, and per slide or patch, of this machine.
    patches
        Mean number of different patches of a slide that did not fail.
    failed
        Reason of each slide that failed, by slide_id.
    """

    rates: list[Rate]
    patches: float
    failed: Mapping[str, str]


class Run(NamedTuple):
    """A run: slides or patches, and what it took."""

    amount: int
    used: Used


def measure(plan: Plan, slides: Sequence[str], place: Place, *, on_gpu: bool = False) -> Measurement:
    """Run the stages of slides on some of a study's.

    Parameters
    ----------
    plan
        The study; the working directory is its folder.
    slides
        Ids of slides whose files are there.
    place
        Where jobs run: as many processes read as will there.
    on_gpu
        Whether a GPU encodes: no processor notes how long that takes, only the clock.

    Raises
    ------
    UserError
        If none can be used, or a stage fails.
    """
    log.info("measuring slides: %d", len(slides))
    with tempfile.TemporaryDirectory() as name:
        once = SlideStages(plan, Path(name, "once"), {slide: slide for slide in slides})
        # Names that are not twice in one table, whatever the study's are.
        copies = {f"s{number}-{copy}": slide for copy in range(COPIES) for number, slide in enumerate(slides)}
        often = SlideStages(plan, Path(name, "often"), copies)
        rates = _by_slide("tile_slides", (once, often))
        failed, found = once.tiles()
        if not found:
            reasons = ", ".join(f"{slide} {reason}" for slide, reason in failed.items())
            raise UserError(f"--measure: none of the slides measured can be used ({reasons}); leave it out")
        rates += [rate for rule in ("fit_stain", "draw_overviews") for rate in _by_slide(rule, (once, often))]
        runs = _encoding(once, often, list(found.values()), plan.config.patches.count, place.threads(ENCODING))
        kept = place.kept_busy(ENCODING) if on_gpu else 0.0
        rates += rates_of(ENCODING, plan.config.features.encoder, "patch", runs, kept)
    patches = sum(min(plan.config.patches.count, tiles) for tiles in found.values()) / len(found)
    return Measurement(rates, patches, failed)


def rates_of(rule: str, kind: str, per: str, runs: Sequence[Run], kept: float = 0.0) -> list[Rate]:
    """Return what a job takes to start, and what each slide or patch takes beyond that.

    Parameters
    ----------
    rule, kind, per
        What was measured, see `ksfusion.estimates.rates.Rate`.
    runs
        A smaller and a larger one.
    kept
        Cores that a job holds for as long as it runs; where a GPU works they are idle and yet taken.
    """
    (few, least), (many, most) = runs
    seconds = [max(used.processor, kept * used.clock) for used in (least, most)]
    each = max(seconds[1] - seconds[0], 0.0) / (many - few)
    start = max(seconds[0] - few * each, 0.0)
    return [Rate(rule, kind, "job", start, 0, 0, MEASURED), Rate(rule, kind, per, each, 0, 0, MEASURED)]


def _by_slide(rule: str, stages: Sequence[SlideStages]) -> list[Rate]:
    return rates_of(rule, "", "slide", [Run(one.number, getattr(one, rule)()) for one in stages])


def _encoding(once: SlideStages, often: SlideStages, tiles: Sequence[int], most: int, threads: int) -> list[Run]:
    """Return a run of a patch of each slide, and one of more patches of more slides."""
    first = Run(len(tiles), once.extract_features(1, threads))
    for count in sorted({min(count, most) for count in COUNTS}):
        patches = COPIES * sum(min(count, there) for there in tiles)
        larger = Run(patches, often.extract_features(count, threads))
        if larger.used.clock > 2 * first.used.clock:
            break
    return [first, larger]
