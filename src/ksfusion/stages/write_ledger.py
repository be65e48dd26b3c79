"""The ledger: the tables that say of every slide and every sample what became of it, and why."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pandas as pd

from ksfusion.cohort.config import WriteLedgerSettings
from ksfusion.cohort.ledger import LedgerFiles, labelled_cases, sample_ledger, slide_ledger
from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.core.timing import read_timing
from ksfusion.terms.gene_columns import PROFILE_KEYS
from ksfusion.terms.modalities import MODALITIES

log = logging.getLogger(__name__)


def write_ledger(
    files: LedgerFiles,
    slides_output: Path,
    samples_output: Path,
    timing_output: Path,
    *,
    settings: WriteLedgerSettings,
) -> None:
    """Write the status of every slide and sample, with the reason where it is not used.

    Parameters
    ----------
    files
        The files of the stages before.
    slides_output
        Gets the slides: status, reason, scale, tissue, tiles, patches.
    samples_output
        Gets the samples: status and reason.
    timing_output
        Gets the seconds that each stage took for each slide.
    settings
        Parts that a sample must have, pairings that count, and the kind of each task.
    """
    slide_table = slide_ledger(files.tiles, files.stain, files.patches, files.features)
    found = read_parquet(files.profiles, columns=list(PROFILE_KEYS))
    sample_table = sample_ledger(
        read_parquet(files.samples),
        slide_table,
        set(found.itertuples(index=False, name=None)),
        labelled_cases(read_parquet(files.cases), settings.tasks),
        pairing=settings.pairing,
        require=settings.require,
    )
    for slide_id, reason in slide_table.loc[slide_table["status"] != "ok", ["slide_id", "reason"]].to_numpy():
        log.warning("slide %s: %s", slide_id, reason)
    excluded = sample_table.loc[sample_table["status"] != "ok", "reason"].value_counts().to_dict()
    log.info("%d samples, excluded: %s", len(sample_table), json.dumps(excluded))
    used = sample_table.loc[sample_table["status"] == "ok"]
    log.info("cases in use: %s", json.dumps(used.groupby(MODALITIES)["case_id"].nunique().to_dict()))
    made_by = provenance(__name__, settings.record())
    write_tsv(slide_table, slides_output, made_by)
    write_tsv(sample_table, samples_output, made_by)
    seconds = {"tile": files.tiles, "stain": files.stain, "features": files.features}
    timing = pd.DataFrame({f"{stage}_seconds": read_timing(outputs) for stage, outputs in seconds.items()})
    write_tsv(timing.reindex(slide_table["slide_id"]).reset_index(names="slide_id"), timing_output)
