"""The division of the cases into training, validation and test."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ksfusion.cohort.config import SplitCasesSettings, Splits
from ksfusion.cohort.split_files import COLUMNS
from ksfusion.cohort.splits import divide_cases
from ksfusion.core.errors import UserError
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_parquet, read_provenance, read_tsv, write_tsv
from ksfusion.terms.splits import SPLITS


def split_cases(samples: Path, cases: Path, output: Path, *, settings: SplitCasesSettings) -> None:
    """Divide the cases into training, validation and test.

    Parameters
    ----------
    samples
        The validated samples, of `check-cohort`.
    cases
        The labelled cases, of `check-cohort`.
    output
        Gets fold, case_id, split of every case that has a sample; what stands there from the same settings is kept.
    settings
        How the cases are divided, and the column that makes the strata.

    Raises
    ------
    UserError
        If a side is empty, a case has no site or more than one, the user's file does not fit the cases, or the split
        that is there is none any more.
    """
    earlier = _earlier_split(output, settings.splits)
    table = divide_cases(
        read_parquet(samples), read_parquet(cases), settings.splits, stratify=settings.stratify, earlier=earlier
    )
    write_tsv(table, output, provenance(__name__, settings.record()))


def _earlier_split(output: Path, splits: Splits) -> pd.DataFrame | None:
    """Return the split that is there, if the same settings made it."""
    try:
        made_with = Splits.model_validate(read_provenance(output)["settings"]["splits"])
        table = read_tsv(output, dtype={"case_id": str})
    except (OSError, ValueError, KeyError):
        return None
    if made_with != splits:
        return None
    if not (set(COLUMNS) <= set(table.columns) and table["split"].isin(SPLITS).all()):
        raise UserError(f"{output}: was changed and is no split any more; delete it, or give it as splits.file")
    return table
