"""The new samples: which of them can be predicted and why others cannot, what models read of them, how they look."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ksfusion.bundles.config import BundleContents
from ksfusion.bundles.distances import SampleStatistics
from ksfusion.bundles.members import Fold, FoldGenes
from ksfusion.core.feature_store import open_store
from ksfusion.genes.unseen import lacking, profiles_by_cohort
from ksfusion.slides.stain.profiles import arrays_of, profile_of
from ksfusion.terms.gene_columns import PROFILE_KEYS
from ksfusion.terms.modalities import GENES_ONLY, MODALITIES, PAIRED, SLIDES_ONLY
from ksfusion.training.covariates import mean_patches
from ksfusion.training.data import FoldData

NO_SLIDE, NO_PROFILE = "missing_file", "missing_profile"
ASK_PARTIAL = (
    "these models need slide and profile both; a bundle of models trained with training.modality_dropout would do with "
    "one"
)


@dataclass(frozen=True, eq=False)
class NewSamples:
    """What the stages before have made of new samples.

    Attributes
    ----------
    table : pandas.DataFrame
        All samples, by sample_id: sample_id, case_id, cohort, slide_id, expression_id, reason (why one cannot be
        predicted, empty where it can), detail, and of one that can modalities, what it has
        (`ksfusion.terms.modalities`; of all that is read).
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
    contents: BundleContents,
    *,
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
    contents
        What models read, and whether one of two may be missing.
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
    rows = []
    for row in table.itertuples():
        lacks = {}
        if "p" in contents.modalities:
            lacks["p"] = _of_slide(str(row.slide_id), slides)
        if "g" in contents.modalities:
            lacks["g"] = _of_profile(str(row.cohort), str(row.expression_id), known, short)
        rows.append(_verdict(lacks, partial=contents.partial))
    return table.assign(**{name: [row[name] for row in rows] for name in ("reason", "detail", MODALITIES)})


def _verdict(lacks: Mapping[str, tuple[str, str]], *, partial: bool) -> dict[str, str]:
    """Return why a sample is not used, what is to be said of it, and what it has."""
    missing = {letter: why for letter, why in lacks.items() if why[0]}
    has = PAIRED if not missing else GENES_ONLY if "p" in missing else SLIDES_ONLY
    if not missing:
        return {"reason": "", "detail": "", MODALITIES: has}
    reason, detail = next(iter(missing.values()))
    if partial and len(missing) < len(lacks):
        return {"reason": "", "detail": f"{reason}: {detail}", MODALITIES: has}
    if len(lacks) == 2 and len(missing) == 1 and not partial:
        detail += f"; {ASK_PARTIAL}"
    return {"reason": reason, "detail": detail, MODALITIES: ""}


def _of_slide(slide_id: str, slides: pd.DataFrame) -> tuple[str, str]:
    """Return why a slide cannot be used, and a word on it; empty where it can."""
    if not slide_id or slide_id not in slides.index:
        return NO_SLIDE, "the table names no slide"
    return ("", "") if slides.at[slide_id, "status"] == "ok" else (str(slides.at[slide_id, "reason"]), slide_id)


def _of_profile(cohort: str, expression_id: str, known: set, short: Mapping[str, str]) -> tuple[str, str]:
    """Return why a profile cannot be used, and a word on it; empty where it can."""
    if not expression_id:
        return NO_PROFILE, "the table names no profile"
    if (cohort, expression_id) not in known:
        return NO_PROFILE, f"profile {expression_id} is not in the expression of {cohort}"
    return (NO_PROFILE, short[cohort]) if cohort in short else ("", "")


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
    usable = new.usable
    return {
        cohort: missing
        for cohort, own in profiles_by_cohort(new.profiles, usable[usable[MODALITIES] != SLIDES_ONLY]).items()
        if (missing := lacking(own, genes.symbols))
    }


def fold_data(new: NewSamples, fold: Fold, contents: BundleContents) -> FoldData:
    """Return the usable samples as the models of a fold read them.

    Parameters
    ----------
    new
        The samples.
    fold
        The fold, by whose frozen scaling genes are scaled.
    contents
        What models read, and whether one of two may be missing.
    """
    samples, store = new.usable, open_store(new.store) if new.store else None
    genes, n_features = fold.genes, contents.encoder.n_features if contents.encoder else 0
    slides = pd.Index(store.slide_ids if store else []).get_indexer(samples["slide_id"])
    kept = ["sample_id", "case_id", "cohort", *([MODALITIES] if contents.partial else [])]
    return FoldData(
        samples=samples[kept].assign(split="new"),
        features=store.features if store else np.empty((0, n_features), dtype=np.float16),
        rows=store.offsets[:, None] + store.index if store else np.empty((0, contents.n_patches or 0), dtype=np.int64),
        slides=np.where(samples[MODALITIES] == GENES_ONLY, -1, slides),
        genes={} if genes is None else _scaled(new, genes),
        niches={} if genes is None else genes.niches,
        groups={} if genes is None else genes.groups,
        modalities=contents.modalities,
        check=store.check if store else None,
        partial=contents.partial,
    )


def _scaled(new: NewSamples, genes: FoldGenes) -> dict[str, torch.Tensor]:
    """Return the scaled genes of the usable samples, niche to (samples, genes); NaN without a profile."""
    assert new.profiles is not None
    samples = new.usable
    own = new.profiles.reindex(pd.MultiIndex.from_frame(samples[list(PROFILE_KEYS)]))
    for cohort, columns in genes.copies.items():
        rows = (samples["cohort"] == cohort).to_numpy()
        for symbol, column in columns.items():
            # A file of later that has the gene once has it under its symbol.
            if column in own and own.loc[rows, column].notna().any():
                own.loc[rows, symbol] = own.loc[rows, column]
    scaled = genes.scaling.apply(own, samples["cohort"])
    scaled[(samples[MODALITIES] == SLIDES_ONLY).to_numpy()] = np.nan
    return {niche: torch.from_numpy(scaled[list(names)].to_numpy(np.float32)) for niche, names in genes.niches.items()}


def sample_statistics(new: NewSamples, data: FoldData) -> list[SampleStatistics]:
    """Return what is known of each usable sample, to be compared with training.

    Parameters
    ----------
    new
        The samples.
    data
        The same, as the models of a fold read them.
    """
    features: dict[int, np.ndarray] = {}
    if "p" in data.modalities:
        has = np.flatnonzero(data.slides >= 0)
        means = mean_patches(_rows_of(data, has)) if len(has) else ()
        features = dict(zip(has.tolist(), means, strict=True))
    genes = np.concatenate([values.numpy() for values in data.genes.values()], axis=1) if data.genes else None
    statistics = []
    for number, row in enumerate(new.usable.itertuples()):
        expression = genes[number] if genes is not None and row.modalities != SLIDES_ONLY else None
        of_slide = _looks_of_slide(new, str(row.slide_id)) if number in features else {}
        statistics.append(SampleStatistics(features=features.get(number), expression=expression, **of_slide))
    return statistics


def _rows_of(data: FoldData, positions: np.ndarray) -> FoldData:
    """Return some of the samples, by their positions, with what is read of their slides."""
    samples = data.samples.iloc[positions].reset_index(drop=True)
    return dataclasses.replace(data, samples=samples, slides=data.slides[positions], genes={}, partial=False)


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
