"""Choosing genes: the most variable of those that all cohorts share, kept where a gene set places them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.errors import UserError
from ksfusion.genes.niches import NICHES, gene_sets
from ksfusion.genes.scaling import MIN_PROFILES, fit_scaling
from ksfusion.provenance import provenance
from ksfusion.storage import read_parquet, read_provenance, read_tsv, write_parquet, write_tsv

log = logging.getLogger(__name__)

RANKINGS = ("within_cohort", "pooled")
SELECTED_COLUMNS = ["symbol", "rank", "variance", "category", "niche", "source"]
# Genes whose variance is computed together: bounds the memory of the float64 copy.
GENES_AT_A_TIME = 2048


def select_genes(
    profiles_by_cohort: Mapping[str, pd.DataFrame], *, top_fraction: float = 0.3, rank: str = "within_cohort"
) -> pd.DataFrame:
    """Rank the genes that all cohorts share by variance and choose the top ones.

    Parameters
    ----------
    profiles_by_cohort
        For each cohort, its profiles x genes in log units; every profile counts once.
    top_fraction
        Fraction of the shared genes to choose: round(fraction x genes), halves to even, at least one gene.
    rank
        ``within_cohort``: rank variances (1 = highest, ties share their mean rank) within each cohort and order genes
        by their mean rank, so that no cohort's scale decides; cohorts with fewer than two profiles have no say.
        ``pooled``: order by the variance over the profiles of all cohorts together. Equal genes go by symbol.

    Returns
    -------
    DataFrame
        symbol, variance (sample variance of the present values, averaged over cohorts when ``within_cohort``), rank
        (1 to the number of genes), chosen; in order of rank.

    Raises
    ------
    UserError
        If the cohorts share no gene, no cohort has two profiles, or an option is unknown.
    """
    if rank not in RANKINGS:
        raise UserError(f"genes.rank: {rank!r} is unknown; use {' or '.join(RANKINGS)}")
    if not 0 < top_fraction <= 1:
        raise UserError(f"genes.top_fraction: {top_fraction} is not above 0 and at most 1")
    tables = list(profiles_by_cohort.values())
    symbols = sorted(set.intersection(*(set(table.columns) for table in tables))) if tables else []
    if not symbols:
        raise UserError(f"no gene is shared by the cohorts {', '.join(profiles_by_cohort)}; see cohort.expression")
    if rank == "pooled":
        tables = [pd.concat([table[symbols] for table in tables])]
    tables = [table for table in tables if len(table) >= MIN_PROFILES]
    if not tables:
        raise UserError("no cohort has two expression profiles to rank genes by variance; add training samples")
    variances = np.stack([_variance(table, symbols) for table in tables])  # (cohorts, genes)
    rank_sum = sum(pd.Series(-variance).rank().to_numpy() for variance in variances)
    # Symbols are sorted and the sort is stable: equal genes stay in order of symbol.
    order = np.argsort(rank_sum, kind="stable")
    n_chosen = max(1, round(top_fraction * len(symbols)))
    return pd.DataFrame(
        {
            "symbol": np.array(symbols, dtype=object)[order],
            "variance": variances.mean(axis=0)[order],
            "rank": np.arange(1, len(symbols) + 1),
            "chosen": np.arange(len(symbols)) < n_chosen,
        }
    )


def _variance(profiles: pd.DataFrame, symbols: list[str]) -> np.ndarray:
    """Return the sample variance of each gene's present values, 0 where fewer than two are present."""
    values, columns = profiles.to_numpy(), profiles.columns.get_indexer(symbols)
    variance = np.empty(len(symbols))
    for start in range(0, len(symbols), GENES_AT_A_TIME):
        part = values[:, columns[start : start + GENES_AT_A_TIME]].astype(np.float64)
        count = (~np.isnan(part)).sum(axis=0)
        part -= np.nansum(part, axis=0) / np.maximum(count, 1)
        variance[start : start + part.shape[1]] = np.nansum(part**2, axis=0) / np.maximum(count - 1, 1)
    return variance


def prepare_genes(
    profiles: Path, samples_ledger: Path, splits: Path, output_dir: Path, *, fold: int, genes: Mapping[str, Any]
) -> None:
    """Choose and scale the genes of one fold; nothing is fitted on validation or test cases.

    Genes are ranked and scaled on the training cases' profiles, each once however many samples it serves (on those of
    all samples when ``fit_on`` is ``all``), then the scaling is applied unchanged to every sample.

    Parameters
    ----------
    profiles
        ``genes/profiles.parquet``.
    samples_ledger, splits
        ``samples.tsv`` and ``cohort/splits.tsv`` of the results.
    output_dir
        ``genes/fold{fold}``: gets ``selected.tsv`` (symbol, rank, variance, category, niche, source; in order of
        rank), ``expression.parquet`` (sample_id x symbols, float32, of the samples whose status is ok) and
        ``scaling.tsv`` (cohort, symbol, mean, sd, fill; cohort ``all`` serves cohorts without training profiles).
    fold
        The fold whose training cases count.
    genes
        ``top_fraction``, ``rank``, ``fit_on``, ``harmonise`` and ``sets`` of the configuration.

    Raises
    ------
    UserError
        If there is no training profile, a niche is left without genes, or a setting is unknown.
    """
    if genes["fit_on"] not in ("train", "all"):
        raise UserError(f"genes.fit_on: {genes['fit_on']!r} is unknown; use train or all")
    table = read_parquet(profiles)
    # Popped rather than set_index, which would copy all values.
    table.index = pd.MultiIndex.from_arrays([table.pop("cohort"), table.pop("expression_id")])
    samples = _samples_with_profiles(samples_ledger, table.index)
    fitted = samples
    if genes["fit_on"] == "train":
        split = read_tsv(splits, dtype={"case_id": str})
        training = split.loc[(split["fold"] == fold) & (split["split"] == "train"), "case_id"]
        fitted = samples[samples["case_id"].isin(training)]
    if fitted.empty:
        raise UserError(f"{samples_ledger}: no sample of fold {fold} to choose genes on; see its status and reason")
    _warn_of_zscores(profiles)

    keys = pd.MultiIndex.from_frame(fitted[["cohort", "expression_id"]]).unique().sort_values()
    rows = pd.Series(table.index.get_indexer(keys))
    by_cohort = {
        cohort: table.iloc[part.to_numpy()] for cohort, part in rows.groupby(keys.get_level_values("cohort").to_numpy())
    }
    ranking = select_genes(by_cohort, top_fraction=genes["top_fraction"], rank=genes["rank"])
    del by_cohort
    selected = _in_niches(ranking, genes)

    table = table[selected["symbol"]]
    training_profiles = table.iloc[rows.to_numpy()]
    cohorts = training_profiles.index.get_level_values("cohort").to_series()
    scaling = fit_scaling(training_profiles, cohorts, harmonise=genes["harmonise"])
    strange = sorted(set(samples["cohort"]) - set(scaling.mean.index))
    if genes["harmonise"] == "zscore_by_cohort" and strange:
        log.warning("cohorts with fewer than two training profiles take the pooled scaling: %s", ", ".join(strange))
    expression = table.loc[pd.MultiIndex.from_frame(samples[["cohort", "expression_id"]])]
    expression = scaling.apply(expression, samples["cohort"]).set_axis(samples["sample_id"], axis=0)

    made_by = provenance(__name__, {**genes, "fold": fold})
    write_tsv(selected, output_dir / "selected.tsv", made_by)
    write_tsv(scaling.table(), output_dir / "scaling.tsv", made_by)
    write_parquet(expression.rename_axis(index="sample_id", columns=None), output_dir / "expression.parquet", made_by)


def _samples_with_profiles(samples_ledger: Path, known: pd.MultiIndex) -> pd.DataFrame:
    """Return the samples in use, by sample_id."""
    text = {name: str for name in ("sample_id", "case_id", "cohort", "expression_id")}
    samples = read_tsv(samples_ledger, dtype=text)
    samples = samples[samples["status"] == "ok"]
    has_profile = pd.MultiIndex.from_frame(samples[["cohort", "expression_id"]]).isin(known)
    if not has_profile.all():
        log.warning("%d samples in use have no expression profile", int((~has_profile).sum()))
    return samples[has_profile].sort_values("sample_id", ignore_index=True)


def _warn_of_zscores(profiles: Path) -> None:
    sources = read_provenance(profiles)["settings"].get("sources", [])
    scored = [source["cohort"] for source in sources if source["unit"] == "zscore"]
    if scored:
        log.warning(
            "cohorts %s hold z-scores, whose variance is close to 1 for every gene: their ranking by variance says "
            "little; give expression in log, tpm, fpkm or counts where you can",
            ", ".join(scored),
        )


def _in_niches(ranking: pd.DataFrame, genes: Mapping[str, Any]) -> pd.DataFrame:
    """Keep the chosen genes that a gene set places, with their first category."""
    sets = gene_sets(genes["sets"])
    placed = sets.drop_duplicates("symbol")
    absent = ~placed["symbol"].isin(ranking["symbol"])
    log.info("%d of %d genes of the sets are not among the shared genes", int(absent.sum()), len(placed))
    selected = ranking[ranking["chosen"]].merge(placed, on="symbol")[SELECTED_COLUMNS]
    for niche in NICHES:
        if niche not in set(selected["niche"]):
            raise UserError(
                f"genes: none of the {int(ranking['chosen'].sum())} chosen genes is in niche {niche}; raise "
                f"genes.top_fraction ({genes['top_fraction']}) or give other genes.sets ({genes['sets']})"
            )
    return selected
