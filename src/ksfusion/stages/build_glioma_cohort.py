"""`ksfusion cohort`: the tables of samples and cases of the paper's cohort, or CPTAC's, from what a user downloads."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ksfusion.cohort.glioma.build import GliomaCohort, collect_glioma_cohort
from ksfusion.cohort.glioma.cptac import collect_cptac_cohort
from ksfusion.cohort.glioma.specimens import SAMPLE_COLUMNS, PairingOfSlides, Row
from ksfusion.core.errors import UserError
from ksfusion.core.storage import write_text
from ksfusion.terms.units import DAYS_IN

log = logging.getLogger(__name__)

MISSING_COLUMNS = ("subject", "column", "reason")


def build_glioma_cohort(
    recipe: Literal["glioma", "cptac-gbm"],
    output: Path,
    *,
    tcga: Path | None = None,
    ivygap: Path | None = None,
    ivygap_mpp: float | None = None,
    cptac: Path | None = None,
    known: Path | None = None,
    pairs: PairingOfSlides = "closest",
) -> None:
    """Build the tables of samples and cases from what was downloaded (docs/data.md).

    Parameters
    ----------
    recipe
        glioma: the paper's cohort, TCGA-GBM, TCGA-LGG and IvyGAP; cptac-gbm: the glioblastomas of CPTAC-3.
    output
        Folder that gets samples.tsv, cases.tsv and missing.tsv.
    tcga
        Folder with slides/, expression/, sample sheets, clinical data, markers, copy numbers.
    ivygap
        Folder with slides/, expression/, tumor_details.csv, sub_block_details.csv.
    ivygap_mpp
        Micrometres per pixel of IvyGAP's images.
    cptac
        Folder with slides/, expression/, sample sheet, clinical data, and the table of slides.
    known
        Table of case_id and columns of cases.tsv that you know better; its values win.
    pairs
        Profiles of a slide: the one taken closest to it, or all of its case.

    Raises
    ------
    UserError
        If a folder or a table is not what it should be, or no slide or profile of a known case is found.
    """
    if recipe == "cptac-gbm":
        if not cptac or tcga or ivygap:
            raise UserError(
                "cohort cptac-gbm: give --cptac the folder of its downloads, and neither --tcga nor --ivygap"
            )
        cohort = collect_cptac_cohort(cptac, known_cases=known, pairs=pairs)
    elif cptac:
        raise UserError("--cptac: its table is one of its own; give ksfusion cohort cptac-gbm")
    else:
        cohort = collect_glioma_cohort(tcga=tcga, ivygap=ivygap, known_cases=known, ivygap_mpp=ivygap_mpp, pairs=pairs)
    _write(cohort.samples, SAMPLE_COLUMNS, output / "samples.tsv")
    _write(cohort.cases, cohort.case_columns, output / "cases.tsv")
    noted = [dict(zip(MISSING_COLUMNS, row, strict=True)) for row in sorted(set(cohort.missing.rows))]
    _write(noted, MISSING_COLUMNS, output / "missing.tsv")
    _report(cohort, with_markers=recipe == "glioma")
    log.info("wrote samples.tsv, cases.tsv and missing.tsv to %s", output)


def _write(rows: Sequence[Row], columns: Sequence[str], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(
        text, columns, restval="", delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
    )
    writer.writeheader()
    writer.writerows(rows)
    write_text(text.getvalue(), path)


def _report(cohort: GliomaCohort, *, with_markers: bool) -> None:
    """Log how many samples there are, and how much is missing, by column and reason."""
    complete = sum(bool(row["slide"] and row["expression_id"]) for row in cohort.samples)
    by_cohort = sorted(Counter(row["cohort"] for row in cohort.samples).items())
    cohorts = ", ".join(f"{name} {count}" for name, count in by_cohort)
    log.info(
        "%d samples (%s) of %d cases; %d have slide and profile",
        len(cohort.samples), cohorts, len(cohort.cases), complete,
    )  # fmt: skip
    if with_markers:
        log.info("survival_days: days; months of the marker table count %s days each", DAYS_IN["months"])
    for (column, reason), count in cohort.missing.counts().items():
        log.info("%s: %d x %s", column, count, reason)
