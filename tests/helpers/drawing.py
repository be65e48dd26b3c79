"""Drawn slides whose outline, marks and folds are known."""

import cv2
import numpy as np

# Haematoxylin and eosin as A. C. Ruifrok and D. A. Johnston, Anal. Quant. Cytol. Histol. 23, 291 (2001), give them.
STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
GLASS = (243, 242, 244)
INKS = {"black": (25, 25, 28), "blue": (35, 60, 160), "green": (30, 130, 80), "red": (205, 25, 35)}


def ellipse(shape, centre, axes, angle=0.0):
    """Return a mask; centre and axes are shares of the width."""
    mask = np.zeros(shape, dtype=np.uint8)
    width = shape[1]
    cv2.ellipse(
        mask,
        tuple(round(value * width) for value in centre),
        tuple(round(value * width) for value in axes),
        angle, 0, 360, 1, -1,
    )  # fmt: skip
    return mask > 0


def optical_density(shape, mpp, strength=1.0, seed=0):
    """Return (height, width, 3) of stained tissue: neuropil of uneven density, and nuclei of 8 um."""
    random = np.random.default_rng(seed)
    coarse = cv2.resize(random.normal(1, 0.15, (12, 12)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(random.normal(0, 1, shape), (0, 0), 1.0 / mpp + 0.1)
    eosin = 0.35 * coarse.clip(0.5) * (1 + 0.25 * grain / grain.std())
    haematoxylin = np.zeros(shape, dtype=np.uint8)
    for x, y in random.integers(0, np.array(shape)[::-1], (int(1500 * shape[0] * shape[1] * mpp**2 * 1e-6), 2)):
        cv2.circle(haematoxylin, (int(x), int(y)), max(1, round(4 / mpp)), 1, -1, cv2.LINE_8)
    amounts = np.stack([0.1 + 0.9 * haematoxylin, eosin.clip(0.02)], axis=-1)
    return strength * amounts @ STAINS


def slide_of(mask, density, seed=0):
    """Return (height, width, 3) uint8 of tissue on glass, with a camera's noise."""
    transmitted = np.exp(-density * mask[..., None]) * GLASS
    noise = np.random.default_rng(seed).normal(0, 1.5, mask.shape)[..., None]
    return np.rint(transmitted + noise).clip(0, 255).astype(np.uint8)


def stroke(rgb, points, width_px, colour):
    """Draw a pen's stroke through points that are shares of the width; return where it is."""
    mark = np.zeros(rgb.shape[:2], dtype=np.uint8)
    line = np.rint(np.array(points) * rgb.shape[1]).astype(np.int32)
    cv2.polylines(mark, [line], False, 1, width_px, cv2.LINE_8)
    rgb[mark > 0] = colour
    return mark > 0


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def share_per_tile(truth, x, y, side):
    """Return what share of each tile is true; corners and side in px of ``truth``."""
    whole = cv2.integral(truth.astype(np.uint8))
    left, top = np.rint(x).astype(int), np.rint(y).astype(int)
    right, bottom = left + round(side), top + round(side)
    return (whole[bottom, right] - whole[top, right] - whole[bottom, left] + whole[top, left]) / round(side) ** 2
