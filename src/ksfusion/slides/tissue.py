"""Where a slide holds tissue."""

from __future__ import annotations

import numpy as np

# Otsu's threshold parts two classes even where there is one, so it is kept between what glass can reach and what
# tissue falls short of. Chroma: the spread of the channels, 0 to 255. Density: the mean optical density.
CHROMA_RANGE = (14.0, 28.0)
DENSITY_RANGE = (0.06, 0.15)
SMALLEST_PX = 128
CLOSED_GAP_PX = 5


def tissue_mask(rgb: np.ndarray) -> np.ndarray:
    """Find tissue in a thumbnail: coloured and dense at once.

    Glass is neither; pen, dust and the edge of a coverslip are dense but grey. Holes in the tissue stay out.

    Parameters
    ----------
    rgb : numpy.ndarray of shape (height, width, 3), uint8
        A slide at about 8 um/px.

    Returns
    -------
    numpy.ndarray of shape (height, width), bool
    """
    import cv2

    smooth = cv2.GaussianBlur(rgb, (3, 3), 0)
    chroma = smooth.max(axis=2).astype(np.float32) - smooth.min(axis=2)
    density = -np.log(np.maximum(smooth, 1).astype(np.float32) / 255).mean(axis=2)
    mask = (chroma > _otsu(chroma, CHROMA_RANGE)) & (density > _otsu(density, DENSITY_RANGE))

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (CLOSED_GAP_PX, CLOSED_GAP_PX))
    # Closing at the rim of the image would count what lies outside as background.
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), *[CLOSED_GAP_PX] * 4, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, disc)
    opened = opened[CLOSED_GAP_PX:-CLOSED_GAP_PX, CLOSED_GAP_PX:-CLOSED_GAP_PX]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= SMALLEST_PX
    large[0] = False
    return large[labels]


def _otsu(values: np.ndarray, bounds: tuple[float, float]) -> float:
    """Return Otsu's threshold of a channel, within bounds."""
    import cv2

    top = max(float(values.max()), 1e-6)
    scaled = np.round(values * (255 / top)).astype(np.uint8)
    threshold, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(np.clip(threshold * top / 255, *bounds))
