"""Whose genes, or whose patches, each test sample is given: cases are permuted within their cohort.

A permutation moves whole cases. The samples of a case, in order of their ids, are given those of the case that takes
its place, in the same order; where that has fewer, they begin again with its first, and where it has more, its last are
given to none. A case may stay in its place, as in any permutation; in a cohort of one case it always does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ksfusion.core.ids import stable_hash
from ksfusion.results.modalities.changes import PERMUTATIONS


@dataclass(frozen=True, eq=False)
class Partners:
    """The positions of the samples whose genes, and whose patches, each sample is given: (permutations, n_samples).

    Patches go the opposite way of genes: a slide then meets the same profile in both, where cases have one sample each.
    """

    genes: np.ndarray
    patches: np.ndarray


def draw_partners(case_ids: ArrayLike, cohorts: ArrayLike, *, permutations: int = PERMUTATIONS) -> Partners:
    """Draw permutations; those of a cohort depend on its name and its number of cases alone.

    Parameters
    ----------
    case_ids, cohorts : array-like, shape (n_samples,)
        Case and cohort of each sample, in order of sample_id.
    permutations
        Number of permutations.
    """
    cases, places = np.asarray(case_ids, dtype=str), np.asarray(cohorts, dtype=str)
    partners = Partners(*np.empty((2, permutations, len(cases)), dtype=int))
    for cohort in np.unique(places):
        here = np.flatnonzero(places == cohort)
        samples = [here[cases[here] == case] for case in np.unique(cases[here])]
        random = np.random.default_rng(stable_hash(str(cohort)))
        for number in range(permutations):
            order = random.permutation(len(samples))
            for given, direction in ((partners.genes, order), (partners.patches, np.argsort(order))):
                for own, other in zip(samples, direction, strict=True):
                    given[number, own] = np.resize(samples[other], len(own))
    return partners
