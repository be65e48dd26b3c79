"""What an audit finds: which check, of what, and what was seen."""

from __future__ import annotations

from typing import TypedDict


class Finding(TypedDict):
    """A row of the audit.

    Attributes
    ----------
    check
        Its name, as `docs/cohort.md` lists them.
    subject
        What it is of: a case, a sample, a cohort or a column.
    detail
        What was seen.
    """

    check: str
    subject: str
    detail: str


FINDING_COLUMNS = list(Finding.__annotations__)
