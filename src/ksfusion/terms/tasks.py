"""What a task asks of a model: the kinds of tasks there are, and what training and results know of one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ksfusion.core.config_block import Block, Name

TaskKind = Literal["classification", "survival"]


class TaskOutcome(Block):
    """What is predicted: one of some classes, or how long a case survives.

    Attributes
    ----------
    name
        Of the task.
    kind
        ``classification`` or ``survival``.
    classes
        In the order of their numbers; empty for survival.
    """

    name: Name
    kind: TaskKind
    classes: list[str] = Field(default_factory=list)
