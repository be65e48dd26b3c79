"""How files are written: to a temporary name, and renamed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ksfusion.core.errors import UserError
from ksfusion.core.machine_errors import is_out_of_room, no_room


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its name when the block ends without an error.

    The temporary file or folder keeps the suffix of ``path`` and is removed when the block fails. A file gets the mode
    that the umask asks for, whatever wrote it.

    Raises
    ------
    UserError
        If the disk has no room for it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        yield temporary
        if temporary.is_file():
            temporary.chmod(0o666 & ~_umask())
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    except Exception as error:
        if is_out_of_room(error, path.parent):
            raise UserError(no_room(path.parent, path.name)) from error
        raise
    finally:
        _remove(temporary)


def _umask() -> int:
    # Linux tells it; elsewhere it is known only by setting another one.
    with contextlib.suppress(OSError, StopIteration), Path("/proc/self/status").open(encoding="utf-8") as status:
        return int(next(line for line in status if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of jobs that were killed while they wrote ``path``."""
    name = re.compile(rf"\.{re.escape(path.stem)}\.\d+{re.escape(path.suffix)}")
    for entry in path.parent.iterdir():
        if name.fullmatch(entry.name):
            _remove(entry)
