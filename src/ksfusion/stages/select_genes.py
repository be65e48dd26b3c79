"""The genes of a fold, chosen and scaled; nothing is fitted on validation or test cases."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_wide_parquet, write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_provenance, read_tsv, write_tsv
from ksfusion.genes.config import Genes
from ksfusion.genes.selection import (
    check_ranking_of_zscores,
    choose_and_scale,
    fitted_samples,
    outside_samples,
    samples_with_profiles,
)
from ksfusion.genes.sets.grouping import with_groups
from ksfusion.terms.gene_columns import PROFILE_KEYS
from ksfusion.terms.gene_sets import VERSIONS
from ksfusion.terms.split_table import splits_of_fold


def select_genes(
    profiles: Path,
    samples: Path,
    splits: Path,
    output: Path,
    *,
    fold: int,
    settings: Genes,
    library_sizes: Path | None = None,
) -> None:
    """Choose the genes of each niche and scale them.

    Genes are chosen and scaled on the training cases' profiles (on those of all samples but external cohorts' when
    ``fit_on`` is ``all``).

    Parameters
    ----------
    profiles
        Expression of all cohorts, of `read-expression`.
    samples
        Table of samples and whether each is in use, of `write-ledger`.
    splits
        Sides of the cases, of `split-cases`.
    output
        Folder that gets ranking.tsv, selected.tsv, conflicts.tsv, expression.parquet and, but for ComBat, which cannot
        be frozen, scaling.tsv, in which external cohorts have no part.
    fold
        The fold whose training cases count.
    settings
        Choice and scaling of the genes; ``sets: builtin`` are those by which `read-expression` named genes.
    library_sizes
        Reads of each profile whose unit is counts, of `read-expression`; rankings of raw counts want them.

    Raises
    ------
    UserError
        If there is no training profile, a niche is left without genes, the ranking wants counts and a cohort has
        none, or an external cohort lacks too many of the genes, or cases.
    """
    table = read_wide_parquet(profiles, PROFILE_KEYS)
    text = dict.fromkeys(("sample_id", "case_id", *PROFILE_KEYS), str)
    used = samples_with_profiles(read_tsv(samples, dtype=text), table.index)
    split_of = splits_of_fold(splits, fold, used["case_id"])
    fitted = fitted_samples(used, split_of, settings.fit_on)
    if fitted.empty:
        raise UserError(f"{samples}: no sample of fold {fold} to choose genes on; see its status and reason")
    read = read_provenance(profiles)["settings"]
    # Version 0.1.0 had one version of the gene sets, and did not write it.
    sources, names = read.get("sources", []), read.get("names", VERSIONS[0])
    settings = settings.of_version(names)
    ranked = set(fitted["cohort"])
    scored = [source["cohort"] for source in sources if source["unit"] == "zscore" and source["cohort"] in ranked]
    check_ranking_of_zscores(scored, settings)
    sizes = _read_library_sizes(library_sizes) if library_sizes is not None else None
    outside = outside_samples(used, split_of)
    genes = choose_and_scale(table, used, fitted, settings, outside=outside, library_sizes=sizes, names=names)

    made_by = provenance(__name__, {**settings.record(), "fold": fold})
    write_tsv(genes.conflicts, output / "conflicts.tsv", made_by)
    write_tsv(genes.ranking, output / "ranking.tsv", made_by)
    write_tsv(with_groups(genes.selected, settings.groups, names=names), output / "selected.tsv", made_by)
    if genes.scaling is None:
        # Another run's scaling would be taken for this one's.
        (output / "scaling.tsv").unlink(missing_ok=True)
    else:
        write_tsv(genes.scaling.table(), output / "scaling.tsv", made_by)
    write_parquet(genes.expression, output / "expression.parquet", made_by)


def _read_library_sizes(path: Path) -> pd.Series:
    keys = list(PROFILE_KEYS)
    return read_tsv(path, dtype=dict.fromkeys(keys, str)).set_index(keys)["library_size"]
