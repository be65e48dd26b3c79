"""What a training carries from one epoch to the next, kept on disk so that a run that was killed goes on from there.

Of a run that is finished its outcome is kept: a job that is done again for another seed or method does not train anew
what has not changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ksfusion.core.atomic import atomic
from ksfusion.core.checksums import PROVENANCE_KEY, SEAL_KEY, UNSEALED, check_seal, seal
from ksfusion.core.errors import DamagedFileError
from ksfusion.core.storage import read_json, write_json
from ksfusion.methods.output import Method
from ksfusion.training.checkpoint import MODEL, read_weights
from ksfusion.training.optimiser import Adam
from ksfusion.training.strategy import Validation

log = logging.getLogger(__name__)

# Hidden, so that it is no output of a rule: Snakemake deletes the outputs of a job that fails.
FOLDER = ".resume"
LARGE = 2**28  # bytes
# Of the time of a training that saving its state may take, after the first epoch.
SHARE_OF_SAVING = 0.05
# What reading and restoring a broken state raises; of weights with other names or shapes torch has a RuntimeError.
BROKEN = (SafetensorError, DamagedFileError, OSError, TypeError, ValueError, LookupError, AttributeError, RuntimeError)


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
        """Take the place of the state that `tensors` and `rest` came from; of a finished run, of its outcome."""
        go_back = self._way_back()
        try:
            self._restore(tensors, rest)
        except BROKEN:
            go_back()
            raise

    def _restore(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimiser": {}, "random": {}}
        for name, value in tensors.items():
            part, _, key = name.partition("/")
            parts[part][key] = value
        device, parameters = self._device, self._parameters()
        if parts["model"]:
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

    def _way_back(self) -> Callable[[], None]:
        """Return what brings back the state of now: of a broken one half may be restored when that is seen."""
        model = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        moments = {parameter: dict(known) for parameter, known in self.optimiser.state.items()}
        order, random = self.order.bit_generator.state, torch.get_rng_state()
        on_gpu = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None
        history, best = self.history, self.best

        def go_back() -> None:
            self.model.load_state_dict(model)
            self.optimiser.state.clear()
            self.optimiser.state.update(moments)
            self.order.bit_generator.state = order
            torch.set_rng_state(random)
            if on_gpu is not None:
                torch.cuda.set_rng_state(on_gpu, self._device)
            self.history, self.best = history, best

        return go_back


@dataclass
class Resume:
    """Files beside a run's outputs that hold its state after a finished epoch, and in the end its outcome.

    Attributes
    ----------
    folder
        Folder of the run.
    key
        Digest of what the run is made from, see `key_of`: what was kept under another key is not used.
    """

    folder: Path
    key: str
    _due: float = field(default=0.0, init=False)
    _rest: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    def path(self) -> Path:
        """The file of the state."""
        return self.folder / FOLDER / "state.safetensors"

    @property
    def outcome(self) -> Path:
        """The file that takes its place once the run is finished."""
        return self.folder / FOLDER / "outcome.json"

    @property
    def weights(self) -> Path:
        """The weights beside the outcome: another name of the run's own file, which takes no room."""
        return self.folder / FOLDER / "weights.safetensors"

    def save(self, state: TrainingState, *, last: bool = False) -> None:
        """Replace the state by another one, unless that would take too large a share of the time since the one before.

        Of the last epoch the outcome is kept in any case, see `finish`.
        """
        start = time.monotonic()
        if last:
            self._rest = state.rest()
        if start < self._due:
            return
        with atomic(self.path) as temporary:
            rest = {"key": self.key, "rest": state.rest(), SEAL_KEY: UNSEALED}
            save_file(state.tensors(), temporary, metadata={PROVENANCE_KEY: json.dumps(rest)})
            seal(temporary)
        end = time.monotonic()
        self._due = end + (end - start) / SHARE_OF_SAVING

    def load(self, state: TrainingState) -> None:
        """Restore what the files hold; without a file of this key, change nothing."""
        self._make_way()
        for path, read in ((self.outcome, self._read_outcome), (self.path, self._read_state)):
            try:
                if not path.is_file():
                    continue
                tensors, kept = read()
                known = kept["key"] == self.key
                if known:
                    state.restore(tensors, kept["rest"])
            except torch.OutOfMemoryError:  # a RuntimeError that says nothing of the state
                raise
            except BROKEN as error:
                log.warning("%s: cannot be read (%s): training starts anew", path, error)
                continue
            if not known:
                log.info("%s: is of other settings, code or inputs: training starts anew", path)
                continue
            self._rest = kept["rest"]
            if path == self.outcome:
                log.info("kept as it was trained before: settings, code and inputs are the same")
            else:
                log.info("going on after epoch %d, which an interrupted run had finished", len(state.history))
            return

    def _make_way(self) -> None:
        """Remove what stands in the place of the folder or of its files, and is none."""
        folder = self.path.parent
        for path in (folder, self.outcome, self.path, self.weights):
            wanted = path.is_dir() if path == folder else path.is_file()
            if wanted or not (path.exists() or path.is_symlink()):
                continue
            log.warning("%s: is no %s that a run has written: removed", path, "folder" if path == folder else "file")
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _read_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        check_seal(self.path)
        with safe_open(self.path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads(file.metadata()[PROVENANCE_KEY])

    def _read_outcome(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        kept = read_json(self.outcome)
        best = {f"best/{name}": value for name, value in read_weights(self.weights).items()}
        return best, {"key": kept["key"], "rest": json.loads(kept["rest"])}

    def finish(self) -> None:
        """Keep the outcome in the place of the state, so that a job that is done again need not train this run anew."""
        self.weights.unlink(missing_ok=True)
        # As a text: what is undefined is NaN, which files of JSON may not hold.
        write_json({"key": self.key, "rest": json.dumps(self._rest), "provenance": {}}, self.outcome)
        try:
            os.link(self.folder / MODEL, self.weights)
        except OSError:  # a file system without such names
            shutil.copy2(self.folder / MODEL, self.weights)
        self.path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the files, of a run that has no outcome."""
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
