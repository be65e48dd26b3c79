"""What each job of a study has to do, counted before it runs: slides, patches, trained samples, profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ksfusion.core.workflow import PlannedJob
from ksfusion.estimates.slide_sizes import SlideSizes
from ksfusion.plan import Plan
from ksfusion.slides.encoders.names import PATCHES_AT_ONCE
from ksfusion.slides.reading.prefetch import AHEAD

# Of a training step the forward pass is a third: the backward pass computes two products where that computes one.
FORWARD = 1 / 3
# The samples of a step, and the side of a patch in pixels, with which the memory of both was measured.
STEP_SAMPLES, PATCH_PX = 8, 224
# Batches of patches that lie in memory beside those that are being read: ready, handed on, and encoded.
BATCHES_WAITING = AHEAD + 2
# A user's own split may have any shares; most have about this.
USUAL_FRACTIONS = (0.8, 0.1)
_METHOD = re.compile(r"results/(?:models|search|audits)/([^/]+)/([^/]+)/fold\d+")


@dataclass(frozen=True)
class Work:
    """A job: its rule, the encoder or the methods that its costs depend on, and how much there is of each unit."""

    rule: str
    kinds: tuple[str, ...]
    units: Mapping[str, float]


@dataclass(frozen=True)
class Workload:
    """The jobs of a study as work.

    Attributes
    ----------
    plan
        Its plan.
    slides
        The files of its slides.
    patches
        Different patches of a slide: at most ``patches.count``, fewer where its tissue has fewer tiles.
    threads
        Processes that read patches, and threads that encode them, of a job of ``extract_features``.
    """

    plan: Plan
    slides: SlideSizes
    patches: float
    threads: int = 1

    def of(self, job: PlannedJob) -> Work:
        """Return what a job has to do."""
        runs = list(dict.fromkeys(match.groups() for output in job.outputs if (match := _METHOD.match(output))))
        if "batch" in job.wildcards:
            return self._slide_work(job.rule, job.wildcards["batch"])
        if job.rule in ("train_model", "train_together", "search_settings"):
            return self._training(job.rule, runs)
        method = job.wildcards.get("method") or next((method for _, method in runs), "")
        samples = float(self.samples)
        units = {"sample": samples, "sample_patch": samples * self.patches, "profile": float(self.profiles)}
        return Work(job.rule, (method,) if method else (), {**units, **self._of_slides(list(self.slides.sizes))})

    @cached_property
    def samples(self) -> int:
        """The samples that models see: all, or those with both a slide and a profile (``cohort.require``)."""
        rows = self.plan.tables.samples
        if self.plan.config.cohort.require == "paired":
            return sum(bool(row["slide_id"] and row["expression_id"]) for row in rows)
        return len(rows)

    @cached_property
    def profiles(self) -> int:
        """The different profiles of expression."""
        rows = self.plan.tables.samples
        return len({(row["cohort"], row["expression_id"]) for row in rows if row["expression_id"]})

    def passes(self, task: str) -> float:
        """Return how often a training of a task goes through a sample: in epochs, for validation, for predictions."""
        train, validation = self._shares()
        epochs = self.plan.config.epochs(task)
        return self.samples * (epochs * (train + FORWARD * validation) + FORWARD)

    def _shares(self) -> tuple[float, float]:
        splits = self.plan.config.splits
        if splits.scheme == "file":
            return USUAL_FRACTIONS
        first, second = splits.fractions[:2]
        if splits.scheme == "kfold":
            left = (splits.k - 1) / splits.k
            return left * first / (first + second), left * second / (first + second)
        return first, second

    def _slide_work(self, rule: str, batch: str) -> Work:
        slides = [row["slide_id"] for row in self.plan.batches.get(batch, [])]
        return Work(rule, (self.plan.config.features.encoder,), {**self._of_slides(slides), **self._encoding()})

    def _encoding(self) -> dict[str, float]:
        """Return what the memory of encoding depends on: readers, and patches of the measured side."""
        features, side = self.plan.config.features, self.plan.config.slides.patch_px
        batch = float(min(features.batch_size, self.patches))
        encoded = min(batch, PATCHES_AT_ONCE * self.threads)
        return {
            "reader": float(self.threads),
            "queued": (self.threads + BATCHES_WAITING) * batch * (side / PATCH_PX) ** 2,
            "encoded": encoded * ((features.input_px or side) / PATCH_PX) ** 2,
        }

    def _of_slides(self, slides: Sequence[str]) -> dict[str, float]:
        there = [slide_id for slide_id in slides if self._is_there(slide_id)]
        gigapixels = sum(self.slides.gigapixels(slide_id) for slide_id in there)
        return {"slide": float(len(there)), "gigapixel": gigapixels, "patch": len(there) * self.patches}

    def _is_there(self, slide_id: str) -> bool:
        """Return whether a slide will be read: the demo's are drawn by then."""
        drawn = self.plan.config.demo or not self.plan.extracts
        return drawn or (bool(self.slides.sizes[slide_id]) and slide_id not in self.slides.unusable)

    def _training(self, rule: str, runs: Sequence[tuple[str, ...]]) -> Work:
        """Return the trainings of a job: all of its tasks and methods, in each seed or, of a search, in each trial."""
        training = self.plan.config.training
        times = len(training.seeds)
        if rule == "search_settings" and training.search:
            times = training.search.trials
        # A job may train several methods: the passes are those of each.
        passes = sum(self.passes(task) for task in dict.fromkeys(task for task, _ in runs)) * times
        methods = tuple(dict.fromkeys(method for _, method in runs))
        count = float(self.plan.config.patches.count)
        # What a step holds of its samples, of which there may be fewer than it takes.
        together = count * min(training.batch_size, max(self.samples, 1)) / STEP_SAMPLES
        return Work("train_model", methods, {"sample": passes, "sample_patch": passes * count, "map_patch": together})
