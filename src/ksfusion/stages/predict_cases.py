"""What the models of a bundle say of new patients."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.bundles import read_bundle
from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_json, write_tsv
from ksfusion.predictions.cases import predict_new
from ksfusion.predictions.config import PredictCasesSettings
from ksfusion.predictions.files import NewFiles, read_new
from ksfusion.predictions.table import case_row, lines_on, member_table

log = logging.getLogger(__name__)


def predict_cases(
    files: NewFiles,
    *,
    output: Path,
    members_output: Path,
    answers_output: Path,
    settings: PredictCasesSettings,
    tiles: Sequence[Path] = (),
    stain: Sequence[Path] = (),
) -> None:
    """Predict new patients by all models of a bundle.

    A patient none of whose samples can be used is a row with its reason.

    Parameters
    ----------
    files
        The bundle, and what the stages before have made of the samples.
    output
        TSV: a row for each patient (`ksfusion.predictions.table`).
    members_output
        Parquet: what each model predicts of each sample, with the columns of ``predictions.parquet`` and the seed.
    answers_output
        JSON: all that is told of each patient (`ksfusion.predictions.cases.PredictedCase`).
    settings
        Which bundle it is.
    tiles, stain
        Tiles and stain of all batches.

    Raises
    ------
    UserError
        If the bundle is not what its manifest says, or does not fit the files.
    """
    bundle = read_bundle(files.bundle)
    parts = [read_parquet(path, columns=["slide_id", "digest"]) for path in tiles]
    digests = dict(pd.concat(parts).drop_duplicates("slide_id").to_numpy()) if parts else {}
    cases, tables = predict_new(bundle, read_new(files, bundle, stain), digests, settings.level)
    rows = [case_row(case.case_id, case.samples, case.answer, case.flags, bundle.task) for case in cases]
    for line in lines_on(rows):
        log.info("%s", line)
    made_by = provenance(__name__, settings.record())
    write_parquet(member_table(tables), members_output, made_by)
    write_json({"cases": [case.record() for case in cases], "provenance": made_by}, answers_output)
    write_tsv(pd.DataFrame(rows), output, made_by)
