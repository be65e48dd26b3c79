"""Read counts and log2(CPM + 1): there, and back where the size of the library is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ksfusion.terms.gene_columns import PROFILE_KEYS

LIBRARY_SIZE_COLUMNS = [*PROFILE_KEYS, "library_size"]


def counts_to_log(values: np.ndarray) -> np.ndarray:
    """Turn counts into log2(CPM + 1), in place.

    Parameters
    ----------
    values : numpy.ndarray, (profiles, genes)
        Read counts, float32; a profile without reads has no composition and becomes missing, not zero.

    Returns
    -------
    numpy.ndarray, (profiles,)
        The library sizes: reads of each profile over all genes, missing ones aside; NaN where there are none.
    """
    library_size = np.asarray(np.nansum(values, axis=1, dtype=np.float64))
    library_size[library_size == 0] = np.nan
    values *= (1e6 / library_size[:, np.newaxis]).astype(np.float32)
    values += 1
    np.log2(values, out=values)
    return library_size


def log_to_counts(profiles: pd.DataFrame, library_sizes: pd.Series) -> pd.DataFrame:
    """Turn log2(CPM + 1) back into counts.

    Float32 keeps the logarithm, and so a count, to about one part in a million: counts of up to some hundred thousand
    reads come back exactly, larger ones with an error of that order. Estimated counts are rounded to whole reads.

    Parameters
    ----------
    profiles
        Profiles x genes in log2(CPM + 1), float32.
    library_sizes
        Reads of each profile, by the index of ``profiles``.

    Returns
    -------
    DataFrame
        Profiles x genes, whole float32 numbers; missing values stay missing.
    """
    counts = np.exp2(profiles.to_numpy(np.float64)) - 1
    counts *= library_sizes.loc[profiles.index].to_numpy()[:, np.newaxis] / 1e6
    return pd.DataFrame(np.rint(counts).astype(np.float32), profiles.index, profiles.columns)
