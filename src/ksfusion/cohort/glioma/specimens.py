"""The specimens behind slides and expression profiles, and which profile belongs to which slide."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ksfusion.cohort.glioma.downloads import number, read_rows
from ksfusion.core.errors import UserError

SAMPLE_COLUMNS = (
    "sample_id", "case_id", "cohort", "slide", "expression_id", "slide_id", "mpp", "site", "tumour_id",
    "slide_specimen_id", "slide_block_id", "expression_specimen_id", "expression_block_id",
)  # fmt: skip
Row = dict[str, str]
PairingOfSlides = Literal["closest", "all"]


@dataclass(frozen=True)
class Specimen:
    """The tissue that a slide, or an expression profile, comes from; empty where the source does not say.

    Attributes
    ----------
    id
        Of the slide or profile.
    case_id, tumour_id, block_id, specimen_id
        What it was taken from, from the largest to the smallest.
    site
        The tissue source site.
    path
        The slide's file.
    mpp
        Micrometres per pixel, where the slide's file does not say it.
    preservation
        How the tissue was kept, as the source says it: Frozen, FFPE, OCT.
    """

    id: str
    case_id: str
    tumour_id: str
    block_id: str = ""
    specimen_id: str = ""
    site: str = ""
    path: str = ""
    mpp: str = ""
    preservation: str = ""


def closeness(slide: Specimen, profile: Specimen) -> int:
    """Return how closely a slide and a profile of one case were taken: 3 specimen, 2 block, 1 tumour, 0 case alone."""
    for level, name in ((3, "specimen_id"), (2, "block_id"), (1, "tumour_id")):
        if getattr(slide, name) and getattr(slide, name) == getattr(profile, name):
            return level
    return 0


def preservation_rank(profile: Specimen) -> int:
    """Return where a profile stands by how its tissue was kept: frozen (0) before unknown (1) before fixed (2)."""
    kept = profile.preservation.lower()
    if "ffpe" in kept or "formalin" in kept:
        return 2
    return 0 if any(word in kept for word in ("frozen", "oct", "fresh", "cryo")) else 1


@functools.cache
def reads_of(path: str) -> float:
    """Return the reads of a file of STAR gene counts on genes, 0 where it cannot be read."""
    try:
        rows = read_rows(Path(path), ("gene_id", "unstranded"))
    except UserError:
        return 0
    return sum(number(row["unstranded"]) or 0 for row in rows if not row["gene_id"].startswith("N_"))


def by_closeness(slide: Specimen, profiles: Sequence[Specimen]) -> list[Specimen]:
    """Return profiles of a slide's case, that which stands for it first.

    The one taken closest (specimen, block, tumour, case) comes first; of equal ones the frozen before the fixed, then
    that with the most reads. By their ids go only those that differ in nothing that is known.
    """
    keys = {profile: (-closeness(slide, profile), preservation_rank(profile)) for profile in profiles}
    tied = Counter(keys.values())

    def key(profile: Specimen) -> tuple[tuple[int, int], float, str]:
        reads = reads_of(profile.path) if profile.path and tied[keys[profile]] > 1 else 0
        return keys[profile], -reads, profile.id

    return sorted(profiles, key=key)


def unused_profiles(slides: Sequence[Specimen], profiles: Sequence[Specimen], rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the profiles that stand in no row though their case has slides, each with its ``id`` and ``reason``.

    Parameters
    ----------
    slides, profiles
        Slides and profiles of one cohort.
    rows
        Rows that `pair_slides` made of them.
    """
    used = {row["expression_id"] for row in rows}
    for profile in profiles:
        of_case = [slide for slide in slides if slide.case_id == profile.case_id]
        if profile.id in used or not of_case:
            continue
        # The slide that this profile was taken closest to is the one it might have stood for.
        slide = max(of_case, key=lambda slide: closeness(slide, profile))
        best = by_closeness(slide, [other for other in profiles if other.case_id == profile.case_id])[0]
        yield {"id": profile.id, "reason": _why_not(profile, best, slide)}


def _why_not(profile: Specimen, best: Specimen, slide: Specimen) -> str:
    if closeness(slide, profile) < closeness(slide, best):
        return "left out: another profile of the case was taken closer to its slides"
    if preservation_rank(profile) > preservation_rank(best):
        kept = profile.preservation or "of unknown preservation"
        return f"left out: it is {kept}, and one as close that is {best.preservation or 'not'} is used"
    if profile.path and reads_of(profile.path) < reads_of(best.path):
        return "left out: another aliquot as close has more reads"
    return "left out: another profile as close stands first by its id"


def pair_slides(slides: list[Specimen], profiles: list[Specimen], cohort: str, *, pairs: PairingOfSlides) -> list[Row]:
    """Pair slides with the profiles of their case; what has no counterpart is a row with an empty place.

    Parameters
    ----------
    slides, profiles
        Slides and profiles of one cohort.
    cohort
        Its name.
    pairs
        ``closest``: a slide stands once, with the profile that comes first in `by_closeness`. ``all``: with every
        profile of its case.
    """
    rows: list[Row] = []
    names = Counter(slide.id for slide in slides)
    for slide in slides:
        of_case = by_closeness(slide, [profile for profile in profiles if profile.case_id == slide.case_id])
        # Two files of one name, from two downloads: the folder tells them apart.
        slide_id = slide.id if names[slide.id] == 1 else f"{slide.id}_{Path(slide.path).parent.name}"
        paired: Sequence[Specimen | None] = of_case if pairs == "all" else of_case[:1]
        for profile in paired or [None]:
            sample_id = f"{slide_id}_{profile.id}" if pairs == "all" and profile else slide_id
            rows.append(_row(sample_id, slide_id, slide, profile, cohort))
    with_slide = {slide.case_id for slide in slides}
    rows += [_row(profile.id, "", None, profile, cohort) for profile in profiles if profile.case_id not in with_slide]
    return rows


def _row(sample_id: str, slide_id: str, slide: Specimen | None, profile: Specimen | None, cohort: str) -> Row:
    nothing = Specimen("", "", "")
    either, slide, profile = slide or profile or nothing, slide or nothing, profile or nothing
    one_tumour = not (slide.id and profile.id) or slide.tumour_id == profile.tumour_id
    return {
        "sample_id": sample_id,
        "case_id": either.case_id,
        "cohort": cohort,
        "slide": slide.path,
        "expression_id": profile.id,
        "slide_id": slide_id,
        "mpp": slide.mpp,
        "site": either.site,
        # The tumour of both: a slide of the primary and a profile of the recurrence share only the case.
        "tumour_id": either.tumour_id if one_tumour else "",
        "slide_specimen_id": slide.specimen_id,
        "slide_block_id": slide.block_id,
        "expression_specimen_id": profile.specimen_id,
        "expression_block_id": profile.block_id,
    }
