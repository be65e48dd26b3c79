"""How names of tasks, classes, checks and reasons are printed."""

from __future__ import annotations

import re

DASH = "\N{EN DASH}"


def plain(name: str) -> str:
    """Return the name of a task, class, check or reason in plain words."""
    return re.sub(r"\bg([1-4])\b", r"grade \1", name.replace("_", " "))
