"""Whether enough slides and samples came through to go on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_tsv
from ksfusion.terms.failures import most_failed

# Of a reason that is no slide's fault.
NOT_FINITE = "; not_finite is the encoder's: see features.precision and its weights"


def check_failures(slides: Path, samples: Path, *, max_failed_fraction: float) -> None:
    """Stop where too many slides failed, or no sample is left; the ledger that says why stays.

    Parameters
    ----------
    slides, samples
        The ledger: tables with a ``status`` (``ok`` or not) and a ``reason``.
    max_failed_fraction
        The share of slides that may fail.

    Raises
    ------
    UserError
        If more failed, or no sample is complete.
    """
    check_slides(read_tsv(slides, dtype=str), max_failed_fraction=max_failed_fraction, where=f"{slides} says")
    n_samples, excluded = _lost(read_tsv(samples, dtype=str))
    if sum(excluded.values()) == n_samples:
        raise UserError(
            f"no sample has a readable slide, a profile and a label ({_listed(excluded)}); {samples} says what each "
            "lacks: check the expression_id column and the paths of the sample table"
        )


def check_slides(slides: pd.DataFrame, *, max_failed_fraction: float, where: str) -> None:
    """Stop where too many slides failed.

    Parameters
    ----------
    slides : pandas.DataFrame, one row per slide
        With ``status`` (``ok`` or not) and ``reason``.
    max_failed_fraction
        The share of slides that may fail.
    where
        Words of the message that say where they are listed.

    Raises
    ------
    UserError
        If more failed.
    """
    n_slides, failed = _lost(slides)
    most = most_failed(n_slides, max_failed_fraction)
    if sum(failed.values()) > most:
        raise UserError(
            f"{sum(failed.values())} of {n_slides} slides failed ({_listed(failed)}), more than the {most} that "
            f"slides.max_failed_fraction = {max_failed_fraction} allows; {where} which: mend or remove them, "
            f"or raise that limit{NOT_FINITE if 'not_finite' in failed else ''}"
        )


def _lost(ledger: pd.DataFrame) -> tuple[int, dict[str, int]]:
    """Return the number of rows, and of those that are not ``ok`` by reason, the most frequent first."""
    return len(ledger), ledger.loc[ledger["status"] != "ok", "reason"].value_counts().to_dict()


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())
