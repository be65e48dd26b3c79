"""Ranking genes by how much they vary, within cohorts or over them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.genes.scaling import MIN_PROFILES
from ksfusion.terms.rankings import COUNT_FLAVOURS, RANKINGS, Rank

# The columns of its table by which scanpy orders genes, and whether the smallest comes first.
SCANPY_ORDER = {
    "seurat": {"highly_variable_nbatches": False, "dispersions_norm": False},
    "cell_ranger": {"highly_variable_nbatches": False, "dispersions_norm": False},
    "seurat_v3": {"highly_variable_rank": True, "highly_variable_nbatches": False},
    "seurat_v3_paper": {"highly_variable_nbatches": False, "highly_variable_rank": True},
}
# Loess fits parabolas to 3 of 10 genes here: with fewer they are not determined, and below 4 the library crashes.
FEWEST_VARIED = 10
# Genes whose variance is computed together: bounds the memory of the float64 copy.
GENES_AT_A_TIME = 2048


def select_genes(
    profiles_by_cohort: Mapping[str, pd.DataFrame], *, top_fraction: float = 0.3, rank: Rank = "within_cohort"
) -> pd.DataFrame:
    """Rank the genes that all cohorts share by variance and choose the top ones.

    Parameters
    ----------
    profiles_by_cohort
        For each cohort, its profiles x genes in log units, or raw counts for ``seurat_v3`` and ``seurat_v3_paper``;
        every profile counts once.
    top_fraction
        Fraction of the shared genes to choose: round(fraction x genes), halves to even, at least one gene.
    rank
        ``within_cohort``: rank variances (1 = highest, ties share their mean rank) within each cohort and order genes
        by their mean rank, so that no cohort's scale decides; cohorts with fewer than two profiles have no say.
        ``pooled``: order by the variance over the profiles of all cohorts together. ``seurat``, ``cell_ranger``:
        scanpy's flavours of normalised dispersion, cohorts as its batches; they want complete profiles in log2(x + 1).
        ``seurat_v3``, ``seurat_v3_paper``: scanpy's flavours of the variance of raw counts, normalised by a curve of
        variance against mean in each cohort (Stuart 2019, doi:10.1016/j.cell.2019.05.031); the first orders by the
        median rank over the cohorts that would choose a gene, then by their number, the second the other way round.
        Equal genes go by symbol.

    Returns
    -------
    DataFrame
        symbol, variance (sample variance of the present values as given, averaged over cohorts unless ``pooled``),
        rank (1 to the number of genes), chosen; in order of rank.

    Raises
    ------
    UserError
        If the cohorts share no gene, no cohort has two profiles, an option is unknown, or a flavour of scanpy is given
        negative or missing values, values that are no counts where it wants them, or too few genes.
    """
    if rank not in RANKINGS:
        raise UserError(f"genes.rank: {rank!r} is unknown; use {', '.join(RANKINGS)}")
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
    n_chosen = max(1, round(top_fraction * len(symbols)))
    variances = np.stack([_variance(table, symbols) for table in tables])  # (cohorts, genes)
    if rank in SCANPY_ORDER:
        order = _scanpy_order(tables, symbols, flavour=rank, n_chosen=n_chosen)
    else:
        rank_sum = sum(pd.Series(-variance).rank().to_numpy() for variance in variances)
        # Symbols are sorted and the sort is stable: equal genes stay in order of symbol.
        order = np.argsort(rank_sum, kind="stable")
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


def _scanpy_order(tables: Sequence[pd.DataFrame], symbols: list[str], *, flavour: str, n_chosen: int) -> np.ndarray:
    """Return the genes' positions in scanpy's order."""
    import scanpy
    from anndata import AnnData

    of_counts = flavour in COUNT_FLAVOURS
    values = np.concatenate([table[symbols].to_numpy(np.float64 if of_counts else np.float32) for table in tables])
    n_profiles = [len(table) for table in tables]
    _check_values(values, symbols, flavour)
    if of_counts:
        _check_curve(np.split(values, np.cumsum(n_profiles)[:-1]), flavour)
    batch = np.repeat([f"cohort{number}" for number in range(len(tables))], n_profiles)
    obs = pd.DataFrame({"batch": pd.Categorical(batch)}, index=np.arange(len(batch)).astype(str))
    data = AnnData(values, obs=obs)
    data.var_names = symbols
    if not of_counts:
        data.uns["log1p"] = {"base": 2}
    try:
        with warnings.catch_warnings():
            # That some genes have no dispersion is told below, where it matters.
            warnings.filterwarnings("ignore", message="`n_top_genes` > number of normalized dispersions")
            found = scanpy.pp.highly_variable_genes(
                data, flavor=flavour, n_top_genes=n_chosen, batch_key="batch", inplace=False
            )
    except (ValueError, IndexError) as error:
        # Loess gives its reason as the text of bytes.
        reason = str(error).split(":")[0].removeprefix("b'").rstrip("'.")
        raise UserError(f"genes.rank: {flavour} failed on these profiles ({reason}); use within_cohort") from None
    measure = "variances_norm" if of_counts else "dispersions_norm"
    if (n_ranked := int(found[measure].notna().sum())) < n_chosen:
        raise UserError(
            f"genes.rank: {flavour} can rank {n_ranked} of the {len(symbols)} genes, and genes.top_fraction asks for "
            f"{n_chosen}; lower it, or use within_cohort"
        )
    found, order = found.reset_index(drop=True), dict(SCANPY_ORDER[flavour])
    if of_counts:
        # Genes that no cohort would choose have no rank there; here they follow by what the others are ranked by.
        found["unranked"] = found[measure].where(found["highly_variable_rank"].isna(), 0.0)
        order["unranked"] = False
    return found.sort_values(list(order), ascending=list(order.values()), kind="stable").index.to_numpy()


def _check_values(values: np.ndarray, symbols: list[str], flavour: str) -> None:
    """Raise a UserError if values are missing, or not of the unit that a flavour of scanpy reads."""
    fits, wanted, given = values >= 0, "complete profiles in log2(x + 1)", "missing or negative"
    if flavour in COUNT_FLAVOURS:
        fits &= values == np.rint(values)
        wanted, given = "complete profiles of raw counts", "missing, negative or fractional"
    if not fits.all():
        symbol = symbols[int(fits.all(axis=0).argmin())]
        raise UserError(
            f"genes.rank: {flavour} wants {wanted}, and gene {symbol} has {given} values; use within_cohort"
        )


def _check_curve(cohorts: Sequence[np.ndarray], flavour: str) -> None:
    """Raise a UserError if too few genes vary within a cohort to fit a curve through them."""
    n_varied = min(int((values != values[0]).any(axis=0).sum()) for values in cohorts)
    if n_varied < FEWEST_VARIED:
        raise UserError(
            f"genes.rank: {flavour} fits a curve through the genes that vary, and a cohort has {n_varied} of them, "
            f"fewer than {FEWEST_VARIED}; use within_cohort"
        )
