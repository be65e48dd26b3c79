"""What a training carries from one epoch to the next, kept on disk so that a run that was killed goes on from there."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ksfusion.core.checksums import UNSEALED, check_seal, seal
from ksfusion.core.errors import DamagedFileError
from ksfusion.core.storage import PROVENANCE_KEY, SEAL_KEY, atomic
from ksfusion.methods.output import Method
from ksfusion.training.optimiser import Adam
from ksfusion.training.strategy import Validation

log = logging.getLogger(__name__)

# Hidden, so that it is no output of a rule: Snakemake deletes the outputs of a job that fails.
FOLDER = ".resume"
LARGE = 2**28  # bytes


@dataclass(frozen=True)
class Best:
    """The best epoch so far: its number from 1, how the model did on the validation samples, and its weights then."""

    epoch: int
    validation: Validation
    weights: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: Method, epoch: int, validation: Validation) -> Best:
        """Take a copy of the model's weights."""
        return cls(epoch, validation, {name: part.detach().clone() for name, part in model.state_dict().items()})


@dataclass
class TrainingState:
    """All that changes during a training, but for torch's random generators; ``history`` has a row per epoch."""

    model: Method
    optimiser: Adam
    order: np.random.Generator
    history: list[dict[str, float]] = field(default_factory=list)
    best: Best | None = None

    @property
    def kept(self) -> Best:
        """The best epoch, once there is one."""
        if self.best is None:
            raise ValueError("no epoch is finished")
        return self.best

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimiser.param_groups for parameter in group["params"]]

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that is a tensor, on the CPU."""
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in self.kept.weights.items()}
        for number, parameter in enumerate(self._parameters()):
            moments = self.optimiser.state.get(parameter, {})
            tensors |= {f"optimiser/{number}/{name}": value for name, value in moments.items()}
        tensors["random/cpu"] = torch.get_rng_state()
        if self._device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(self._device)
        return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def rest(self) -> dict[str, Any]:
        """Return everything else, as JSON can hold it."""
        best = {"epoch": self.kept.epoch, "validation": self.kept.validation._asdict()}
        return {"history": self.history, "best": best, "order": self.order.bit_generator.state}

    def restore(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Take the place of the state that `tensors` and `rest` came from."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimiser": {}, "random": {}}
        for name, value in tensors.items():
            part, _, key = name.partition("/")
            parts[part][key] = value
        device, parameters = self._device, self._parameters()
        self.model.load_state_dict(parts["model"])
        for key, value in parts["optimiser"].items():
            number, _, name = key.partition("/")
            self.optimiser.state[parameters[int(number)]][name] = value.to(device)
        torch.set_rng_state(parts["random"]["cpu"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(parts["random"]["cuda"], device)
        self.order.bit_generator.state = rest["order"]
        self.history = rest["history"]
        weights = {name: value.to(device) for name, value in parts["best"].items()}
        best = rest["best"]
        self.best = Best(best["epoch"], Validation(**best["validation"]), weights)


@dataclass(frozen=True)
class Resume:
    """A file beside a run's outputs that holds its state after the last finished epoch.

    Attributes
    ----------
    folder
        Folder of the run.
    key
        Digest of what the run is made from, see `key_of`: a state of another key is not used.
    """

    folder: Path
    key: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FOLDER / "state.safetensors"

    def save(self, state: TrainingState) -> None:
        """Replace the file by another state."""
        with atomic(self.path) as temporary:
            rest = {"key": self.key, "rest": state.rest(), SEAL_KEY: UNSEALED}
            save_file(state.tensors(), temporary, metadata={PROVENANCE_KEY: json.dumps(rest)})
            seal(temporary)

    def load(self, state: TrainingState) -> None:
        """Restore what the file holds; without a file of this key, change nothing."""
        if not self.path.is_file():
            return
        try:
            check_seal(self.path)
            with safe_open(self.path, "pt") as file:
                metadata = json.loads(file.metadata()[PROVENANCE_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, DamagedFileError, TypeError, ValueError, KeyError) as error:
            log.warning("%s: cannot be read (%s): training starts anew", self.path, error)
            return
        if metadata["key"] != self.key:
            log.info("%s: is of other settings, code or inputs: training starts anew", self.path)
            return
        state.restore(tensors, metadata["rest"])
        log.info("going on after epoch %d, which an interrupted run had finished", len(state.history))

    def remove(self) -> None:
        """Remove the file: the run is complete."""
        shutil.rmtree(self.path.parent, ignore_errors=True)


def key_of(settings: Mapping[str, Any], files: Iterable[Path]) -> str:
    """Return a digest of settings and of files (or all files of a folder).

    Large files count by size and time of change: the features of a whole cohort would take long to read.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in files:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            status = file.stat()
            if status.st_size < LARGE:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
            else:
                content = f"{status.st_size} {status.st_mtime_ns}"
            digest.update(f"{file.name} {content}\n".encode())
    return digest.hexdigest()
