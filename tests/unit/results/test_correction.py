"""Corrections worked by hand."""

import numpy as np
import pytest

from ksfusion.results.correction import correct

P = np.array([0.01, 0.04, 0.03, np.nan, 0.5])
# Holm: 4 x 0.01, 3 x 0.03, then 2 x 0.04 is below and the step before counts, 0.5. Benjamini and Hochberg: from above,
# 0.5, 4/3 x 0.04, of which the second smallest, 4/2 x 0.03, takes the lesser, and 4 x 0.01.
HAND = {
    "holm": [0.04, 0.09, 0.09, np.nan, 0.5],
    "bh": [0.04, 0.16 / 3, 0.16 / 3, np.nan, 0.5],
    "none": [0.01, 0.04, 0.03, np.nan, 0.5],
}


@pytest.mark.parametrize("correction", HAND)
def test_by_hand(correction):
    assert correct(P, [np.arange(5)], correction) == pytest.approx(HAND[correction], nan_ok=True)


def test_each_family_is_by_itself():
    families = [np.array([0, 2]), np.array([1]), np.array([3])]
    assert correct(P, families, "holm") == pytest.approx([0.02, 0.04, 0.03, np.nan, 0.5], nan_ok=True)
    assert P[0] == 0.01
