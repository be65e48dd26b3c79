"""Where a slide holds tissue, and where it holds ink."""

from __future__ import annotations

import numpy as np

# Otsu's threshold parts two classes even where there is one, so it is kept between what glass can reach and what
# pale tissue falls short of. Both are optical densities: the spread of the channels, and their mean.
SATURATION_RANGE = (0.04, 0.085)
DENSITY_RANGE = (0.02, 0.045)
# The rim of tissue, a mixture of it and glass, is cut off where it is this much paler than the tissue within 100 um.
RIM_DENSITY, RIM_WINDOW_PX = 0.4, 25
SMALLEST_PX = 128
CLOSED_GAP_PX = 5
# Glass is bright and nearly neutral; where hardly anything is, the white that the reader pads with stands for it.
DARKEST_GLASS, GREYEST_GLASS, LEAST_GLASS = 200, 20, 0.01


def glass_colour(rgb: np.ndarray) -> np.ndarray:
    """Return the colour of empty glass in a thumbnail, as (3,) float; white where none is seen."""
    darkest, brightest = _extremes(rgb)
    candidates = rgb[(darkest >= DARKEST_GLASS) & (brightest - darkest <= GREYEST_GLASS)]
    if len(candidates) < LEAST_GLASS * rgb.shape[0] * rgb.shape[1]:
        return np.full(3, 255.0)
    # Pale tissue is among them; the brighter half is not.
    brightness = candidates.sum(axis=1, dtype=np.int32)
    return np.median(candidates[brightness >= np.median(brightness)], axis=0).astype(np.float64)


def optical_density(rgb: np.ndarray, glass: np.ndarray) -> np.ndarray:
    """Return the absorbance of each channel (natural logarithm) relative to glass, not negative, as float32."""
    import cv2

    levels = np.maximum(np.arange(256), 1)[:, None]
    table = np.maximum(np.log(np.asarray(glass) / levels), 0).astype(np.float32)
    return cv2.LUT(rgb, table[None])


def ink_mask(density: np.ndarray) -> np.ndarray:
    """Find what absorbs light as neither hematoxylin, eosin nor blood do.

    All three absorb green the most. Blue and green ink absorb more red than green; red ink as much blue as green, or
    green alone and more of it than stained tissue; black ink, dark dust and the rim of a coverslip all alike.

    Parameters
    ----------
    density : numpy.ndarray of shape (..., 3)
        Optical density relative to glass, of pixels of about 8 um.

    Returns
    -------
    numpy.ndarray of shape (...), bool
    """
    red, green, blue = (density[..., channel] for channel in range(3))
    return (red > 1.2 * green + 0.05) | (blue > 0.85 * green + 0.05) | ((green > 1.6) & (red < 0.25 * green))


def tissue_mask(rgb: np.ndarray) -> np.ndarray:
    """Find tissue in a thumbnail: coloured and dense at once, and not ink.

    Glass is neither; dust and the edge of a coverslip are grey. Holes in the tissue stay out, and so does what lies
    under opaque ink.

    Parameters
    ----------
    rgb : numpy.ndarray of shape (height, width, 3), uint8
        A slide at about 8 um/px.

    Returns
    -------
    numpy.ndarray of shape (height, width), bool
    """
    import cv2

    absorbed = optical_density(cv2.GaussianBlur(rgb, (3, 3), 0), glass_colour(rgb))
    least, most = _extremes(absorbed)
    saturation, density = most - least, cv2.transform(absorbed, np.full((1, 3), 1 / 3))
    # The rim of a stroke is a mixture of ink and glass.
    ink = cv2.dilate(ink_mask(absorbed).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    mask = (saturation > _otsu(saturation, SATURATION_RANGE)) & (density > _otsu(density, DENSITY_RANGE)) & ~ink
    window = (RIM_WINDOW_PX, RIM_WINDOW_PX)
    mask &= density * cv2.blur(mask.astype(np.float32), window) > RIM_DENSITY * cv2.blur(density * mask, window)

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


def _extremes(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest channel; NumPy is slow along an axis of three."""
    red, green, blue = (image[..., channel] for channel in range(3))
    return np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)


def _otsu(values: np.ndarray, bounds: tuple[float, float]) -> float:
    """Return Otsu's threshold of a channel, within bounds."""
    import cv2

    top = max(float(values.max()), 1e-6)
    scaled = np.round(values * (255 / top)).astype(np.uint8)
    threshold, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(np.clip(threshold * top / 255, *bounds))
