"""The additive projection of a model: what is left of its scores without interactions of slide and profile.

Hessel and Lee: Does my multimodal model learn cross-modal interactions?, EMNLP 2020, arXiv:2010.06572 (EMAP). Of all
functions that are a sum of one of the slide and one of the profile, the projection is the closest to the model over all
pairs of the samples.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ksfusion.core.ids import stable_hash


def additive_projection(scores: np.ndarray) -> np.ndarray:
    """Return the projected score of each sample, (n_samples, n_scores).

    Parameters
    ----------
    scores : numpy.ndarray, shape (n_samples, n_samples, n_scores)
        Score of the slide of each sample (row) with the profile of each (column).
    """
    by_slide, by_profile = scores.mean(axis=1), scores.mean(axis=0)
    projected: np.ndarray = by_slide + by_profile - by_slide.mean(axis=0)
    return projected


def choose_samples(sample_ids: Iterable[str], most: int) -> list[int]:
    """Return the positions of so many samples, at most: the first by a hash of their ids.

    A sample that comes in addition takes the place of one other at most.
    """
    numbered = sorted((stable_hash(sample_id), sample_id, number) for number, sample_id in enumerate(sample_ids))
    return sorted(number for _, _, number in numbered[:most])
