"""Sections drawn for the tests of tiling."""

import cv2
import numpy as np
from slide_files import GLASS, TISSUE

SETTINGS = {
    "reader": "auto",
    "icc": "none",
    "mpp": 0.5,
    "patch_px": 224,
    "min_tissue": 0.5,
    "min_tiles": 1,
    "max_upsampling": 1.1,
    "batches": 1,
    "timeout": 60,
}


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
