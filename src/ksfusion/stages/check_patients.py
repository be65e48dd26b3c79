"""The check of the table of new patients' samples."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ksfusion.cohort.pairing import pairing_levels
from ksfusion.cohort.samples import read_new_samples
from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.predictions.config import CheckPatientsSettings


def check_patients(samples_output: Path, cases_output: Path, *, settings: CheckPatientsSettings) -> None:
    """Validate the table of new patients' samples, of whom no label is known.

    Parameters
    ----------
    samples_output
        Gets the validated samples, with the level at which slide and profile are paired.
    cases_output
        Gets their cases.
    settings
        The table, the cohorts that have expression, and what is read of a sample.

    Raises
    ------
    UserError
        If the table is not valid; every problem is a line.
    """
    known = settings.columns, settings.expression_cohorts, settings.modalities
    tables = read_new_samples(settings.samples, *known)
    samples = pd.DataFrame(tables.samples)
    samples["mpp"] = pd.to_numeric(samples["mpp"], errors="coerce")
    samples["pairing"] = pairing_levels(samples)
    made_by = provenance(__name__, settings.record())
    write_parquet(samples.sort_values("sample_id", ignore_index=True), samples_output, made_by)
    write_parquet(pd.DataFrame(tables.cases), cases_output, made_by)
