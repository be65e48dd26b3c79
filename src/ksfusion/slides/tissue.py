"""Where a slide holds tissue, and where it holds ink."""

from __future__ import annotations

from collections.abc import Iterator

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
# Thumbnails are worked on in strips of about so many px, so that a large one needs few bytes a px.
STRIP_PIXELS = 1 << 20


def glass_colour(rgb: np.ndarray) -> np.ndarray:
    """Return the colour of empty glass in a thumbnail, as (3,) float; white where none is seen."""
    brightness = sum(np.bincount(_brightness(colours), minlength=766) for colours in _glass_candidates(rgb))
    if brightness.sum() < max(1, LEAST_GLASS * rgb.shape[0] * rgb.shape[1]):
        return np.full(3, 255.0)
    # Pale tissue is among them; the brighter half is not.
    least = _median_of_counts(brightness)
    counts = np.zeros((3, 256), dtype=np.int64)
    for colours in _glass_candidates(rgb):
        bright = colours[_brightness(colours) >= least]
        counts += [np.bincount(channel, minlength=256) for channel in bright.T]
    return np.array([_median_of_counts(channel) for channel in counts])


def _glass_candidates(rgb: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the colours (n, 3) that may be glass, strip by strip."""
    for rows in _strips(rgb.shape):
        darkest, brightest = _extremes(rgb[rows])
        yield rgb[rows][(darkest >= DARKEST_GLASS) & (brightest - darkest <= GREYEST_GLASS)]


def _brightness(colours: np.ndarray) -> np.ndarray:
    return colours.sum(axis=1, dtype=np.int32)


def _median_of_counts(counts: np.ndarray) -> float:
    """Return the median of whole numbers that occur so many times each."""
    cumulated = np.cumsum(counts)
    middle = [(cumulated[-1] - 1) // 2, cumulated[-1] // 2]
    return float(np.searchsorted(cumulated, middle, side="right").mean())


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield the rows of an image, some at a time."""
    step = max(1, STRIP_PIXELS // max(1, shape[1]))
    return (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def _with_margin(rows: slice, margin: int, height: int) -> tuple[slice, slice]:
    """Return rows with up to ``margin`` more on either side, and where among these the first are."""
    wider = slice(max(rows.start - margin, 0), min(rows.stop + margin, height))
    return wider, slice(rows.start - wider.start, rows.stop - wider.start)


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

    saturation, density, ink = _absorbed(rgb, glass_colour(rgb))
    mask = saturation > np.float16(_otsu(saturation, SATURATION_RANGE))
    del saturation
    mask &= density > np.float16(_otsu(density, DENSITY_RANGE))
    # The rim of a stroke is a mixture of ink and glass.
    mask &= cv2.dilate(ink, np.ones((3, 3), np.uint8)) == 0
    del ink
    mask = _without_rim(mask, density)
    del density

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (CLOSED_GAP_PX, CLOSED_GAP_PX))
    # Closing at the rim of the image would count what lies outside as background.
    padded = cv2.copyMakeBorder(mask.view(np.uint8), *[CLOSED_GAP_PX] * 4, cv2.BORDER_REPLICATE)
    del mask
    cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc, dst=padded)
    cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc, dst=padded)
    opened = np.ascontiguousarray(padded[CLOSED_GAP_PX:-CLOSED_GAP_PX, CLOSED_GAP_PX:-CLOSED_GAP_PX])
    del padded
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= SMALLEST_PX
    large[0] = False
    return large[labels]


def _absorbed(rgb: np.ndarray, glass: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the spread of the optical density's channels, their mean (both float16), and where ink is (uint8)."""
    import cv2

    saturation, density = (np.empty(rgb.shape[:2], dtype=np.float16) for _ in range(2))
    ink = np.empty(rgb.shape[:2], dtype=np.uint8)
    for rows in _strips(rgb.shape):
        wider, inner = _with_margin(rows, 1, len(rgb))
        absorbed = optical_density(cv2.GaussianBlur(rgb[wider], (3, 3), 0)[inner], glass)
        least, most = _extremes(absorbed)
        saturation[rows] = most - least
        density[rows] = cv2.transform(absorbed, np.full((1, 3), 1 / 3))
        ink[rows] = ink_mask(absorbed)
    return saturation, density, ink


def _without_rim(mask: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Leave out what is much paler than the mean of the mask round it."""
    import cv2

    kept, window = np.empty_like(mask), (RIM_WINDOW_PX, RIM_WINDOW_PX)
    for rows in _strips(mask.shape):
        wider, inner = _with_margin(rows, RIM_WINDOW_PX, len(mask))
        inside, dense = mask[wider].astype(np.float32), density[wider].astype(np.float32)
        share, total = cv2.blur(inside, window), cv2.blur(dense * inside, window)
        kept[rows] = mask[rows] & (dense * share > RIM_DENSITY * total)[inner]
    return kept


def _extremes(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest channel; NumPy is slow along an axis of three."""
    red, green, blue = (image[..., channel] for channel in range(3))
    return np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)


def _otsu(values: np.ndarray, bounds: tuple[float, float]) -> float:
    """Return Otsu's threshold of a channel, within bounds."""
    import cv2

    top = max(float(values.max()), 1e-6)
    scaled = np.empty(values.shape, dtype=np.uint8)
    for rows in _strips(values.shape):
        scaled[rows] = np.round(values[rows].astype(np.float32) * (255 / top))
    threshold, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU, dst=scaled)
    return float(np.clip(threshold * top / 255, *bounds))
