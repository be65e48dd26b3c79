"""Which tiles stand for a slide, and where each sits on the square map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def sample_patches(n_tiles: int, count: int = 2500) -> np.ndarray:
    """Choose tiles evenly; where there are too few, repeat the list (the paper's biological repeat).

    With n tiles and c patches: n < c gives the list floor(c / n) times, then its first c mod n; n >= c gives tile
    round_half_even(i n / c) for i = 0 .. c - 1.

    Parameters
    ----------
    n_tiles
        The number of tiles of the slide.
    count
        The number of patches to choose.

    Returns
    -------
    numpy.ndarray of shape (count,), int64
        Indices into the tiles, in list order.

    Raises
    ------
    ValueError
        If there are no tiles, or ``count`` is not positive.
    """
    if n_tiles < 1 or count < 1:
        raise ValueError(f"cannot choose {count} patches from {n_tiles} tiles")
    position = np.arange(count, dtype=np.int64)
    if n_tiles < count:
        return position % n_tiles
    # In whole numbers: a quotient rounded in floating point can fall on the wrong side of a half.
    quotient, remainder = np.divmod(position * n_tiles, count)
    up = (2 * remainder > count) | ((2 * remainder == count) & (quotient % 2 == 1))
    return quotient + up


def hilbert_distance(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return how far along a Hilbert curve cells lie, on the smallest power-of-two square that holds them all.

    Parameters
    ----------
    column, row : numpy.ndarray of int, shape (n,)
        Not negative.

    References
    ----------
    D. Hilbert, Mathematische Annalen 38, 459 (1891).
    """
    x, y = np.array(column, dtype=np.int64), np.array(row, dtype=np.int64)
    distance = np.zeros_like(x)
    side = 1 << int(max(x.max(initial=0), y.max(initial=0))).bit_length()
    half = side // 2
    while half:
        right, lower = (x & half) > 0, (y & half) > 0
        distance += half * half * np.where(right, np.where(lower, 2, 3), np.where(lower, 1, 0))
        # The first quarter is mirrored along one diagonal, the last along the other, so that the ends meet.
        x, y = x & (half - 1), y & (half - 1)
        flip = right & ~lower
        x, y = np.where(flip, half - 1 - x, x), np.where(flip, half - 1 - y, y)
        x, y = np.where(lower, x, y), np.where(lower, y, x)
        half //= 2
    return distance


def map_order(tiles: pd.DataFrame, count: int, order: Literal["raster", "hilbert"]) -> np.ndarray:
    """Choose a slide's patches and lay them on the map.

    Parameters
    ----------
    tiles
        The slide's tiles in raster order, with level-0 corners ``x`` and ``y``.
    count
        A square number.
    order
        ``raster``: the map is filled row by row. ``hilbert``: tiles are taken along a Hilbert curve over the slide and
        laid along one over the map, so that neighbours stay neighbours.

    Returns
    -------
    numpy.ndarray of shape (count,)
        For each map cell, row by row, the position of its tile in ``tiles``.
    """
    chosen = sample_patches(len(tiles), count)
    if order == "raster":
        return chosen
    column = np.unique(tiles["x"].to_numpy(), return_inverse=True)[1]
    row = np.unique(tiles["y"].to_numpy(), return_inverse=True)[1]
    along_slide = np.argsort(hilbert_distance(column, row), kind="stable")
    map_row, map_column = np.divmod(np.arange(count), math.isqrt(count))
    along_map = np.argsort(hilbert_distance(map_column, map_row), kind="stable")
    result = np.empty(count, dtype=np.int64)
    result[along_map] = along_slide[chosen]
    return result
