"""A run as the stages after it read it: what it says of itself, and its model where it has one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

from ksfusion.core.config_block import Block
from ksfusion.core.errors import UserError
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_json
from ksfusion.methods.output import Method
from ksfusion.methods.registry import MethodInfo, method_info
from ksfusion.training.checkpoint import CONFIG, METRICS, has_model, load_model
from ksfusion.training.config import TrainedTask


@dataclass(frozen=True)
class TrainedRun:
    """A run: one task, method, fold and seed.

    Attributes
    ----------
    folder
        Folder of its files.
    config
        Its ``config.json``.
    """

    folder: Path
    config: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what a run says of itself; it may have no model."""
        return cls(folder, read_json(folder / CONFIG))

    @property
    def has_model(self) -> bool:
        """Whether it has a model: it was not skipped, and has neither failed nor collapsed."""
        return has_model(self.config)

    @cached_property
    def reason(self) -> str:
        """Why it has no model, of its ``metrics.json``; empty where it has one."""
        metrics = read_json(self.folder / METRICS)
        return "" if metrics["status"] == "ok" else str(metrics["reason"] or metrics["status"])

    @cached_property
    def task(self) -> TrainedTask:
        """The task that was trained."""
        return TrainedTask.model_validate(self.config["task"])

    @property
    def method(self) -> MethodInfo:
        """The method that was trained."""
        return method_info(self.config["method"])

    @property
    def fold(self) -> int:
        """The fold's number."""
        return int(self.config["fold"])

    @property
    def seed(self) -> int:
        """The seed of its training."""
        return int(self.config["seed"])

    def load(self, device: torch.device) -> Method:
        """Return the model on a device, ready to predict; see `ksfusion.training.checkpoint.load_model`."""
        return load_model(self.folder).to(device)

    def made_by(self, stage: str, settings: Block) -> dict[str, Any]:
        """Return the provenance of what a stage makes of the run.

        Parameters
        ----------
        stage
            Dotted name of the stage's module.
        settings
            The stage's settings.
        """
        recorded = {"run": self.config["provenance"]["settings"], **settings.record()}
        return provenance((stage, self.method.module), recorded)


def runs_by_task(folders: Iterable[Path], **files: Sequence[Path]) -> Iterator[tuple[list[TrainedRun], list[Path]]]:
    """Yield the runs of each task with the files that are written of it, in order of the tasks' first runs.

    Parameters
    ----------
    folders
        Folders of runs.
    files
        Option of the command line to its files, one for each task.

    Raises
    ------
    UserError
        If there are not as many files as tasks.
    """
    tasks: dict[str, list[TrainedRun]] = {}
    for run in map(TrainedRun.read, folders):
        tasks.setdefault(run.task.name, []).append(run)
    for option, paths in files.items():
        if len(paths) != len(tasks):
            told = f"{len(paths)} files for the {len(tasks)} tasks of the runs ({', '.join(tasks)})"
            raise UserError(f"--{option}: {told}; give each task its own")
    yield from ((own, list(paths)) for own, *paths in zip(tasks.values(), *files.values(), strict=True))
