"""The genes of a fold: the most variable ones that a gene set assigns to a niche, and their scaled expression."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.genes.config import FitOn, Genes, Ranking
from ksfusion.genes.expression.counts import log_to_counts
from ksfusion.genes.ranking import select_genes
from ksfusion.genes.repeated import resolve_repeated
from ksfusion.genes.scaling import Scaling, combat, fit_scaling
from ksfusion.genes.sets.gene_sets import conflicts, gene_sets
from ksfusion.genes.unseen import cases_by_cohort, profiles_by_cohort, scaling_for_unseen
from ksfusion.terms.gene_columns import PROFILE_KEYS
from ksfusion.terms.gene_sets import NEWEST
from ksfusion.terms.modalities import MODALITIES, SLIDES_ONLY
from ksfusion.terms.niches import NICHES
from ksfusion.terms.rankings import COUNT_FLAVOURS, LOG_FLAVOURS
from ksfusion.terms.splits import EXTERNAL, SPLITS

log = logging.getLogger(__name__)

RANKING_COLUMNS = ["symbol", "rank", "variance", "chosen", "category", "niche", "source"]
SELECTED_COLUMNS = [name for name in RANKING_COLUMNS if name != "chosen"]


@dataclass(frozen=True)
class SelectedGenes:
    """The genes of a fold.

    Attributes
    ----------
    ranking
        All genes that the cohorts share, in order of rank: symbol, rank, variance (of log values, or of raw counts
        where these are ranked), chosen (whether among the top fraction), category, niche, source (of the gene set).
    selected
        Those of them that are chosen and that a gene set assigns to a niche: the genes that methods read.
    conflicts
        Genes that the gene sets list in both niches, and whether they are selected.
    expression
        Samples x selected symbols, float32, scaled.
    scaling
        Fitted scaling, to be applied to new profiles; None for ComBat, which cannot be.
    missing
        Cohort to the selected genes that it lacks, of the cohorts that had no part in the choice.
    """

    ranking: pd.DataFrame
    selected: pd.DataFrame
    conflicts: pd.DataFrame
    expression: pd.DataFrame
    scaling: Scaling | None
    missing: dict[str, list[str]] = field(default_factory=dict)


def choose_and_scale(
    profiles: pd.DataFrame,
    samples: pd.DataFrame,
    fitted: pd.DataFrame,
    settings: Genes,
    *,
    outside: pd.DataFrame | None = None,
    library_sizes: pd.Series | None = None,
    names: str = NEWEST,
) -> SelectedGenes:
    """Choose and scale the genes of one fold.

    Genes are ranked, and the scaling is fitted, on the profiles of the fitted samples; a profile that several samples
    share counts once. The scaling is then applied unchanged to every sample. ComBat adjusts all profiles at once before
    that. Where several genes of a table have one symbol, the one with the highest mean over the fitted profiles counts,
    in each cohort (`ksfusion.genes.repeated`).

    Parameters
    ----------
    profiles : pandas.DataFrame, profiles x genes
        Expression in log units as in ``genes/profiles.parquet``, indexed by cohort and expression_id; changed in place.
    samples : pandas.DataFrame
        Samples in use that have a profile, as `samples_with_profiles` returns them.
    fitted : pandas.DataFrame
        Samples whose profiles rank the genes and fit the scaling: the training samples, or all with
        ``fit_on: all``.
    settings
        Ranking, fraction of genes, gene sets and scaling.
    outside
        Samples of external cohorts, none of which is among the fitted ones.
    library_sizes
        Total reads of each profile whose unit is counts, by cohort and expression_id; a ranking of raw counts
        (``seurat_v3``, ``seurat_v3_paper``) recovers these from log2(CPM + 1) with them.
    names
        Version of the shipped gene sets by which the genes of the profiles were named.

    Returns
    -------
    SelectedGenes
        Ranking, selected genes, and scaled expression of ``samples``, in their order.

    Raises
    ------
    UserError
        If a niche is left without genes, the profiles cannot be ranked, the ranking needs counts and a cohort has
        none, or an external cohort lacks too many of the genes, or cases.
    """
    profiles, rows, ranked = by_cohort(profiles, fitted)
    if settings.rank in COUNT_FLAVOURS:
        ranked = _raw_counts(ranked, library_sizes, settings.rank)
    ranking = select_genes(ranked, top_fraction=settings.top_fraction, rank=settings.rank)
    del ranked
    ranking = _in_niches(ranking, settings, names)
    selected = ranking.loc[ranking["chosen"] & ranking["niche"].notna(), SELECTED_COLUMNS]
    outside = samples.iloc[:0] if outside is None else outside
    expression, scaling, missing = _scale(profiles[selected["symbol"]], rows, samples, outside, settings)
    both = conflicts(settings.sets, names=names)
    both = both.assign(selected=both["symbol"].isin(selected["symbol"]))
    of_niche, n_both = selected["niche"].value_counts(), int(both["selected"].sum())
    log.info(
        "%d tumour and %d TME genes are chosen; %d of the first stand in both sets and count as tumour",
        of_niche["tumour"], of_niche["tme"], n_both,
    )  # fmt: skip
    return SelectedGenes(ranking, selected, both, expression, scaling, missing)


def by_cohort(profiles: pd.DataFrame, fitted: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, dict[str, pd.DataFrame]]:
    """Return the profiles that genes are chosen on, each once, by cohort.

    Parameters
    ----------
    profiles : pandas.DataFrame, profiles x genes
        Expression in log units as in ``genes/profiles.parquet``; changed in place.
    fitted : pandas.DataFrame
        Samples on whose profiles genes are chosen and scaled.

    Returns
    -------
    profiles : pandas.DataFrame
        All profiles, with one gene for each symbol.
    rows : numpy.ndarray of int
        Numbers of the rows that belong to the fitted samples.
    of_cohort : dict
        The profiles of these rows.
    """
    keys = pd.MultiIndex.from_frame(fitted[list(PROFILE_KEYS)]).unique().sort_values()
    rows = pd.Series(profiles.index.get_indexer(keys))
    profiles = resolve_repeated(profiles, rows.to_numpy())
    parts = rows.groupby(keys.get_level_values("cohort").to_numpy())
    return profiles, rows.to_numpy(), {cohort: profiles.iloc[part.to_numpy()] for cohort, part in parts}


def samples_with_profiles(samples: pd.DataFrame, known: pd.MultiIndex) -> pd.DataFrame:
    """Return the samples in use that have a profile, sorted by sample_id.

    Parameters
    ----------
    samples : pandas.DataFrame
        Ledger of the samples (``results/samples.tsv``); those of status ok are in use.
    known
        cohort and expression_id of the profiles that exist.
    """
    samples = samples[samples["status"] == "ok"]
    if MODALITIES in samples:
        samples = samples[samples[MODALITIES] != SLIDES_ONLY]
    has_profile = pd.MultiIndex.from_frame(samples[list(PROFILE_KEYS)]).isin(known)
    if not has_profile.all():
        log.warning("%d samples in use have no expression profile", int((~has_profile).sum()))
    return samples[has_profile].sort_values("sample_id", ignore_index=True)


def fitted_samples(samples: pd.DataFrame, splits: pd.Series, fit_on: FitOn) -> pd.DataFrame:
    """Return the samples on which genes are chosen and scaled: of training cases, or of all but external cohorts.

    Parameters
    ----------
    samples : pandas.DataFrame
        Samples in use that have a profile.
    splits
        Split of each case of the fold, by case_id.
    fit_on
        Whose samples count.
    """
    counting = SPLITS[:1] if fit_on == "train" else SPLITS
    return samples[samples["case_id"].isin(splits.index[splits.isin(counting)])]


def outside_samples(samples: pd.DataFrame, splits: pd.Series) -> pd.DataFrame:
    """Return the samples of external cohorts, on which nothing is fitted; see `fitted_samples`."""
    return samples[samples["case_id"].isin(splits.index[splits == EXTERNAL])]


def check_ranking_of_zscores(scored: list[str], settings: Ranking) -> None:
    """Warn where z-scores, whose variance is close to 1 for every gene, are ranked by variance.

    Parameters
    ----------
    scored
        Names of the cohorts whose expression is given as z-scores.
    settings
        Ranking of the genes.

    Raises
    ------
    UserError
        If the ranking needs values in log2(x + 1).
    """
    cohorts = ", ".join(scored)
    if scored and settings.rank in LOG_FLAVOURS:
        raise UserError(
            f"genes.rank: {settings.rank} wants log2(x + 1), and cohorts {cohorts} hold z-scores; use within_cohort"
        )
    if scored and settings.rank not in COUNT_FLAVOURS:
        log.warning(
            "cohorts %s hold z-scores, whose variance is close to 1 for every gene: their ranking by variance says "
            "little; give expression in log, tpm, fpkm or counts where you can",
            cohorts,
        )


def _raw_counts(
    by_cohort: Mapping[str, pd.DataFrame], library_sizes: pd.Series | None, rank: str
) -> dict[str, pd.DataFrame]:
    if library_sizes is None:
        raise UserError(f"genes.rank: {rank} wants raw counts, and no library sizes are given; use within_cohort")
    if uncounted := sorted(set(by_cohort) - set(library_sizes.index.get_level_values("cohort"))):
        raise UserError(
            f"genes.rank: {rank} wants raw counts, and cohorts {', '.join(uncounted)} hold another unit; use "
            "within_cohort"
        )
    return {cohort: log_to_counts(profiles, library_sizes) for cohort, profiles in by_cohort.items()}


def _scale(
    profiles: pd.DataFrame, fitted: np.ndarray, samples: pd.DataFrame, outside: pd.DataFrame, settings: Genes
) -> tuple[pd.DataFrame, Scaling | None, dict[str, list[str]]]:
    """Fit the scaling on rows ``fitted`` of the profiles.

    Returns
    -------
    expression
        Scaled expression of all samples.
    scaling
        As it was fitted; None for ComBat.
    missing
        The genes that each cohort of ``outside`` lacks.
    """
    fitted_profiles = profiles.iloc[fitted]
    cohorts = fitted_profiles.index.get_level_values("cohort").to_series()
    adjusts_all = settings.harmonise == "combat"
    if adjusts_all:
        profiles = fitted_profiles = combat(fitted_profiles, cohorts)
    scaling = fit_scaling(fitted_profiles, cohorts, harmonise=settings.harmonise, clip=settings.clip)
    strange = sorted(set(samples["cohort"]) - set(outside["cohort"]) - set(scaling.mean.index))
    if settings.harmonise == "zscore_by_cohort" and strange:
        log.warning("cohorts with fewer than two training profiles take the pooled scaling: %s", ", ".join(strange))
    serving, missing = scaling_for_unseen(
        scaling,
        profiles_by_cohort(profiles, outside),
        cases_by_cohort(outside),
        unseen=settings.unseen,
        max_missing=settings.max_missing,
    )
    expression = profiles.loc[pd.MultiIndex.from_frame(samples[list(PROFILE_KEYS)])]
    expression = serving.apply(expression, samples["cohort"]).set_axis(samples["sample_id"], axis=0)
    expression = expression.rename_axis(index="sample_id", columns=None)
    return expression, None if adjusts_all else scaling, missing


def _in_niches(ranking: pd.DataFrame, settings: Genes, names: str) -> pd.DataFrame:
    """Add category, niche and source to the genes that a gene set lists; of several entries the first counts.

    Raises
    ------
    UserError
        If none of the chosen genes is in one of the niches.
    """
    placed = gene_sets(settings.sets, names=names).drop_duplicates("symbol")
    absent = ~placed["symbol"].isin(ranking["symbol"])
    log.info("%d of %d genes of the sets are not among the shared genes", int(absent.sum()), len(placed))
    ranking = ranking.merge(placed, on="symbol", how="left")[RANKING_COLUMNS]
    chosen = ranking[ranking["chosen"]]
    for niche in NICHES:
        if niche not in set(chosen["niche"]):
            raise UserError(
                f"genes: none of the {len(chosen)} chosen genes is in niche {niche}; raise "
                f"genes.top_fraction ({settings.top_fraction}) or give other genes.sets ({settings.sets})"
            )
    return ranking
