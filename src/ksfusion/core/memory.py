"""How much memory this machine, or the job, may use: what is larger is refused before it is read."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from ksfusion.core.errors import UserError

CGROUPS = Path("/sys/fs/cgroup")


def memory_limit() -> int:
    """Return the memory in bytes that this process can have: the machine's, or less where its job is limited."""
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits()])


def check_fits_memory(path: Path, what: str, needed: int) -> None:
    """Raise a UserError if what a file holds is larger than the memory that this process can have.

    Parameters
    ----------
    path
        The file.
    what
        Name of the contents, for the message.
    needed
        The bytes that it takes in memory.
    """
    if needed > (limit := memory_limit()):
        raise UserError(
            f"{path}: {what} take {needed / 2**30:,.1f} GiB, and this job can have {limit / 2**30:,.1f} GiB of memory; "
            "keep only the profiles and genes of the study, or give it more memory"
        )


def _limits() -> Iterator[int]:
    """Yield the limits of ``ulimit -v`` and of the control groups, where there are any."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft
    for file in _group_files():
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            yield int(text)


def _group_files() -> Iterator[Path]:
    """Yield where the limits of this process's control groups stand, in version 2 and in version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, name = (CGROUPS, "memory.max") if not controllers else (CGROUPS / "memory", "memory.limit_in_bytes")
        place = root / group.lstrip("/")
        # In a container the group's path may start outside of what is seen here.
        yield from (folder / name for folder in (place, *place.parents) if folder.is_relative_to(root))
