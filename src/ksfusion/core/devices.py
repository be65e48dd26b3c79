"""Which device a job computes on: the jobs on one machine share its GPUs, each of which has as many as the others."""

from __future__ import annotations

import fcntl
import itertools
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
        ``cpu``, ``cuda``, or ``auto``: the GPU that fewest other jobs hold, else the processor where there is no GPU.
        SLURM shows a job its own GPUs alone, in CUDA_VISIBLE_DEVICES.

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
    """Take a place on the GPU on which fewest processes of this machine have one, the first of equals.

    Parameters
    ----------
    names
        Identifier of each GPU, which no other has.

    Returns
    -------
    int
        Its position.
    """
    for turn in itertools.count():
        place, number = divmod(turn, len(names))
        ending = f"-{place}" if place else ""
        path = Path(tempfile.gettempdir(), f"ksfusion-{os.getuid()}-{names[number]}{ending}.lock")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        _held.append(file)
        break
    return number
