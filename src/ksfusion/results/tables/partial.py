"""Test samples with a slide or genes alone, beside the paired ones on which methods are compared.

Where the samples of a study differ in what they have, a method that reads slides alone is trained and scored on others
than one that reads both. All tables, figures and tests are of the paired test samples, which every method has; the
others have rows of their own, of the methods that serve them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from ksfusion.results.config import ALL
from ksfusion.results.metrics import NAN
from ksfusion.results.runs import Run
from ksfusion.terms.modalities import GENES_ONLY, MODALITIES, PAIRED, SLIDES_ONLY

ALONE = (SLIDES_ONLY, GENES_ONLY)


def with_partial(
    table: pd.DataFrame, runs: Sequence[Run], score: Callable[[Sequence[Run]], pd.DataFrame]
) -> pd.DataFrame:
    """Return a long table with the column that says of which samples it is, and rows of samples with one modality.

    Parameters
    ----------
    table
        Long table of the test samples that methods are compared on, and of external cohorts.
    runs
        The runs.
    score
        Returns the long table of runs.

    Returns
    -------
    pandas.DataFrame
        ``modalities`` is `ALL` where all samples of the study have the same, else ``paired``, then ``slides only`` and
        ``genes only``.
    """
    parts = [table.assign(**{MODALITIES: compared_on(runs)})]
    for kind in ALONE:
        if own := [run.on_partial(kind) for run in runs if kind in (run.partial or {})]:
            rows = score(own)
            # What a paper has published is of its own samples, paired ones.
            parts.append(rows[rows["method"].isin({run.method for run in own})].assign(paper=NAN, **{MODALITIES: kind}))
    return pd.concat(parts, ignore_index=True)


def compared_on(runs: Sequence[Run]) -> str:
    """Return which samples methods are compared on: paired ones, or `ALL` where all of the study have the same."""
    return PAIRED if any(run.partial is not None for run in runs) else ALL


def of_modalities(table: pd.DataFrame, kind: str = "") -> pd.DataFrame:
    """Return the rows of a long table of one kind of samples: of those that methods are compared on, unless it is said.

    A table without the column ``modalities`` has no others.
    """
    if MODALITIES not in table:
        return table
    return table[table[MODALITIES] == kind] if kind else table[~table[MODALITIES].isin(ALONE)]


def kinds_in(table: pd.DataFrame) -> list[str]:
    """Return the kinds of samples in a long table beside those that methods are compared on."""
    return [kind for kind in ALONE if MODALITIES in table and (table[MODALITIES] == kind).any()]


def whose(table: pd.DataFrame) -> str:
    """Return what the samples of a long table, of one kind, are called before the word samples, with a capital."""
    kinds = set(table[MODALITIES]) if MODALITIES in table else set()
    return {PAIRED: "Paired test", SLIDES_ONLY: "Slides-only test", GENES_ONLY: "Genes-only test"}.get(
        kinds.pop() if len(kinds) == 1 else ALL, "Test"
    )
