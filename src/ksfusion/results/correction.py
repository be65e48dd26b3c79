"""P-values corrected for the number of methods that are compared."""

from __future__ import annotations

import gc
from collections.abc import Iterable

import numpy as np

from ksfusion.results.config import Correction

# As statsmodels calls them.
_NAMES = {"holm": "holm", "bh": "fdr_bh"}


def correct(p_values: np.ndarray, families: Iterable[np.ndarray], correction: Correction) -> np.ndarray:
    """Return corrected p-values; those that are NaN stay so, and count for nothing.

    Parameters
    ----------
    p_values : numpy.ndarray, shape (n_tests,)
        p-value of each test.
    families : iterable of numpy.ndarray of int
        The positions of the tests that are corrected together, for each family.
    correction
        ``holm``, ``bh`` (Benjamini and Hochberg) or ``none``.
    """
    from statsmodels.stats.multitest import multipletests

    corrected = p_values.copy()
    if correction == "none":
        return corrected
    gc.freeze()  # statsmodels collects garbage for each family; what is there already need not be looked through
    try:
        for family in families:
            known = family[np.isfinite(p_values[family])]
            if len(known):
                corrected[known] = multipletests(p_values[known], method=_NAMES[correction])[1]
    finally:
        gc.unfreeze()
    return corrected
