"""The explanations of all new patients by the models of a bundle, each of which is built once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ksfusion.bundles.members import Member
from ksfusion.bundles.read import Bundle
from ksfusion.methods.output import Method
from ksfusion.methods.registry import METHODS
from ksfusion.predictions.explain import mean_attention, mean_attributions, shown_samples
from ksfusion.predictions.samples import NewSamples, fold_data
from ksfusion.results.attention.drawing import Drawing, DrawnSample
from ksfusion.terms.tasks import probability_column
from ksfusion.training.data import FoldData


class Explainer:
    """Tells of each patient where the models look, and which genes move the answer.

    Parameters
    ----------
    bundle
        The bundle. A baseline looks nowhere, and its coefficients are the same for every patient.
    new
        The samples.
    """

    def __init__(self, bundle: Bundle, new: NewSamples):
        self.bundle, self.new = bundle, new
        self.is_network = not METHODS[bundle.method].is_baseline
        self.has_attention = self.is_network and "p" in bundle.modalities
        self.reads_genes = self.is_network and "g" in bundle.modalities

    @cached_property
    def data(self) -> dict[int, FoldData]:
        """The usable samples as each fold reads them."""
        return {fold.number: fold_data(self.new, fold, self.bundle.contents) for fold in self.bundle.folds}

    @cached_property
    def models(self) -> dict[Member, Method]:
        """All members, built."""
        return {member: member.load() for member in self.bundle.members}  # type: ignore[misc]

    def answering(self, case: Mapping[str, Any]) -> dict[Member, Method]:
        """Return the members that answer for a case."""
        known = {(entry["fold"], entry["seed"]) for entry in case["answer"]["members"]}
        return {member: model for member, model in self.models.items() if (member.fold, member.seed) in known}

    def draw(self, case: Mapping[str, Any], drawing: Drawing) -> list[DrawnSample]:
        """Draw the slides of a case; see `ksfusion.results.attention.drawing.Drawing.draw`."""
        samples = self.new.usable
        chosen = (
            shown_samples(samples[samples["case_id"] == case["case_id"]]) if self.has_attention else samples.iloc[:0]
        )
        if chosen.empty:
            return []
        members = self.answering(case)
        attention = mean_attention(members, self.data, chosen["sample_id"].tolist())
        line = f"{self.bundle.task.heading}, {METHODS[self.bundle.method].label}, mean of {len(members)} models"
        return [
            drawing.draw(row.sample_id, row.slide_id, attention[row.sample_id], [line, f"Slide {row.slide_id}"])
            for row in chosen.itertuples()
        ]

    def genes(self, case: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the genes that move the answer for a case most; see `mean_attributions`."""
        if not self.reads_genes:
            return []
        values, task = case["answer"]["values"], self.bundle.task
        predicted = max(task.classes, key=lambda name: values[probability_column(name)]["mean"]) if task.classes else ""
        folds = {fold.number: fold for fold in self.bundle.folds}
        return mean_attributions(self.answering(case), self.data, folds, case["case_id"], task, predicted)
