"""Sections drawn for the tests of tiling."""

import cv2
import numpy as np
from slide_files import GLASS, TISSUE

from ksfusion.slides.config import Patches, SamplePatchesSettings, TileSlidesSettings, Tiling
from ksfusion.stages.sample_patches import sample_patches
from ksfusion.stages.tile_slides import tile_slides

SETTINGS = Tiling(min_tiles=1, batches=1, timeout=60)


def tile(samples, output, *, batch=0, masks=(), **changes):
    """Tile a batch, with other settings than `SETTINGS` where these are given."""
    settings = TileSlidesSettings(slides=SETTINGS.model_copy(update=changes))
    tile_slides(samples, output, batch=batch, masks=masks, settings=settings)


def sample(tiles, output, *, count=4, order="raster", exclude=(), min_tiles=1):
    """Choose the patches of a batch."""
    patches = Patches(count=count, order=order)
    sample_patches(
        tiles,
        output,
        settings=SamplePatchesSettings(patches=patches, exclude=list(exclude), min_tiles=min_tiles),
    )


def draw_section(side_um, mpp, seed=0):
    """Draw an ellipse of textured tissue with a hole on noisy glass; return the slide and its true mask."""
    random = np.random.default_rng(seed)
    side = round(side_um / mpp)
    truth = np.zeros((side, side), dtype=np.uint8)
    cv2.ellipse(truth, (side // 2, side // 2), (round(0.42 * side), round(0.3 * side)), 20, 0, 360, 1, -1)
    cv2.circle(truth, (round(0.55 * side), round(0.5 * side)), round(0.08 * side), 0, -1)
    noise = random.normal(0, 1, (side, side, 1))
    tissue = np.array(TISSUE) + 18 * noise
    glass = np.array(GLASS) + 2 * noise
    rgb = np.where(truth[..., None] > 0, tissue, glass).clip(0, 255).astype(np.uint8)
    return rgb, truth.astype(bool)
