"""Where a slide holds tissue, and where it holds ink."""

from __future__ import annotations

import cv2
import numpy as np

from ksfusion.slides.reading.disk_image import DiskImage, strips

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
# Tinted glass is known by the slide's border, a fiftieth of its shorter side deep: most of it, or three corners, are of
# one colour and smooth, as tissue is not at this scale (a px differs by a few levels at most from the mean of the nine
# round it). Nothing much brighter is on the slide, and something darker; tissue out of focus has neither.
BORDER, LEAST_OF_BORDER, LEAST_OF_CORNER, CORNERS = 0.02, 0.6, 0.8, 3
SMOOTH, ALIKE, DARKEST_TINTED = 4, 6, 120
MUCH_BRIGHTER, MOST_BRIGHTER, MUCH_DARKER, LEAST_DARKER = 10, 0.01, 20, 0.005
COLOUR_BINS, COUNTED_PIXELS = 32, 100_000
# Thumbnails are worked on in strips, whose margin is more rows than a px of the mask depends on: 12 by the rim, 4 each
# by closing and opening, 2 by the blur and the ink.
STRIP_MARGIN = 32


def glass_colour(rgb: np.ndarray | DiskImage, *, scanned: tuple[slice, slice] | None = None) -> np.ndarray:
    """Return the colour of empty glass in a thumbnail, as (3,) float; white where none is seen.

    It is nearly neutral, or else the colour of the slide's own border and corners, where these are glass.

    Parameters
    ----------
    rgb : numpy.ndarray of shape (height, width, 3), uint8
        A slide at about 8 um/px, or one in a file.
    scanned
        Rows and columns that were scanned; all by default.
    """
    tinted = _tinted_glass(rgb, scanned or (slice(0, rgb.shape[0]), slice(0, rgb.shape[1])))
    return _neutral_glass(rgb) if tinted is None else tinted


def _tinted_glass(rgb: np.ndarray | DiskImage, scanned: tuple[slice, slice]) -> np.ndarray | None:
    """Return the colour of the glass along the border of what was scanned; None where that is neutral or no glass."""
    border = _border(rgb, scanned)
    pixels = np.concatenate([band.reshape(-1, 3) for band in border])
    pixels = pixels[:: 1 + len(pixels) // COUNTED_PIXELS].astype(np.int32)
    bins = (pixels // (256 // COLOUR_BINS)) @ np.array([COLOUR_BINS**2, COLOUR_BINS, 1])
    colour = np.median(pixels[bins == np.bincount(bins).argmax()], axis=0)
    if colour.max() - colour.min() <= GREYEST_GLASS or colour.min() < DARKEST_TINTED:
        return None
    glass = [_is_glass(band, colour) for band in border]
    whole = np.concatenate([band.ravel() for band in glass])
    depth = min(glass[0].shape)
    # The first two bands run along the whole of the upper and lower side.
    ends = [end for band in glass[:2] for end in (band[:, :depth], band[:, -depth:])]
    if whole.mean() < LEAST_OF_BORDER and sum(end.mean() >= LEAST_OF_CORNER for end in ends) < CORNERS:
        return None
    brighter = darker = 0
    for rows in strips(rgb.shape):
        brightness = rgb[rows].mean(axis=2)
        # White is what readers pad with.
        brighter += int(np.count_nonzero((brightness > colour.mean() + MUCH_BRIGHTER) & (brightness < 255)))
        darker += int(np.count_nonzero(brightness < colour.mean() - MUCH_DARKER))
    pixels_of_slide = (scanned[0].stop - scanned[0].start) * (scanned[1].stop - scanned[1].start)
    if brighter > MOST_BRIGHTER * pixels_of_slide or darker < LEAST_DARKER * pixels_of_slide:
        return None
    return colour


def _border(rgb: np.ndarray | DiskImage, scanned: tuple[slice, slice]) -> list[np.ndarray]:
    """Return the bands along the upper, lower, left and right border, as (rows, columns, 3) uint8 each."""
    rows, columns = scanned
    height, width = rows.stop - rows.start, columns.stop - columns.start
    depth = max(1, min(round(BORDER * min(height, width)), height, width))
    sides: list[list[np.ndarray]] = [[], []]
    for strip in strips(rgb.shape):
        of_strip = slice(max(strip.start, rows.start), min(strip.stop, rows.stop))
        if of_strip.start < of_strip.stop:
            part = rgb[of_strip][:, columns]
            sides[0].append(part[:, :depth])
            sides[1].append(part[:, -depth:])
    upper, lower = slice(rows.start, rows.start + depth), slice(rows.stop - depth, rows.stop)
    return [rgb[upper][:, columns], rgb[lower][:, columns], *(np.concatenate(side) for side in sides)]


def _is_glass(band: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return where a band of the border is of a colour, and smooth."""
    values = band.astype(np.float32)
    rough = np.abs(values - cv2.blur(values, (3, 3))).max(axis=2)
    return (np.abs(values - colour).max(axis=2) <= ALIKE) & (rough <= SMOOTH)


def _neutral_glass(rgb: np.ndarray | DiskImage) -> np.ndarray:
    """Return the colour of glass that is nearly neutral, the brighter half of what may be; white where none is seen."""
    levels = 256 - DARKEST_GLASS
    counts = np.zeros(levels**3, dtype=np.int64)
    for rows in strips(rgb.shape):
        strip = rgb[rows]
        darkest, brightest = _extremes(strip)
        candidates = strip[(darkest >= DARKEST_GLASS) & (brightest - darkest <= GREYEST_GLASS)]
        red, green, blue = candidates.T.astype(np.int32) - DARKEST_GLASS
        counts += np.bincount((red * levels + green) * levels + blue, minlength=counts.size)
    if counts.sum() < max(1, LEAST_GLASS * rgb.shape[0] * rgb.shape[1]):
        return np.full(3, 255.0)
    colours = np.stack(np.unravel_index(np.flatnonzero(counts), (levels,) * 3)) + DARKEST_GLASS
    counts, brightness = counts[counts > 0], colours.sum(axis=0)
    # Pale tissue is among them; the brighter half is not.
    bright = brightness >= _median_of_counts(np.bincount(brightness, counts))
    return np.array([_median_of_counts(np.bincount(channel[bright], counts[bright])) for channel in colours])


def _median_of_counts(counts: np.ndarray) -> float:
    """Return the median of whole numbers that occur so many times each."""
    cumulated = np.cumsum(counts)
    middle = [(cumulated[-1] - 1) // 2, cumulated[-1] // 2]
    return float(np.searchsorted(cumulated, middle, side="right").mean())


def _with_margin(rows: slice, margin: int, height: int) -> tuple[slice, slice]:
    """Return rows with up to ``margin`` more on either side, and where among these the first are."""
    wider = slice(max(rows.start - margin, 0), min(rows.stop + margin, height))
    return wider, slice(rows.start - wider.start, rows.stop - wider.start)


def optical_density(rgb: np.ndarray, glass: np.ndarray) -> np.ndarray:
    """Return the absorbance of each channel (natural logarithm) relative to glass, not negative, as float32."""
    levels = np.maximum(np.arange(256), 1)[:, None]
    table = np.maximum(np.log(np.asarray(glass) / levels), 0).astype(np.float32)
    return cv2.LUT(rgb, table[None])


def ink_mask(density: np.ndarray) -> np.ndarray:
    """Find what absorbs light as neither haematoxylin, eosin nor blood do.

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
    # Plane by plane it takes a third of the time.
    red, green, blue = cv2.split(density) if density.ndim == 3 else np.moveaxis(density, -1, 0)
    return (red > 1.2 * green + 0.05) | (blue > 0.85 * green + 0.05) | ((green > 1.6) & (red < 0.25 * green))


def tissue_mask(rgb: np.ndarray | DiskImage, *, scanned: tuple[slice, slice] | None = None) -> np.ndarray:
    """Find tissue in a thumbnail: coloured and dense at once, and not ink.

    Glass is neither; dust and the edge of a coverslip are grey. Holes in the tissue stay out, and so does what lies
    under opaque ink.

    Parameters
    ----------
    rgb : numpy.ndarray of shape (height, width, 3), uint8
        A slide at about 8 um/px; or one in a file (`Slide.thumbnail_on_disk`), of which a few rows at a time are read.
    scanned
        Rows and columns that were scanned, by whose border tinted glass is known; all by default.

    Returns
    -------
    numpy.ndarray of shape (height, width), bool
    """
    glass = glass_colour(rgb, scanned=scanned)
    thresholds = _thresholds(rgb, glass)
    mask = np.empty(rgb.shape[:2], dtype=np.uint8)
    for rows in strips(rgb.shape):
        wider, inner = _with_margin(rows, STRIP_MARGIN, len(mask))
        mask[rows] = _tissue(rgb[wider], glass, *thresholds)[inner]
    return _without_small_objects(mask)


def _thresholds(rgb: np.ndarray | DiskImage, glass: np.ndarray) -> tuple[np.float16, np.float16]:
    """Return Otsu's thresholds of the spread and the mean of the channels' optical density."""
    saturations, densities = (np.zeros(1 << 16, dtype=np.int64) for _ in range(2))
    for rows in strips(rgb.shape):
        wider, inner = _with_margin(rows, 1, rgb.shape[0])
        for counts, values in zip((saturations, densities), _absorbed(rgb[wider], glass)[:2], strict=True):
            # There are few enough numbers of 16 bits to count each.
            counts += np.bincount(values[inner].view(np.uint16).ravel(), minlength=1 << 16)
    return np.float16(_otsu(saturations, SATURATION_RANGE)), np.float16(_otsu(densities, DENSITY_RANGE))


def _tissue(rgb: np.ndarray, glass: np.ndarray, least_saturation: np.float16, least_density: np.float16) -> np.ndarray:
    """Return the mask of a strip, as uint8; small objects are in it."""
    saturation, density, ink = _absorbed(rgb, glass)
    # The rim of a stroke is a mixture of ink and glass.
    clean = cv2.dilate(ink, np.ones((3, 3), np.uint8)) == 0
    mask = (saturation > least_saturation) & (density > least_density) & clean
    mask = _without_rim(mask, density)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (CLOSED_GAP_PX, CLOSED_GAP_PX))
    # Closing at the rim of the image would count what lies outside as background.
    gap = CLOSED_GAP_PX
    padded = cv2.copyMakeBorder(mask.view(np.uint8), gap, gap, gap, gap, cv2.BORDER_REPLICATE)
    for operation in (cv2.MORPH_CLOSE, cv2.MORPH_OPEN):
        padded = cv2.morphologyEx(padded, operation, disc)
    return padded[gap:-gap, gap:-gap]


def _absorbed(rgb: np.ndarray, glass: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the spread of the optical density's channels, their mean (both float16), and where ink is (uint8)."""
    absorbed = optical_density(cv2.GaussianBlur(rgb, (3, 3), 0), glass)
    least, most = _extremes(absorbed)
    density = cv2.transform(absorbed, np.full((1, 3), 1 / 3))
    return (most - least).astype(np.float16), density.astype(np.float16), ink_mask(absorbed).view(np.uint8)


def _without_rim(mask: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Leave out what is much paler than the mean of the mask round it."""
    inside, dense, window = mask.astype(np.float32), density.astype(np.float32), (RIM_WINDOW_PX, RIM_WINDOW_PX)
    share, total = cv2.blur(inside, window), cv2.blur(dense * inside, window)
    return mask & (dense * share > RIM_DENSITY * total)


def _without_small_objects(mask: np.ndarray) -> np.ndarray:
    """Leave out objects of fewer than ``SMALLEST_PX``; labels of all objects would take four bytes a px."""
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        first = contour[0, 0].tolist()
        # The contour of a hole runs over its object, which is done by then or will be.
        if mask[first[1], first[0]] == 1 and cv2.floodFill(mask, None, first, 2, flags=8)[0] < SMALLEST_PX:
            cv2.floodFill(mask, None, first, 0, flags=8)
    return mask == 2


def _extremes(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest channel; NumPy is slow along an axis of three, and from one px to the next."""
    red, green, blue = cv2.split(image)
    return np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)


def _otsu(counts: np.ndarray, bounds: tuple[float, float]) -> float:
    """Return Otsu's threshold, of 256 levels, within bounds.

    Parameters
    ----------
    counts : numpy.ndarray of shape (65536,)
        Number of times that each float16 occurs, by its bits.
    bounds
        Lowest and highest threshold to return.
    """
    occurring = np.flatnonzero(counts)
    values = occurring.astype(np.uint16).view(np.float16).astype(np.float32)
    top = max(float(values.max()), 1e-6)
    levels = np.bincount(np.round(values * (255 / top)).astype(int), counts[occurring], minlength=256)
    below = np.cumsum(levels) / levels.sum()
    sums = np.cumsum(levels * np.arange(256)) / levels.sum()
    between = (sums[-1] * below - sums) ** 2 / np.maximum(below * (1 - below), 1e-12)
    return float(np.clip(np.argmax(between) * top / 255, *bounds))
