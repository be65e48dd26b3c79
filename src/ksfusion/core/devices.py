"""Which device a job computes on: several jobs on one machine share its GPUs, one job on each."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

# Open for as long as the process lives: its end, however it comes, gives the GPUs back.
_held: list[int] = []


Device = Literal["auto", "cpu", "cuda"]


def choose_device(asked: Device) -> str:
    """Return the PyTorch device of this process.

    Parameters
    ----------
    asked
        ``cpu``, ``cuda``, or ``auto``: the first GPU that no other job holds, else the processor where there is no
        GPU. SLURM shows a job its own GPUs alone, in CUDA_VISIBLE_DEVICES.

    Returns
    -------
    str
        Such as ``cuda:1``.
    """
    if asked != "auto":
        return asked
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    names = [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]
    number = claim_gpu(names)
    # What is allocated without naming a device goes there too.
    torch.cuda.set_device(number)
    return f"cuda:{number}"


def claim_gpu(names: Sequence[str]) -> int:
    """Take the first GPU that no process on this machine has taken; where all are, share one.

    Parameters
    ----------
    names
        Identifier of each GPU, which no other has.

    Returns
    -------
    int
        Its position.
    """
    for number, name in enumerate(names):
        path = Path(tempfile.gettempdir(), f"ksfusion-{os.getuid()}-{name}.lock")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        _held.append(file)
        return number
    return os.getpid() % len(names)
