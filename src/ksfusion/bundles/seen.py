"""Whether a case, or a slide under another name, took part in the training of a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pandas as pd


def case_digest(case_id: str) -> str:
    """Return what stands for a case in a bundle: the SHA-256 of its id, which hides it from the eye, not a search."""
    return hashlib.sha256(f"ksfusion case {case_id}".encode()).hexdigest()


def splits_of_case(
    cases: pd.DataFrame, slides: pd.DataFrame, case_id: str, digests: Iterable[str] = ()
) -> dict[int, str]:
    """Return the split that a case was in, of each fold of the study; empty for a new case.

    Parameters
    ----------
    cases, slides : pandas.DataFrame
        Of `ksfusion.bundles.read.Bundle`.
    case_id
        The case.
    digests
        Of its slides' files, by which it is known under another id too.
    """
    known = {case_digest(case_id), *slides.loc[slides["slide"].isin(list(digests)), "case"]}
    own = cases[cases["case"].isin(known)]
    splits: dict[int, str] = {}
    for fold, split in zip(own["fold"], own["split"], strict=True):
        # Of several cases that share a slide the one that was trained on counts.
        if splits.get(fold) != "train":
            splits[int(fold)] = str(split)
    return splits
