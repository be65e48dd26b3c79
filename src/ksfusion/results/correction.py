"""P-values corrected for the number of methods that are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from ksfusion.results.config import Correction

# As statsmodels calls them.
_NAMES = {"holm": "holm", "bh": "fdr_bh"}


def correct(p_values: ArrayLike, correction: Correction) -> np.ndarray:
    """Return corrected p-values; those that are NaN stay so, and count for nothing.

    Parameters
    ----------
    p_values : array-like, shape (n_tests,)
        Of one family.
    correction
        ``holm``, ``bh`` (Benjamini and Hochberg) or ``none``.
    """
    from statsmodels.stats.multitest import multipletests

    corrected = np.asarray(p_values, dtype=float).copy()
    known = np.isfinite(corrected)
    if correction != "none" and known.any():
        corrected[known] = multipletests(corrected[known], method=_NAMES[correction])[1]
    return corrected
