"""The new samples: which of them can be predicted and why others cannot, what models read of them, how they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ksfusion.bundles.distances import Looks
from ksfusion.bundles.members import Fold, FoldGenes
from ksfusion.core.feature_store import open_store
from ksfusion.genes.unseen import lacking, profiles_by_cohort
from ksfusion.slides.stain.profiles import arrays_of, profile_of
from ksfusion.terms.gene_columns import PROFILE_KEYS, is_copy
from ksfusion.training.covariates import mean_patches
from ksfusion.training.data import FoldData

NO_SLIDE, NO_PROFILE = "missing_file", "missing_profile"


@dataclass(frozen=True, eq=False)
class NewSamples:
    """What the stages before have made of new samples.

    Attributes
    ----------
    table : pandas.DataFrame
        All samples, by sample_id: sample_id, case_id, cohort, slide_id, expression_id, reason (why one cannot be
        predicted, empty where it can) and detail.
    slides : pandas.DataFrame
        The slides' ledger, by slide_id.
    stains : pandas.DataFrame
        The slides' stains, by slide_id (`ksfusion.slides.stain.profiles.read_profiles`).
    profiles : pandas.DataFrame, profiles x genes
        Expression in log units, by cohort and expression_id; None where none is read.
    store
        Folder of the features of all slides; None where none are read.
    """

    table: pd.DataFrame
    slides: pd.DataFrame
    stains: pd.DataFrame
    profiles: pd.DataFrame | None
    store: Path | None

    @property
    def usable(self) -> pd.DataFrame:
        """The samples that can be predicted, in order of sample_id."""
        return self.table[self.table["reason"] == ""].reset_index(drop=True)


def judged(
    samples: pd.DataFrame,
    slides: pd.DataFrame,
    profiles: pd.DataFrame | None,
    genes: Sequence[FoldGenes],
    *,
    modalities: str,
    max_missing: float,
) -> pd.DataFrame:
    """Return new samples with the reason why one cannot be predicted.

    Parameters
    ----------
    samples : pandas.DataFrame
        The ledger of samples.
    slides : pandas.DataFrame
        The ledger of slides, by slide_id.
    profiles : pandas.DataFrame
        Expression, by cohort and expression_id; None where none is read.
    genes
        Of each fold.
    modalities
        What models read: ``p``, ``g`` or ``pg``.
    max_missing
        Largest share of a fold's genes that a cohort may lack.

    Returns
    -------
    pandas.DataFrame
        See `NewSamples.table`.
    """
    table = samples[["sample_id", "case_id", "cohort", "slide_id", "expression_id"]].fillna("")
    table = table.sort_values("sample_id", ignore_index=True)
    known = set() if profiles is None else set(profiles.index)
    short = {} if profiles is None else _cohorts_without_genes(table, profiles, genes, max_missing)
    reasons = [_reason(row, slides, known, short, modalities) for row in table.itertuples()]
    return table.assign(reason=[reason for reason, _ in reasons], detail=[detail for _, detail in reasons])


def _reason(row: object, slides: pd.DataFrame, known: set, short: dict[str, str], modalities: str) -> tuple[str, str]:
    slide_id, cohort, expression_id = row.slide_id, row.cohort, row.expression_id  # type: ignore[attr-defined]
    if "p" in modalities:
        if not slide_id or slide_id not in slides.index:
            return NO_SLIDE, "the table names no slide"
        if slides.at[slide_id, "status"] != "ok":
            return str(slides.at[slide_id, "reason"]), f"slide {slide_id}"
    if "g" in modalities:
        if not expression_id:
            return NO_PROFILE, "the table names no profile"
        if (cohort, expression_id) not in known:
            return NO_PROFILE, f"profile {expression_id} is not in the expression of {cohort}"
        if cohort in short:
            return NO_PROFILE, short[cohort]
    return "", ""


def _cohorts_without_genes(
    samples: pd.DataFrame, profiles: pd.DataFrame, genes: Sequence[FoldGenes], max_missing: float
) -> dict[str, str]:
    """Return the cohorts that lack too many of the genes of a fold, with what they lack."""
    found: dict[str, str] = {}
    there = pd.MultiIndex.from_frame(samples[list(PROFILE_KEYS)]).isin(profiles.index)
    for cohort, own in profiles_by_cohort(profiles, samples[there]).items():
        for of_fold in genes:
            missing = lacking(own, of_fold.symbols)
            if len(missing) > max_missing * len(of_fold.symbols):
                listed = f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
                found[cohort] = (
                    f"the expression of {cohort} lacks {len(missing)} of {len(of_fold.symbols)} genes ({listed}), more "
                    f"than {max_missing:.0%}"
                )
    return found


def lacked_genes(new: NewSamples, genes: FoldGenes) -> dict[str, list[str]]:
    """Return the genes of a fold that each cohort of usable samples lacks; they count as the mean of training."""
    assert new.profiles is not None
    return {
        cohort: missing
        for cohort, own in profiles_by_cohort(new.profiles, new.usable).items()
        if (missing := lacking(own, genes.symbols))
    }


def fold_data(new: NewSamples, fold: Fold, *, modalities: str) -> FoldData:
    """Return the usable samples as the models of a fold read them.

    Parameters
    ----------
    new
        The samples.
    fold
        The fold, by whose frozen scaling genes are scaled.
    modalities
        What models read: ``p``, ``g`` or ``pg``.
    """
    samples, store = new.usable, open_store(new.store) if new.store else None
    genes = fold.genes
    values = {} if genes is None else _scaled(new, genes)
    slides = pd.Index(store.slide_ids if store else []).get_indexer(samples["slide_id"])
    return FoldData(
        samples=samples[["sample_id", "case_id", "cohort"]].assign(split="new"),
        features=store.features if store else np.empty((0, 0), dtype=np.float16),
        rows=store.offsets[:, None] + store.index if store else np.empty((0, 0), dtype=np.int64),
        slides=slides,
        genes=values,
        niches={} if genes is None else genes.niches,
        groups={} if genes is None else genes.groups,
        modalities=modalities,
        check=store.check if store else None,
    )


def _scaled(new: NewSamples, genes: FoldGenes) -> dict[str, torch.Tensor]:
    """Return the scaled genes of the usable samples, niche to (samples, genes)."""
    assert new.profiles is not None
    samples = new.usable
    symbols = [name for name in new.profiles.columns if not is_copy(name)]
    own = new.profiles.loc[pd.MultiIndex.from_frame(samples[list(PROFILE_KEYS)]), symbols]
    scaled = genes.scaling.apply(own, samples["cohort"])
    return {niche: torch.from_numpy(scaled[list(names)].to_numpy(np.float32)) for niche, names in genes.niches.items()}


def looks_of(new: NewSamples, data: FoldData) -> list[Looks]:
    """Return how each usable sample looks, to be compared with training.

    Parameters
    ----------
    new
        The samples.
    data
        The same, as the models of a fold read them.
    """
    features = mean_patches(data) if "p" in data.modalities else None
    genes = np.concatenate([values.numpy() for values in data.genes.values()], axis=1) if data.genes else None
    looks = []
    for number, row in enumerate(new.usable.itertuples()):
        of_slide = _looks_of_slide(new, row.slide_id) if features is not None else {}
        looks.append(
            Looks(
                features=None if features is None else features[number],
                expression=None if genes is None else genes[number],
                **of_slide,
            )
        )
    return looks


def _looks_of_slide(new: NewSamples, slide_id: str) -> dict:
    slide = new.slides.loc[slide_id]
    known = {
        "mpp": _known(slide["mpp"]),
        "mpp_source": slide["mpp_source"] if isinstance(slide["mpp_source"], str) else None,
        "tissue_mm2": _known(slide["tissue_mm2"]),
        "unique_patches": int(slide["unique_patches"]),
    }
    if slide_id not in new.stains.index:
        return known
    stain = new.stains.loc[slide_id]
    numbers = np.concatenate([array.ravel() for array in arrays_of(profile_of(stain))])
    return {**known, "stain_status": str(stain["status"]), "stain": numbers if np.isfinite(numbers).all() else None}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
