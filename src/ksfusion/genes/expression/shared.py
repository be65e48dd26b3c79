"""The genes that cohorts share, and a warning where they are few."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Mapping

import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.genes.sets.symbols import is_ensembl_id
from ksfusion.terms.gene_columns import is_copy

log = logging.getLogger(__name__)

# Cohorts measured on other platforms share most genes of the smaller one; fewer than this say that names differ.
FEWEST_SHARED = 0.5


def shared_genes(cohorts: Mapping[str, pd.DataFrame], *, external: Collection[str] = ()) -> list[str]:
    """Return the symbols that all cohorts have but the external ones, in order; where all are external, those of any.

    Parameters
    ----------
    cohorts
        For each cohort, a table whose columns are symbols (and copies, see `ksfusion.terms.gene_columns`).
    external
        Cohorts that have no say.

    Raises
    ------
    UserError
        If two cohorts, or all of them, share no gene, or an external one has none of those that the others share.
    """
    outside = {cohort: table for cohort, table in cohorts.items() if cohort in external}
    cohorts = {cohort: table for cohort, table in cohorts.items() if cohort not in external}
    if not cohorts:
        return sorted({name for table in outside.values() for name in table.columns if not is_copy(name)})
    symbols = {cohort: {name for name in table.columns if not is_copy(name)} for cohort, table in cohorts.items()}
    for first, second in itertools.combinations(symbols, 2):
        shared = symbols[first] & symbols[second]
        if not shared:
            examples = [cohorts[cohort].columns[0] for cohort in (first, second)]
            raise UserError(
                f"cohorts {first} and {second} have no gene in common ({examples[0]}, ... and {examples[1]}, ...); "
                "use gene symbols in both"
            )
        smaller = min(first, second, key=lambda cohort: len(symbols[cohort]))
        if len(shared) < FEWEST_SHARED * len(symbols[smaller]):
            _warn(first, second, len(shared), f"{len(symbols[smaller])} genes of {smaller}", symbols)
    common = sorted(set.intersection(*symbols.values()))
    if not common:
        raise UserError(f"cohorts {', '.join(cohorts)} have no gene in common; check the formats of cohort.expression")
    log.info("%d genes are shared by %s", len(common), ", ".join(cohorts))
    for cohort, table in outside.items():
        if not (found := set(common) & set(table.columns)):
            raise UserError(
                f"external cohort {cohort} has none of the genes that {', '.join(cohorts)} share ({table.columns[0]}, "
                f"... and {common[0]}, ...); use gene symbols in both"
            )
        log.info("external cohort %s has %d of them", cohort, len(found))
    return common


def _warn(first: str, second: str, n_shared: int, of: str, symbols: Mapping[str, set[str]]) -> None:
    n_ids = {cohort: sum(map(is_ensembl_id, symbols[cohort])) for cohort in (first, second)}
    by_id = max(n_ids, key=n_ids.__getitem__)
    reason = "see that both name the same genes by symbols of one kind"
    if n_ids[by_id] * 2 > len(symbols[by_id]):
        reason = (
            f"{n_ids[by_id]} genes of {by_id} have an Ensembl id and no symbol; give its table the symbols, in a "
            "column gene_name beside the ids"
        )
    log.warning("cohorts %s and %s share only %d of the %s: %s", first, second, n_shared, of, reason)
