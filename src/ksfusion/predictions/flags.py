"""What is to be known beside an answer: that a case was seen in training, or is unlike what was, and its quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ksfusion.bundles.distances import SampleStatistics
from ksfusion.bundles.members import Fold
from ksfusion.predictions.answers import UNSEEN, counting_folds
from ksfusion.predictions.samples import NewSamples, lacked_genes
from ksfusion.terms.flags import FLAGS
from ksfusion.terms.modalities import PAIRED, SLIDES_ONLY, STANDS_IN

TRAINED_ON, SEEN, GENES_MISSING, UNSEEN_COHORT = "trained_on", "seen_in_study", "genes_missing", "unseen_cohort"
LESS_CERTAIN = (
    "what the models learned of training as a whole stands in its place, and the answer is less certain than of "
    "patients who have both"
)
# A tile's flag is told where at least this share of a slide's tiles has it.
WORTH_A_LOOK = 0.05


class CaseFlag(NamedTuple):
    """Why an answer is to be taken with care: a closed code, of which sample (empty: of the case), and a sentence."""

    code: str
    sample_id: str
    detail: str


def flags_of_case(splits: Mapping[int, str], folds: Sequence[Fold]) -> Iterator[CaseFlag]:
    """Yield whether a case took part in the study that the bundle was made from.

    Parameters
    ----------
    splits
        Of the case in the folds of the study; empty for a new one.
    folds
        Of the bundle.
    """
    if not splits:
        return
    taught = [fold for fold in folds if splits.get(fold.number, UNSEEN[0]) not in UNSEEN]
    if len(taught) == len(folds):
        roles = sorted({splits[fold.number] for fold in taught})
        yield CaseFlag(
            TRAINED_ON,
            "",
            f"this case was used to make the models ({', '.join(roles)}): what they say of it is no prediction, and "
            "their certainty about it says nothing",
        )
        return
    detail = "a test case of the study that the models come from: it taught them nothing"
    if taught:
        left_out = f"those of {len(taught)} of {len(folds)} folds, which it was used for, are left out"
        detail = f"a case of the study that the models come from; {left_out}"
    yield CaseFlag(SEEN, "", detail)


def flags_of_samples(
    new: NewSamples,
    statistics: Mapping[int, Sequence[SampleStatistics]],
    splits: Mapping[str, Mapping[int, str]],
    folds: Sequence[Fold],
) -> dict[str, list[CaseFlag]]:
    """Return what is told of the samples of each case, by case_id.

    Parameters
    ----------
    new
        The samples.
    statistics
        What is known of each usable sample, by fold.
    splits
        Of each case in the folds of the study.
    folds
        Of the bundle; a sample is unlike training where it is for more than half of those that answer for its case.
    """
    found: dict[str, list[CaseFlag]] = {}
    lacked = {fold.number: lacked_genes(new, fold.genes) for fold in folds if fold.genes}
    for number, row in enumerate(new.usable.itertuples()):
        counting = counting_folds(splits[row.case_id], folds)
        told: dict[str, list[str]] = {}
        for fold in counting:
            for flag in fold.training.flags(statistics[fold.number][number]):
                told.setdefault(flag.code, []).append(flag.detail)
        own = [
            CaseFlag(code, row.sample_id, details[0])
            for code, details in told.items()
            if 2 * len(details) > len(counting)
        ]
        if row.modalities != PAIRED:
            own.append(CaseFlag(STANDS_IN[row.modalities], row.sample_id, f"{row.detail}; {LESS_CERTAIN}"))
        if row.modalities != SLIDES_ONLY:
            own += _of_genes(row.sample_id, row.cohort, counting, lacked)
        if statistics[counting[0].number][number].features is not None:
            own += _of_quality(row.sample_id, new.slides.loc[row.slide_id])
        found.setdefault(row.case_id, []).extend(own)
    return found


def distances_of_samples(
    new: NewSamples,
    statistics: Mapping[int, Sequence[SampleStatistics]],
    splits: Mapping[str, Mapping[int, str]],
    folds: Sequence[Fold],
) -> dict[str, list[dict[str, Any]]]:
    """Return how far the samples of each case are from training, by case_id: the mean over folds that answer for it.

    Parameters
    ----------
    new, statistics, splits, folds
        See `flags_of_samples`.

    Returns
    -------
    dict of case_id to list of dict
        sample_id, kind, distance, limit, and the share of samples like those of training that are ``farther`` than it.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for number, row in enumerate(new.usable.itertuples()):
        counting = counting_folds(splits[row.case_id], folds)
        known = [fold.training.distances(statistics[fold.number][number]) for fold in counting]
        for kind in dict.fromkeys(kind for of_fold in known for kind in of_fold):
            pairs = np.array([of_fold[kind] for of_fold in known if kind in of_fold])
            distance, limit = pairs.mean(axis=0).tolist()
            entry = {"sample_id": row.sample_id, "kind": kind, "distance": distance, "limit": limit}
            entry["farther"] = 1 - counting[0].training.known.quantile
            found.setdefault(row.case_id, []).append(entry)
    return found


def _of_genes(
    sample_id: str, cohort: str, folds: Sequence[Fold], lacked: Mapping[int, Mapping[str, list[str]]]
) -> Iterator[CaseFlag]:
    for fold in folds:
        if fold.genes is None:
            continue
        if missing := lacked[fold.number].get(cohort, []):
            yield CaseFlag(
                GENES_MISSING,
                sample_id,
                f"{len(missing)} of {len(fold.genes.symbols)} genes are not in the expression of {cohort} and count as "
                f"the mean of training: {', '.join(missing)}",
            )
        if len(fold.genes.scaling.mean.index) > 1 and cohort not in fold.genes.scaling.mean.index:
            yield CaseFlag(
                UNSEEN_COHORT,
                sample_id,
                f"cohort {cohort} was not in training: its genes are scaled by all training samples together",
            )
        return


def _of_quality(sample_id: str, slide: pd.Series) -> Iterator[CaseFlag]:
    for flag, meaning in FLAGS.items():
        if slide[flag] >= WORTH_A_LOOK:
            yield CaseFlag(flag, sample_id, f"{meaning}: {slide[flag]:.0%} of the tiles")
