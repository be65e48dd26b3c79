"""Training of several methods for one task and fold, one after another in one process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.devices import Device
from ksfusion.core.errors import UserError
from ksfusion.stages.train_model import train_model
from ksfusion.training.config import TrainModelSettings
from ksfusion.training.data import FoldFiles


def train_together(
    files: FoldFiles,
    output: Sequence[Path],
    *,
    method: Sequence[str],
    fold: int,
    seed: Sequence[int],
    settings: Sequence[TrainModelSettings],
    chosen: Sequence[Path] = (),
    tensorboard: bool = False,
    device: Device = "auto",
) -> None:
    """Train methods for one task and fold, with some seeds each; runs are those of `train-model`, to the byte.

    Python and torch are started once, which takes longer than a short training. Runs that were finished before with the
    same settings, code and inputs are not trained anew, so that a change of one method trains that one.

    Parameters
    ----------
    files
        Files of the earlier stages; expression and genes are those of the fold.
    output
        Folder of each method and seed: all seeds of the first method, then those of the next.
    method
        Names of the methods.
    fold
        Number of the fold.
    seed
        Seeds of initialisation, dropout and the order of samples.
    settings
        Task, and what the training reads, of each method.
    chosen
        File of ``search-settings`` of each method, or none at all.
    tensorboard
        Write event files for TensorBoard to ``tensorboard`` in the folder of each run.
    device
        Device of the models.

    Raises
    ------
    UserError
        If there is not a folder for each method and seed, or what `train-model` would refuse.
    """
    if len(output) != len(method) * len(seed):
        expected = f"{len(method)} methods with {len(seed)} seeds"
        raise UserError(f"--output: {len(output)} folders for {expected}; give each its own")
    if len(settings) != len(method) or len(chosen) not in (0, len(method)):
        given = f"{len(settings)} settings and {len(chosen)} chosen ones"
        raise UserError(f"--settings: {given} for {len(method)} methods; give each its own")
    for number, (name, own) in enumerate(zip(method, settings, strict=True)):
        train_model(
            files,
            output[number * len(seed) : (number + 1) * len(seed)],
            method=name,
            fold=fold,
            seed=seed,
            settings=own,
            chosen=chosen[number] if chosen else None,
            tensorboard=tensorboard,
            device=device,
        )
