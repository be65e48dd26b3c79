"""How names of tasks, classes, checks and reasons are printed."""

from __future__ import annotations

import re
from collections.abc import Mapping

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def plain(name: str) -> str:
    """Return the name of a task, class or check in plain words."""
    return re.sub(r"\bg([1-4])\b", r"grade \1", name.replace("_", " "))


def in_words(task: str, titles: Mapping[str, str]) -> str:
    """Return what a task is called within a sentence: its title as it is, else its name in plain words."""
    return titles.get(task) or plain(task)


def heading(task: str, titles: Mapping[str, str]) -> str:
    """Return what a task is called at the beginning of a line: its title as it is, else its name in plain words."""
    return titles.get(task) or plain(task).capitalize()
