"""The stain of a slide, fitted on the tissue of its tiles, or in its place the target's."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ksfusion.slides.config import Reading
from ksfusion.slides.reading.slide import Slide, open_source
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.stain.profiles import Profile
from ksfusion.slides.stain.reinhard import ColourProfile, fit_colour
from ksfusion.slides.stain.target import POOLED_PIXELS
from ksfusion.slides.stain.vahadane import (
    DegenerateStain,
    StainProfile,
    evenly,
    fit_stain,
    max_concentration,
    tissue_pixels,
    unlike_h_and_e,
)
from ksfusion.slides.tiles.sampling import sample_patches

TILES_PER_SLIDE = 64
# A stain weaker than this share of the target's is not amplified further: noise would be.
WEAKEST_STAIN = 0.2

Status = Literal["ok", "fallback"]


def fit_slide_stain(
    source: SlideSource, corners: np.ndarray, settings: Reading, method: str, target: Profile
) -> tuple[Status, str, Profile]:
    """Fit the stain of a slide on the tissue of up to 64 of its tiles; runs in a worker process.

    Parameters
    ----------
    source
        The slide's file.
    corners : numpy.ndarray of shape (tiles, 2)
        Level-0 corners of its tiles.
    settings
        The settings of reading.
    method
        ``vahadane``, ``macenko`` or ``reinhard``.
    target
        The profile that slides are brought to, of that method.

    Returns
    -------
    status : str
        ``fallback`` where the slide has no two distinct stains, others than haematoxylin and eosin (where the target
        has these), or one of less than a fifth of the target's strength.
    reason : str
        The reason of a fallback; empty else.
    profile : StainProfile or ColourProfile
        The slide's; of a fallback the target's vectors, and the slide's strengths, each at least that fifth.

    Raises
    ------
    SlideError
        If the slide cannot be read.
    """
    with open_source(source, settings) as slide:
        pixels = _pool_tissue(slide, corners, settings)
    try:
        if isinstance(target, ColourProfile):
            return "ok", "", fit_colour(pixels)
        return "ok", "", fit_two_stains(pixels, method, target)
    except DegenerateStain as error:
        return "fallback", str(error), fallback(pixels, target)


def fit_two_stains(pixels: np.ndarray, method: str, target: StainProfile) -> StainProfile:
    """Fit the stains of a slide, and refuse what cannot be brought to the target's.

    Parameters
    ----------
    pixels : numpy.ndarray of shape (n, 3), uint8
        Pixels of its tissue.
    method
        ``vahadane`` or ``macenko``.
    target
        The stain that slides are brought to.

    Raises
    ------
    DegenerateStain
        If there are no two stains, others than the target's kind, or one is too weak.
    """
    profile = fit_stain(pixels, method)
    unlike = unlike_h_and_e(profile.matrix)
    if unlike and not unlike_h_and_e(target.matrix):
        raise DegenerateStain(unlike)
    share = profile.max_concentration / target.max_concentration
    if share.min() < WEAKEST_STAIN:
        which = ("first", "second")[int(share.argmin())]
        raise DegenerateStain(f"the {which} stain is too weak: {share.min():.2f} of the target's strength")
    return profile


def fallback(pixels: np.ndarray, target: Profile) -> Profile:
    """Return the target's stain vectors with the slide's own strengths, where it has any."""
    if isinstance(target, ColourProfile):
        return ColourProfile(target.mean, target.std, len(pixels))
    maxima = max_concentration(pixels, target.matrix) if len(pixels) else target.max_concentration
    return StainProfile(target.matrix, np.maximum(maxima, WEAKEST_STAIN * target.max_concentration), len(pixels))


def _pool_tissue(slide: Slide, corners: np.ndarray, settings: Reading) -> np.ndarray:
    """Return (n, 3) uint8 pixels of tissue from tiles spread over a slide."""
    chosen = corners[sample_patches(len(corners), min(len(corners), TILES_PER_SLIDE))]
    pooled = []
    for x, y in chosen.tolist():
        tissue = tissue_pixels(slide.read(x, y, settings.patch_px, settings.mpp))
        # No tile needs to bring more than all together; most bring less, and are thinned when all are counted.
        pooled.append(evenly(tissue, POOLED_PIXELS))
    return evenly(np.concatenate(pooled), POOLED_PIXELS)
