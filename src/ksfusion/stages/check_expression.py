"""Single values of expression that bear on a whole fold."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from ksfusion.core.parquet import read_parquet, read_wide_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.genes.config import Genes
from ksfusion.genes.extremes import beyond, carried
from ksfusion.genes.selection import by_cohort, fitted_samples, outside_samples, samples_with_profiles
from ksfusion.genes.unseen import cases_by_cohort, profiles_by_cohort, unseen_findings
from ksfusion.terms.findings import FINDING_COLUMNS
from ksfusion.terms.gene_columns import PROFILE_KEYS
from ksfusion.terms.split_table import splits_of_fold

log = logging.getLogger(__name__)


def check_expression(
    profiles: Path, samples: Path, splits: Path, genes: Path, output: Path, *, fold: int, settings: Genes
) -> None:
    """Look for values that are far from all others, for genes that are chosen by one value, or missing outside.

    Parameters
    ----------
    profiles
        Expression of all cohorts, of `read-expression`.
    samples
        Table of samples and whether each is in use, of `write-ledger`.
    splits
        Sides of the cases, of `split-cases`.
    genes
        Folder of the fold's genes, of `select-genes`.
    output
        Gets the findings: check, subject (the cohort), detail.
    fold
        The fold whose training cases count.
    settings
        Choice and scaling of the genes.
    """
    table = read_wide_parquet(profiles, PROFILE_KEYS)
    text = dict.fromkeys(("sample_id", "case_id", *PROFILE_KEYS), str)
    used = samples_with_profiles(read_tsv(samples, dtype=text), table.index)
    split_of = splits_of_fold(splits, fold, used["case_id"])
    table, _, of_cohort = by_cohort(table, fitted_samples(used, split_of, settings.fit_on))
    chosen = read_tsv(genes / "ranking.tsv", dtype={"symbol": str})["chosen"].sum()
    selected = read_tsv(genes / "selected.tsv", dtype={"symbol": str})["symbol"].tolist()
    findings = list(carried(of_cohort, selected, int(chosen)))
    if settings.clip is None and settings.harmonise != "none":
        findings += beyond(read_parquet(genes / "expression.parquet"), used)
    outside = outside_samples(used, split_of)
    findings += unseen_findings(profiles_by_cohort(table, outside), selected, cases_by_cohort(outside), settings)
    for finding in findings:
        log.warning("cohort %s: %s", finding["subject"], finding["detail"])
    made_by = provenance(__name__, {**settings.record(), "fold": fold})
    write_tsv(pd.DataFrame(findings, columns=FINDING_COLUMNS), output, made_by)
