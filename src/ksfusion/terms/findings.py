"""What a check of the inputs finds: which check, of what, and what was seen."""

from __future__ import annotations

from typing import TypedDict


class Finding(TypedDict):
    """A row of a table of findings.

    Attributes
    ----------
    check
        Its name, as `docs/cohort.md` and `docs/data.md` list them.
    subject
        What it is of: a case, a sample, a cohort or a column.
    detail
        What was seen.
    """

    check: str
    subject: str
    detail: str


FINDING_COLUMNS = list(Finding.__annotations__)
# Checks whose names two domains know.
EXTREME_EXPRESSION = "extreme_expression"
