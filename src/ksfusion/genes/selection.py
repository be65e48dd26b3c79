"""The genes of a fold: the most variable ones, kept where a gene set places them, and scaled."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_provenance, read_tsv, read_wide_parquet, write_parquet, write_tsv
from ksfusion.genes.expression.counts import log_to_counts
from ksfusion.genes.ranking import select_genes
from ksfusion.genes.repeated import resolve_repeated
from ksfusion.genes.scaling import COMBAT, Scaling, combat, fit_scaling
from ksfusion.genes.sets.gene_sets import conflicts, gene_sets
from ksfusion.terms.niches import NICHES
from ksfusion.terms.rankings import COUNT_FLAVOURS, LOG_FLAVOURS

log = logging.getLogger(__name__)

RANKING_COLUMNS = ["symbol", "rank", "variance", "chosen", "category", "niche", "source"]
SELECTED_COLUMNS = [name for name in RANKING_COLUMNS if name != "chosen"]


def prepare_genes(
    profiles: Path,
    samples_ledger: Path,
    splits: Path,
    output_dir: Path,
    *,
    fold: int,
    genes: Mapping[str, Any],
    library_sizes: Path | None = None,
) -> None:
    """Choose and scale the genes of one fold; nothing is fitted on validation or test cases.

    Genes are ranked and scaled on the training cases' profiles, each once however many samples it serves (on those of
    all samples when ``fit_on`` is ``all``), then the scaling is applied unchanged to every sample. ``combat`` adjusts
    all profiles at once before that. Of genes with one symbol that with the highest mean over these profiles counts,
    in each cohort (`ksfusion.genes.repeated`).

    Parameters
    ----------
    profiles
        ``genes/profiles.parquet``.
    samples_ledger, splits
        ``samples.tsv`` and ``cohort/splits.tsv`` of the results.
    output_dir
        ``genes/fold{fold}``: gets ``ranking.tsv`` (symbol, rank, variance, chosen, category, niche, source of all
        shared genes, in order of rank; the variance is that of log values, or of raw counts where these are ranked),
        ``selected.tsv`` (the chosen ones that a set places), ``conflicts.tsv`` (genes that the sets list in both
        niches, and whether they are selected), ``expression.parquet`` (sample_id x symbols, float32, of the samples
        whose status is ok) and, but for ``combat``, which cannot be frozen, ``scaling.tsv`` (cohort, symbol, mean, sd,
        fill; cohort ``all`` serves cohorts without training profiles).
    fold
        The fold whose training cases count.
    genes
        ``top_fraction``, ``rank``, ``fit_on``, ``harmonise``, ``clip`` and ``sets`` of the configuration.
    library_sizes
        ``genes/library_sizes.tsv``, for ``rank`` ``seurat_v3`` and ``seurat_v3_paper``, which read raw counts: those of
        the profiles, brought back.

    Raises
    ------
    UserError
        If there is no training profile, a niche is left without genes, a setting is unknown, ``combat`` stands with
        another ``fit_on`` than ``all``, or ``rank`` wants counts and a cohort has none.
    """
    if genes["fit_on"] not in ("train", "all"):
        raise UserError(f"genes.fit_on: {genes['fit_on']!r} is unknown; use train or all")
    if genes["harmonise"] == COMBAT and genes["fit_on"] != "all":
        raise UserError("genes.harmonise: combat cannot be fitted on training samples alone; it needs fit_on: all")
    table = read_wide_parquet(profiles, ["cohort", "expression_id"])
    samples = _samples_with_profiles(samples_ledger, table.index)
    fitted = samples
    if genes["fit_on"] == "train":
        split = read_tsv(splits, dtype={"case_id": str})
        training = split.loc[(split["fold"] == fold) & (split["split"] == "train"), "case_id"]
        fitted = samples[samples["case_id"].isin(training)]
    if fitted.empty:
        raise UserError(f"{samples_ledger}: no sample of fold {fold} to choose genes on; see its status and reason")
    _check_zscores(profiles, genes["rank"])

    keys = pd.MultiIndex.from_frame(fitted[["cohort", "expression_id"]]).unique().sort_values()
    rows = pd.Series(table.index.get_indexer(keys))
    table = resolve_repeated(table, rows.to_numpy())
    by_cohort = {
        cohort: table.iloc[part.to_numpy()] for cohort, part in rows.groupby(keys.get_level_values("cohort").to_numpy())
    }
    if genes["rank"] in COUNT_FLAVOURS:
        by_cohort = _raw_counts(by_cohort, library_sizes, genes["rank"])
    ranking = select_genes(by_cohort, top_fraction=genes["top_fraction"], rank=genes["rank"])
    del by_cohort
    ranking = _in_niches(ranking, genes)
    selected = ranking.loc[ranking["chosen"] & ranking["niche"].notna(), SELECTED_COLUMNS]

    expression, scaling = _scale(table[selected["symbol"]], rows.to_numpy(), samples, genes)

    made_by = provenance(__name__, {**genes, "fold": fold})
    both = conflicts(genes["sets"])
    write_tsv(both.assign(selected=both["symbol"].isin(selected["symbol"])), output_dir / "conflicts.tsv", made_by)
    write_tsv(ranking, output_dir / "ranking.tsv", made_by)
    write_tsv(selected, output_dir / "selected.tsv", made_by)
    if genes["harmonise"] == COMBAT:
        # Another run's scaling would be taken for this one's.
        (output_dir / "scaling.tsv").unlink(missing_ok=True)
    else:
        write_tsv(scaling.table(), output_dir / "scaling.tsv", made_by)
    write_parquet(expression, output_dir / "expression.parquet", made_by)


def _raw_counts(
    by_cohort: Mapping[str, pd.DataFrame], library_sizes: Path | None, rank: str
) -> dict[str, pd.DataFrame]:
    if library_sizes is None:
        raise UserError(f"genes.rank: {rank} wants raw counts, and no library sizes are given; use within_cohort")
    keys = ["cohort", "expression_id"]
    sizes = read_tsv(library_sizes, dtype=dict.fromkeys(keys, str)).set_index(keys)["library_size"]
    if uncounted := sorted(set(by_cohort) - set(sizes.index.get_level_values("cohort"))):
        raise UserError(
            f"genes.rank: {rank} wants raw counts, and cohorts {', '.join(uncounted)} hold another unit; use "
            "within_cohort"
        )
    return {cohort: log_to_counts(profiles, sizes) for cohort, profiles in by_cohort.items()}


def _scale(
    table: pd.DataFrame, fitted: np.ndarray, samples: pd.DataFrame, genes: Mapping[str, Any]
) -> tuple[pd.DataFrame, Scaling]:
    """Fit the scaling on some rows of the profiles, and return the scaled expression of all samples with it."""
    fitted_profiles = table.iloc[fitted]
    cohorts = fitted_profiles.index.get_level_values("cohort").to_series()
    harmonise = genes["harmonise"]
    if harmonise == COMBAT:
        table = fitted_profiles = combat(fitted_profiles, cohorts)
    scaling = fit_scaling(fitted_profiles, cohorts, harmonise=harmonise, clip=genes["clip"])
    strange = sorted(set(samples["cohort"]) - set(scaling.mean.index))
    if harmonise == "zscore_by_cohort" and strange:
        log.warning("cohorts with fewer than two training profiles take the pooled scaling: %s", ", ".join(strange))
    expression = table.loc[pd.MultiIndex.from_frame(samples[["cohort", "expression_id"]])]
    expression = scaling.apply(expression, samples["cohort"]).set_axis(samples["sample_id"], axis=0)
    return expression.rename_axis(index="sample_id", columns=None), scaling


def _samples_with_profiles(samples_ledger: Path, known: pd.MultiIndex) -> pd.DataFrame:
    """Return the samples in use, by sample_id."""
    text = {name: str for name in ("sample_id", "case_id", "cohort", "expression_id")}
    samples = read_tsv(samples_ledger, dtype=text)
    samples = samples[samples["status"] == "ok"]
    has_profile = pd.MultiIndex.from_frame(samples[["cohort", "expression_id"]]).isin(known)
    if not has_profile.all():
        log.warning("%d samples in use have no expression profile", int((~has_profile).sum()))
    return samples[has_profile].sort_values("sample_id", ignore_index=True)


def _check_zscores(profiles: Path, rank: str) -> None:
    sources = read_provenance(profiles)["settings"].get("sources", [])
    scored = ", ".join(source["cohort"] for source in sources if source["unit"] == "zscore")
    if scored and rank in LOG_FLAVOURS:
        raise UserError(f"genes.rank: {rank} wants log2(x + 1), and cohorts {scored} hold z-scores; use within_cohort")
    if scored and rank not in COUNT_FLAVOURS:
        log.warning(
            "cohorts %s hold z-scores, whose variance is close to 1 for every gene: their ranking by variance says "
            "little; give expression in log, tpm, fpkm or counts where you can",
            scored,
        )


def _in_niches(ranking: pd.DataFrame, genes: Mapping[str, Any]) -> pd.DataFrame:
    """Add the first category, the niche and the source of the genes that a set places."""
    placed = gene_sets(genes["sets"]).drop_duplicates("symbol")
    absent = ~placed["symbol"].isin(ranking["symbol"])
    log.info("%d of %d genes of the sets are not among the shared genes", int(absent.sum()), len(placed))
    ranking = ranking.merge(placed, on="symbol", how="left")[RANKING_COLUMNS]
    chosen = ranking[ranking["chosen"]]
    for niche in NICHES:
        if niche not in set(chosen["niche"]):
            raise UserError(
                f"genes: none of the {len(chosen)} chosen genes is in niche {niche}; raise "
                f"genes.top_fraction ({genes['top_fraction']}) or give other genes.sets ({genes['sets']})"
            )
    return ranking
