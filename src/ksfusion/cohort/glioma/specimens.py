"""The specimens behind slides and expression profiles, and which profile belongs to which slide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
    """

    id: str
    case_id: str
    tumour_id: str
    block_id: str = ""
    specimen_id: str = ""
    site: str = ""
    path: str = ""
    mpp: str = ""


def closeness(slide: Specimen, profile: Specimen) -> int:
    """Return how closely a slide and a profile of one case were taken: 3 specimen, 2 block, 1 tumour, 0 case alone."""
    for level, name in ((3, "specimen_id"), (2, "block_id"), (1, "tumour_id")):
        if getattr(slide, name) and getattr(slide, name) == getattr(profile, name):
            return level
    return 0


def pair_slides(slides: list[Specimen], profiles: list[Specimen], cohort: str, *, pairs: PairingOfSlides) -> list[Row]:
    """Pair slides with the profiles of their case; what has no counterpart is a row with an empty place.

    Parameters
    ----------
    slides, profiles
        Those of one cohort.
    cohort
        Its name.
    pairs
        ``closest``: a slide stands once, with the profile taken closest to it (specimen, block, tumour, case; of equal
        ones the first by id). ``all``: with every profile of its case.
    """
    rows: list[Row] = []
    names = Counter(slide.id for slide in slides)
    for slide in slides:
        of_case = [profile for profile in profiles if profile.case_id == slide.case_id]
        of_case.sort(key=lambda profile: (-closeness(slide, profile), profile.id))
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
