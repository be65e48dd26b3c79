"""What is wrong with a slide that cannot be used: a closed list of reasons, which the ledger shows."""

from __future__ import annotations

from typing import Any, Literal, get_args

Reason = Literal[
    "missing_file",
    "unreadable",
    "truncated",
    "missing_mpp",
    "implausible_mpp",
    "too_coarse",
    "too_large",
    "no_tissue",
    "too_few_tiles",
    "not_finite",
    "timeout",
]
REASONS: tuple[str, ...] = get_args(Reason)


class SlideError(Exception):
    """A slide that cannot be used.

    Attributes
    ----------
    reason : str
        One of the closed list `REASONS`; what the ledger shows.
    known : dict
        What is known of the slide all the same, under the names of the table of tiles: ``mpp``, ``mpp_source``.
    """

    def __init__(self, reason: Reason, message: str, known: dict[str, Any] | None = None):
        super().__init__(message)
        self.reason: Reason = reason
        self.known = known or {}

    def __reduce__(self) -> tuple[type[SlideError], tuple[Reason, str, dict[str, Any]]]:
        return type(self), (self.reason, str(self), self.known)
