"""The files of the stages before that new patients are predicted and explained from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ksfusion.bundles.read import Bundle
from ksfusion.core.parquet import read_wide_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.genes.config import Genes
from ksfusion.predictions.samples import NewSamples, judged
from ksfusion.slides.stain.profiles import read_profiles
from ksfusion.terms.gene_columns import PROFILE_KEYS


@dataclass(frozen=True)
class NewFiles:
    """What the stages before have made of new samples, and the bundle.

    Parameters
    ----------
    bundle
        Folder of the bundle.
    samples
        Table of samples, of `write-ledger`.
    slides
        Table of slides, of `write-ledger`.
    profiles
        Expression, of `read-expression`; none where no genes are read.
    store
        Folder with the features of all slides, of `build-store`; none where no patches are read.
    """

    bundle: Path
    samples: Path
    slides: Path
    profiles: Path | None
    store: Path | None


def read_new(files: NewFiles, bundle: Bundle, stain: Sequence[Path] = ()) -> NewSamples:
    """Read what the stages before have made of new samples.

    Parameters
    ----------
    files
        Their files.
    bundle
        The bundle.
    stain
        Tables of stains of all batches, of `fit-stain`.
    """
    text = dict.fromkeys(("sample_id", "case_id", "cohort", "slide_id", "expression_id"), str)
    slides = read_tsv(files.slides, dtype={"slide_id": str, "mpp_source": str, "reason": str}).set_index("slide_id")
    profiles = read_wide_parquet(files.profiles, PROFILE_KEYS) if files.profiles else None
    table = judged(
        read_tsv(files.samples, dtype=text),
        slides,
        profiles,
        [fold.genes for fold in bundle.folds if fold.genes],
        bundle.contents,
        max_missing=(bundle.settings.genes or Genes()).max_missing,
    )
    stains = [read_profiles(path) for path in stain]
    # Of slides none of which came through there is no feature.
    some = bool((slides["status"] == "ok").any())
    return NewSamples(
        table=table,
        slides=slides,
        stains=pd.concat(stains) if stains else pd.DataFrame(),
        profiles=profiles,
        store=files.store if some else None,
    )
