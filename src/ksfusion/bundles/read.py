"""A bundle, read from its folder: checked whole, and nothing in it run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ksfusion.bundles.config import BundleContents, BundleSettings
from ksfusion.bundles.contents import (
    CASES,
    SLIDES,
    STAIN_TARGET,
    genes_folder,
    member_folder,
    read_calibration,
    read_contents,
)
from ksfusion.bundles.distances import read_summary
from ksfusion.bundles.genes import read_genes
from ksfusion.bundles.loading import check_weights
from ksfusion.bundles.manifest import AGAIN
from ksfusion.bundles.members import Fold, Member
from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_tsv
from ksfusion.results.config import ShownTask


@dataclass(frozen=True)
class Bundle:
    """A trained method and task.

    Attributes
    ----------
    folder
        Where it lies; it may be moved.
    contents
        What it is: task, method, modalities, encoder, units, folds, study, versions.
    settings
        How a new patient's files become what the models read.
    folds
        In order of their numbers; a holdout split has one.
    cases : pandas.DataFrame
        ``case`` (`ksfusion.bundles.seen.case_digest`), ``fold``, ``split``.
    slides : pandas.DataFrame
        ``slide`` (digest of the slide's file, as in ``tiles/*.parquet``), ``case``; empty without patches.
    """

    folder: Path
    contents: BundleContents
    settings: BundleSettings
    folds: tuple[Fold, ...]
    cases: pd.DataFrame
    slides: pd.DataFrame

    @property
    def task(self) -> ShownTask:
        """What is predicted."""
        return self.contents.task

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.contents.method

    @property
    def modalities(self) -> str:
        """What the method reads: ``p``, ``g`` or ``pg``."""
        return self.contents.modalities

    @property
    def members(self) -> tuple[Member, ...]:
        """All members, fold by fold."""
        return tuple(member for fold in self.folds for member in fold.members)

    @property
    def stain_target(self) -> Path | None:
        """The file of the stain that slides are brought to; None where there is none."""
        path = self.folder / STAIN_TARGET
        return path if path.is_file() else None


def read_bundle(folder: Path | str) -> Bundle:
    """Read a bundle, after making sure that each file is what its manifest says and that all fit together.

    Nothing in it is run: weights are read by safetensors, tables and texts as such.

    Raises
    ------
    UserError
        One line: if the folder is no bundle or one of a later version, a file is missing, changed, not listed or
        outside of the folder, the method is unknown, or shapes do not fit.
    """
    folder = Path(folder)
    contents, settings = read_contents(folder)
    folds = []
    for part in contents.folds:
        members = tuple(
            Member(part.fold, seed, member_folder(folder, part.fold, seed))
            for seed in part.seeds
            if str(seed) not in part.skipped
        )
        if not members:
            raise UserError(f"{folder}: fold {part.fold} has no model; {AGAIN}")
        genes = read_genes(genes_folder(folder, part.fold), settings.genes) if "g" in contents.modalities else None
        for member in members:
            check_weights(member, contents, genes)
        folds.append(
            Fold(part.fold, members, genes, read_calibration(folder, part.fold), read_summary(folder, part.fold))
        )
    slides = folder / SLIDES
    columns = pd.DataFrame(columns=["slide", "case"], dtype=str)
    return Bundle(
        folder,
        contents,
        settings,
        tuple(folds),
        read_tsv(folder / CASES, dtype={"case": str, "split": str}),
        read_tsv(slides, dtype=str) if slides.is_file() else columns,
    )
