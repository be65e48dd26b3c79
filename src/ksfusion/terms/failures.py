"""How many slides may fail before a run stops."""

from __future__ import annotations

import math

# However few slides there are: one in twenty of 34 would be one.
ALWAYS_MAY_FAIL = 2


def most_failed(n_slides: int, fraction: float) -> int:
    """Return how many of so many slides may fail.

    Parameters
    ----------
    n_slides
        All of them.
    fraction
        The share that may fail: of few slides two, but not all; with 0 none.
    """
    if fraction == 0:
        return 0
    # The product of a share such as 0.29 and 100 is a little less than 29.
    return max(math.floor(fraction * n_slides + 1e-9), min(ALWAYS_MAY_FAIL, n_slides - 1))
