"""Cohorts that had no part in choosing and scaling genes: which scaling serves them, and which genes they lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.genes.config import FEWEST_CASES, Genes, Unseen
from ksfusion.genes.scaling import Scaling
from ksfusion.terms.findings import Finding
from ksfusion.terms.gene_columns import PROFILE_KEYS

MISSING, OWN = "genes_missing_outside", "scaled_by_own_profiles"


def profiles_by_cohort(profiles: pd.DataFrame, samples: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the profiles of samples by cohort, each once.

    Parameters
    ----------
    profiles : pandas.DataFrame, profiles x genes
        Indexed by cohort and expression_id.
    samples : pandas.DataFrame
        Samples that have a profile.
    """
    keys = pd.MultiIndex.from_frame(samples[list(PROFILE_KEYS)]).unique().sort_values()
    return {cohort: profiles.loc[own] for cohort, own in keys.groupby(keys.get_level_values("cohort")).items()}


def cases_by_cohort(samples: pd.DataFrame) -> dict[str, int]:
    """Return how many cases the samples of each cohort are of."""
    counts: dict[str, int] = samples.groupby("cohort")["case_id"].nunique().to_dict()
    return counts


def lacking(profiles: pd.DataFrame, symbols: list[str]) -> list[str]:
    """Return the genes of which no profile has a value, in order."""
    there = profiles.reindex(columns=symbols).notna().any(axis=0)
    return [symbol for symbol, known in there.items() if not known]


def scaling_for_unseen(
    scaling: Scaling,
    profiles: Mapping[str, pd.DataFrame],
    n_cases: Mapping[str, int],
    *,
    unseen: Unseen,
    max_missing: float,
) -> tuple[Scaling, dict[str, list[str]]]:
    """Return the transform that serves cohorts which had no part in fitting it, and the genes that each lacks.

    Parameters
    ----------
    scaling
        Fitted on the training profiles.
    profiles
        Profiles x genes in log units of each unseen cohort, each profile once; a gene may be absent.
    n_cases
        How many cases they are of, for each cohort.
    unseen
        ``pooled``: mean and standard deviation of all training profiles; ``own``: of the cohort's own.
    max_missing
        Largest share of the genes that a cohort may lack; they count as the mean of the training profiles.

    Raises
    ------
    UserError
        If a cohort lacks more genes, or has too few cases to be scaled by its own profiles.
    """
    genes = list(scaling.mean.columns)
    missing = {cohort: lacking(table, genes) for cohort, table in profiles.items()}
    for cohort, symbols in missing.items():
        if len(symbols) > max_missing * len(genes):
            raise UserError(
                f"genes.max_missing: cohort {cohort} lacks {len(symbols)} of the {len(genes)} genes of the model "
                f"({', '.join(symbols[:5])}{', ...' if len(symbols) > 5 else ''}), more than {max_missing:.0%}; give "
                "its expression of all genes, or raise it"
            )
    for cohort, table in profiles.items():
        if unseen == "own" and n_cases[cohort] < FEWEST_CASES:
            raise UserError(
                f"genes.unseen: own needs {FEWEST_CASES} cases of cohort {cohort} for a mean and a standard deviation, "
                f"and it has {n_cases[cohort]}; use pooled"
            )
        if unseen == "own":
            scaling = scaling.with_own(cohort, table)
    return scaling, missing


def unseen_findings(
    profiles: Mapping[str, pd.DataFrame], symbols: list[str], n_cases: Mapping[str, int], settings: Genes
) -> Iterator[Finding]:
    """Yield what readers of the results on unseen cohorts must know: genes that are missing, and another scaling.

    Parameters
    ----------
    profiles
        Profiles x genes of each unseen cohort.
    symbols
        The genes that were chosen.
    n_cases
        How many cases the profiles are of, for each cohort.
    settings
        How unseen cohorts are scaled.
    """
    for cohort, table in profiles.items():
        if lacked := lacking(table, symbols):
            yield Finding(
                check=MISSING,
                subject=cohort,
                detail=f"{len(lacked)} of the {len(symbols)} chosen genes are not in its expression and count as the "
                f"mean of the training samples: {', '.join(lacked)}",
            )
        if settings.unseen == "own":
            yield Finding(
                check=OWN,
                subject=cohort,
                detail=f"its expression is scaled by the mean and sd of the profiles of its own {n_cases[cohort]} "
                "cases, without their labels (genes.unseen: own): a single new patient could not be scaled so",
            )
