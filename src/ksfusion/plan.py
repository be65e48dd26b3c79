"""The plan of a run: its folds, and the settings and the code version that each stage depends on.

Made from the configuration and the two tables each time the Snakefile is parsed, so nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from ksfusion.cohort.split_files import folds_of_file
from ksfusion.core.object_storage import ObjectStorage
from ksfusion.core.provenance import as_json, code_version
from ksfusion.methods.registry import METHODS
from ksfusion.preflight.inputs import checked_inputs
from ksfusion.preflight.stage_settings import StageSettings
from ksfusion.slides.encoders.names import modules_of_encoder


@dataclass(frozen=True)
class Plan(StageSettings):
    """What a run consists of; its batches and named files are those of `NamedFiles`, its settings `StageSettings`'s."""

    _codes: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False)

    @cached_property
    def folds(self) -> list[int]:
        """Numbers of the folds: 0 alone, but for cross-validation and a file with several."""
        splits = self.config.splits
        if splits.scheme == "kfold":
            return list(range(splits.k))
        if splits.file is None:
            return [0]
        return folds_of_file(splits, self.tables.samples)

    def code(self, stage: str, method: str | None = None) -> str:
        """Return the version of the code of a stage (and of the method it trains)."""
        modules = (f"ksfusion.stages.{stage}", *([METHODS[method].module] if method else []))
        modules += modules_of_encoder(self.config.features.encoder) if stage == "extract_features" else ()
        if modules not in self._codes:
            self._codes[modules] = code_version(*modules)
        return self._codes[modules]

    # The files of stages that depend on the plan.

    def slide_identities(self, batch: str) -> str:
        """Return, as JSON, id, path, mpp and file size (of a demo slide the code version) of a batch's slides."""
        identities = []
        for row in self.batches[batch]:
            made = self.code("draw_demo_slides") if self.is_drawn(row) else self.slide_size(row["slide"])
            identities.append([row["slide_id"], row["slide"], row["mpp"], made])
        return as_json(identities)

    def heatmaps(self) -> list[str]:
        """Return the paths of the tables that list the pictures of attention, one for each run."""
        return self._heatmaps(self.config.heatmaps.methods)

    def heatmaps_shown(self) -> list[str]:
        """Return those of methods that are trained anyway; the report shows them."""
        return self._heatmaps([name for name in self.config.heatmaps.methods if name in self.config.methods])

    def _heatmaps(self, methods: Iterable[str]) -> list[str]:
        seeds = self.config.heatmaps.seeds or self.config.training.seeds[:1]
        runs = product(self.config.tasks, self.trained(methods), self.folds, seeds)
        return ["results/heatmaps/{}/{}/fold{}/seed{}/heatmaps.tsv".format(*run) for run in runs]


def make_plan(
    values: Mapping[str, Any],
    *,
    source: str,
    files: Iterable[str | Path] = (),
    started_in: Path | None = None,
    storage: ObjectStorage | None = None,
) -> Plan:
    """Validate a configuration and its tables, and plan the run.

    Parameters
    ----------
    values
        Configuration, as Snakemake merged it from files and command line.
    source
        Name of the configuration in messages.
    files
        Files it comes from, read again to refuse keys that stand twice, of which YAML drops the first. Relative paths
        in it start at the folders of these files, else at ``started_in``, else at the working directory.
    started_in
        Folder in which the command was given; the working directory is the study's folder.
    storage
        The object storage in which the study is.

    Raises
    ------
    UserError
        With a line for each problem of configuration and tables, or if the results here are another study's.
    """
    found = checked_inputs(values, source=source, files=files, started_in=started_in, storage=storage)
    plan = Plan(*found, stored_in=storage.prefix if storage else "")
    plan.check_precomputed(source)
    plan.folds  # noqa: B018  (reads the user's own split, whose mistakes stop the run here)
    return plan
