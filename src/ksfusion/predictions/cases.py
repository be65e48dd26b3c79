"""All that is told of each new patient: its samples, the answer, and what is to be known beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ksfusion.bundles.distances import SampleStatistics
from ksfusion.bundles.members import Member
from ksfusion.bundles.predict import member_predictions
from ksfusion.bundles.read import Bundle
from ksfusion.bundles.seen import splits_of_case
from ksfusion.predictions.answers import Answer, answer_of
from ksfusion.predictions.flags import CaseFlag, distances_of_samples, flags_of_case, flags_of_samples
from ksfusion.predictions.samples import NewSamples, fold_data, sample_statistics


@dataclass(frozen=True, eq=False)
class PredictedCase:
    """A new patient.

    Attributes
    ----------
    case_id
        The patient.
    samples : pandas.DataFrame
        Its samples (`ksfusion.predictions.samples.NewSamples.table`).
    answer
        What is predicted; None where no sample could be used.
    flags
        What is to be known beside it.
    distances
        How far its samples are from training (`ksfusion.predictions.flags.distances_of_samples`).
    """

    case_id: str
    samples: pd.DataFrame
    answer: Answer | None
    flags: list[CaseFlag]
    distances: list[dict[str, Any]] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return {
            "case_id": self.case_id,
            "samples": self.samples.to_dict("records"),
            "answer": self.answer.record() if self.answer else None,
            "flags": [flag._asdict() for flag in self.flags],
            "distances": self.distances,
        }


def predict_new(
    bundle: Bundle, new: NewSamples, digests: Mapping[str, str], level: float | None = None
) -> tuple[list[PredictedCase], dict[Member, pd.DataFrame]]:
    """Predict new samples by all models of a bundle.

    Parameters
    ----------
    bundle
        The bundle.
    new
        The samples.
    digests
        Digest of each slide's file.
    level
        Of the sets of classes; None is that of the bundle.

    Returns
    -------
    cases
        In order of case_id.
    tables
        What each member predicts of the usable samples.
    """
    splits = {}
    for case_id, own in new.table.groupby("case_id", sort=True):
        found = [digests[slide_id] for slide_id in own["slide_id"] if digests.get(slide_id)]
        splits[str(case_id)] = splits_of_case(bundle.cases, bundle.slides, str(case_id), found)
    tables, statistics = _by_member(bundle, new)
    known = new, statistics, splits, bundle.folds
    flags = flags_of_samples(*known) if tables else {}
    distances = distances_of_samples(*known) if tables else {}
    usable, cases = set(new.usable["case_id"]), []
    level = bundle.contents.level if level is None else level
    for case_id, of_case in splits.items():
        answer = None
        if case_id in usable:
            answer = answer_of(case_id, tables, bundle.folds, of_case, bundle.task, level=level)
        told = [*flags_of_case(of_case, bundle.folds), *flags.get(case_id, [])]
        cases.append(
            PredictedCase(case_id, new.table[new.table["case_id"] == case_id], answer, told, distances.get(case_id, []))
        )
    return cases, tables


def _by_member(bundle: Bundle, new: NewSamples) -> tuple[dict[Member, pd.DataFrame], dict[int, list[SampleStatistics]]]:
    """Return what each member predicts of the usable samples, and what is known of these, by fold."""
    tables: dict[Member, pd.DataFrame] = {}
    statistics: dict[int, list[SampleStatistics]] = {}
    if new.usable.empty:
        return tables, statistics
    for fold in bundle.folds:
        data = fold_data(new, fold, bundle.contents)
        statistics[fold.number] = sample_statistics(new, data)
        for member in fold.members:
            tables[member] = member_predictions(member, data, batch_size=bundle.contents.batch_size)
    return tables, statistics
