"""What to say where the machine, not the code, has ended a job: no room on a disk, no memory, a package missing."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path

OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT)
# What file systems say that cannot take room for a file beforehand.
CANNOT_TAKE_ROOM = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
# Not every library says why it could not write: a disk with less than this is full.
FULL_BYTES = 1 << 16
# What is raised where memory runs out, by name: PyTorch and the pools of processes are not imported for it.
OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError", "BrokenProcessPool")
CANNOT_ALLOCATE = ("can't allocate memory", os.strerror(errno.ENOMEM))
MORE_MEMORY = "let fewer jobs run at once (--cores), or give the job more memory (mem_mb of its rule in the profile)"
# Settings that make a stage need less.
LOWER = {
    "extract_features": "lower features.batch_size or the processes that read (--set-threads extract_features=N), ",
    "train_model": "lower training.batch_size, ",
    "train_together": "lower training.batch_size, ",
    "search_settings": "lower training.batch_size, ",
}
# What the shell adds to the log of a job that was killed by signal 9, and could say nothing itself.
KILLED = (
    "was killed, most likely because memory ran out: lower features.batch_size or training.batch_size, " + MORE_MEMORY
)

# And to that of a job that a library has ended: by signal 6, 7 or 11.
CRASHED = (
    "crashed, most likely over a damaged file or a failing disk; see whether the files that it reads can be opened and "
    "run again"
)


def is_out_of_room(error: BaseException, folder: Path) -> bool:
    """Return whether an error came of a full disk, or a used-up quota, in a folder."""
    said = str(error)
    if getattr(error, "errno", None) in OUT_OF_ROOM or any(os.strerror(code) in said for code in OUT_OF_ROOM):
        return True
    return isinstance(error, OSError | RuntimeError) and _is_full(folder)


def _is_full(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < FULL_BYTES
    return False


def take_room(path: Path, size: int) -> None:
    """Take room on the disk for a file that will be so many bytes long, where the file system can.

    What is written into a memory map or by HDF5 on a full disk ends the process; what has room beforehand does not.

    Raises
    ------
    OSError
        If there is no room.
    """
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in CANNOT_TAKE_ROOM:
            raise


def no_room(folder: Path | str, name: str = "") -> str:
    """Return the line on a folder that has no room for a file."""
    what = f" for {name}" if name else ""
    return f"{folder} has no room left{what}; free some, or move to a larger disk, and run again"


def explain(error: BaseException, stage: str) -> str | None:
    """Return the line on an error that the machine has caused; None where it is of another kind.

    Parameters
    ----------
    error
        Error that a stage has raised.
    stage
        Its name.
    """
    if isinstance(error, OSError) and error.errno in OUT_OF_ROOM:
        if error.filename:
            return no_room(Path(os.fsdecode(error.filename)).parent)
        places = [Path.cwd(), Path(tempfile.gettempdir())]
        full = [place for place in places if _is_full(place)] or places
        return no_room(" or ".join(map(str, full)))
    if isinstance(error, ImportError) and "ksfusion" not in f"{error.name} {error}":
        return f"{stage}: a package cannot be loaded ({error}); ksfusion doctor says which are not as they should be"
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & set(OUT_OF_MEMORY) or any(words in str(error) for words in CANNOT_ALLOCATE):
        return f"{stage}: memory ran out; {LOWER.get(stage, '')}{MORE_MEMORY}"
    return None
