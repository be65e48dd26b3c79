"""The division of the cases into training, validation and test."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ksfusion.cohort.config import SplitCasesSettings, Splits
from ksfusion.cohort.splits import divide_cases
from ksfusion.core.errors import DamagedFileError, UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_provenance
from ksfusion.terms.split_table import read_splits, refuse_twice, refuse_unknown, write_splits


def split_cases(samples: Path, cases: Path, output: Path, *, settings: SplitCasesSettings) -> None:
    """Divide the cases into training, validation and test; those of external cohorts are apart.

    Parameters
    ----------
    samples
        The validated samples, of `check-cohort`.
    cases
        The labelled cases, of `check-cohort`.
    output
        Gets fold, case_id, split of every case that has a sample; what stands there from the same settings is kept,
        but for the cases of a cohort that has become external, or is no longer.
    settings
        Division of the cases, and the column that makes the strata.

    Raises
    ------
    UserError
        If a split is empty, a case has no site or more than one, the user's file does not fit the cases, a case or site
        is in an external cohort and in another, or the split that is there is none any more.
    """
    sampled = read_parquet(samples)
    earlier = _earlier_split(output, settings.splits, set(sampled["case_id"]))
    table = divide_cases(sampled, read_parquet(cases), settings.splits, stratify=settings.stratify, earlier=earlier)
    write_splits(table, output, provenance(__name__, settings.record()))


def _earlier_split(output: Path, splits: Splits, cases: set[str]) -> pd.DataFrame | None:
    """Return the split that is there, if the same settings made it, of whichever cohorts."""
    try:
        made_with = Splits.model_validate(read_provenance(output)["settings"]["splits"])
    except (OSError, ValueError, KeyError):
        return None
    except DamagedFileError:
        raise UserError(
            f"{output}: what is noted of it beside it is damaged; delete it and run again, or keep its splits by "
            "naming a copy of it in splits.file"
        ) from None
    if made_with.model_copy(update={"external": splits.external}) != splits:
        return None
    table, changed = read_splits(output)
    if changed:
        refuse_twice(table, output)
        refuse_unknown(table, output, cases)
    return table
