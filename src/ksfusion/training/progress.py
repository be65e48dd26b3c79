"""How a training goes, as it goes: a bar on a terminal, a line an epoch in a log, TensorBoard where it is asked for."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)


class Progress:
    """Log the steps and epochs of a run; a context manager.

    Parameters
    ----------
    name
        Name of the run.
    epochs, steps
        Number of epochs, and of steps in each.
    done
        Epochs that an interrupted run had finished.
    tensorboard
        Folder of event files, or None.
    """

    def __init__(self, name: str, *, epochs: int, steps: int, done: int = 0, tensorboard: Path | None = None) -> None:
        self.name, self.epochs = name, epochs
        self._bar = self._writer = None
        if sys.stderr.isatty():
            self._bar = tqdm(desc=name, total=epochs * steps, initial=done * steps, unit="step", leave=False)
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(tensorboard, purge_step=done + 1)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for part in (self._bar, self._writer):
            if part is not None:
                part.close()

    def step(self) -> None:
        """Count a step."""
        if self._bar is not None:
            self._bar.update()

    def epoch(self, row: Mapping[str, float]) -> None:
        """Log an epoch by its row of the history."""
        told = {key: f"{row[key]:.4g}" for key in ("train_loss", "val_loss", "val_metric")}
        if self._bar is not None:
            self._bar.set_postfix(told)
        else:
            words = ", ".join(f"{key} {value}" for key, value in told.items())
            log.info("%s: epoch %d of %d: %s, %.1f s", self.name, row["epoch"], self.epochs, words, row["seconds"])
        if self._writer is not None:
            for key, value in row.items():
                if key != "epoch" and not math.isnan(value):
                    self._writer.add_scalar(key, value, row["epoch"])
