"""The data of a fold: samples with their patches, genes and labels; a batch is a gather from a memory map."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.core.errors import UserError
from ksfusion.core.feature_store import open_store
from ksfusion.core.ids import stable_hash
from ksfusion.methods.stand_ins import Present
from ksfusion.terms.modalities import MODALITIES, PAIRED, serves
from ksfusion.terms.split_table import splits_of_fold
from ksfusion.terms.splits import ALL_SPLITS, CALIBRATION
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.fold_tables import Genes, labelled, read_genes, read_samples, read_truth, require

ROWS_AT_ONCE = 2**16
# Of a GPU's free memory, what the features of all slides may take.
SHARE_OF_GPU = 0.6


@dataclass(frozen=True)
class FoldFiles:
    """The files of the stages before that a model of one fold is trained on.

    Parameters
    ----------
    store
        Folder with the features of all slides, of `build-store`; none where no patches are read.
    expression
        Scaled expression of the fold's genes, of `select-genes`; none where no genes are read.
    selected
        Table of the fold's genes and their niches, of `select-genes`; none where no genes are read.
    samples
        Table of samples and whether each is in use, of `write-ledger`.
    cases
        Table of cases with the labels of each task, of `check-cohort`.
    splits
        Table of folds, cases and their split, of `split-cases`.
    """

    store: Path | None
    expression: Path | None
    selected: Path | None
    samples: Path
    cases: Path
    splits: Path

    def __iter__(self) -> Iterator[Path]:
        """Yield the paths that there are, in the order of the fields."""
        paths = (self.store, self.expression, self.selected, self.samples, self.cases, self.splits)
        return iter([path for path in paths if path is not None])


@dataclass(frozen=True)
class FoldData:
    """All samples of a fold that a method can use, in order of sample_id.

    Attributes
    ----------
    samples : pandas.DataFrame
        sample_id, case_id, cohort, split, and the truth of the task: ``y`` (Int64, or float for regression), or
        ``days`` (float) and ``event`` (Int64); missing where unknown. Where samples of the study differ in what they
        have (slide, profile or both) ``modalities`` too (`ksfusion.terms.modalities`).
    features : numpy.memmap (unique patches of all slides, n_features), float16
    rows : numpy.ndarray (slides, n_patches), int64
        Rows of ``features`` that make the map of a slide.
    slides : numpy.ndarray (samples,)
        Row of ``rows`` of each sample; -1 of one without a slide.
    genes : mapping of niche to Tensor (samples, genes), float32
        NaN of a sample without a profile.
    niches, groups
        Niche, and group (see `ksfusion.terms.gene_categories`), to symbols.
    modalities
        What the method reads: patches are not gathered where it lacks ``p``.
    resident : Tensor (unique patches of all slides, n_features), float16
        ``features`` on the device of the model, where `hold` has put them there.
    check
        Raises where the features of slides, given by their rows of ``rows``, are damaged.
    partial
        Whether samples may lack one of the modalities that the method reads, for which it has a stand-in.
    """

    samples: pd.DataFrame
    features: np.ndarray
    rows: np.ndarray
    slides: np.ndarray
    genes: Mapping[str, Tensor]
    niches: Mapping[str, list[str]]
    groups: Mapping[str, list[str]]
    modalities: str
    resident: Tensor | None = None
    check: Callable[[Iterable[int]], None] | None = None
    partial: bool = False

    @property
    def n_features(self) -> int:
        """Width of a patch's features."""
        return self.features.shape[1]

    @property
    def n_patches(self) -> int:
        """Patches of a map."""
        return self.rows.shape[1]

    def labelled(self, split: str) -> np.ndarray:
        """Return the positions of the samples of a split whose truth is known."""
        return labelled(self.samples, split)

    def holding_out(self, fraction: float | None) -> FoldData:
        """Return the data with a share of the validation cases in a split of their own, on which nothing is chosen.

        Which ones depends on nothing but their ids, by a stable hash.
        """
        if not fraction:
            return self
        hashes = self.samples["case_id"].map(lambda case: stable_hash(f"{CALIBRATION} {case}") / 2**32)
        held_out = (self.samples["split"] == "val") & (hashes < fraction)
        split = self.samples["split"].mask(held_out, CALIBRATION)
        return dataclasses.replace(self, samples=self.samples.assign(split=split))

    def only(self, *splits: str) -> FoldData:
        """Return the samples of some splits."""
        kept = np.flatnonzero(self.samples["split"].isin(splits))
        return dataclasses.replace(
            self,
            samples=self.samples.iloc[kept].reset_index(drop=True),
            slides=self.slides[kept],
            genes={niche: values[kept] for niche, values in self.genes.items()},
        )

    def hold(self, device: torch.device, *, memory: float) -> FoldData:
        """Return the same data with all features on a device, where they take no more than a memory in bytes."""
        if "p" not in self.modalities or self.features.nbytes > memory:
            return self
        self._check(range(len(self.rows)))
        resident = torch.empty(self.features.shape, dtype=torch.float16, device=device)
        for start in range(0, len(self.features), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            resident[rows] = torch.from_numpy(np.array(self.features[rows]))
        return dataclasses.replace(self, resident=resident)

    def gather(
        self, positions: np.ndarray, device: torch.device, *, bf16: bool = False
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return patches (B, n_patches, n_features) and genes, niche to (B, genes), of some samples, on a device.

        Patches are bfloat16 where that is asked for; everything else is float32.
        """
        patches = self._patches(positions, device, bf16=bf16) if "p" in self.modalities else None
        return patches, self._genes(positions, device)

    def _genes(self, positions: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        return {niche: to_device(values[positions], device) for niche, values in self.genes.items()}

    def _patches(self, positions: np.ndarray, device: torch.device, *, bf16: bool) -> Tensor:
        rows = self.rows[self.slides[positions]]
        if self.resident is None:
            self._check(self.slides[positions].tolist())
            patches = to_device(torch.from_numpy(np.take(self.features, rows, axis=0)), device)
        else:
            patches = self.resident[to_device(torch.from_numpy(rows), device)]
        return patches.to(torch.bfloat16 if bf16 else torch.float32)

    @cached_property
    def present(self) -> dict[str, np.ndarray]:
        """Which samples have patches (``p``) and which have genes (``g``), each (samples,) bool."""
        found = self.samples.get(MODALITIES, pd.Series(PAIRED, index=self.samples.index))
        return {letter: found.map(lambda has, wanted=letter: serves(has, wanted)).to_numpy(bool) for letter in "pg"}

    def inputs(
        self, positions: np.ndarray, device: torch.device, *, bf16: bool = False, dropped: np.ndarray | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]] | tuple[Tensor | None, dict[str, Tensor], Present]:
        """Return what a method is called with for some samples: that of `gather`, and with ``partial`` who has what.

        Parameters
        ----------
        positions
            Positions of the samples.
        device, bf16
            See `gather`.
        dropped : numpy.ndarray of str, shape (B,)
            The modality that is taken away from each sample that has both: ``p``, ``g``, or empty.
        """
        if not self.partial:
            return self.gather(positions, device, bf16=bf16)
        patches, genes = (self.present[letter][positions] for letter in "pg")
        if dropped is not None:
            both = patches & genes
            patches, genes = patches & ~(both & (dropped == "p")), genes & ~(both & (dropped == "g"))
        numbers = (np.flatnonzero(who) for who in (patches, genes, patches & genes))
        present = Present(len(positions), *(to_device(torch.from_numpy(rows), device) for rows in numbers))
        return self._patches(positions[patches], device, bf16=bf16), self._genes(positions[genes], device), present

    def _check(self, slides: Iterable[int]) -> None:
        if self.check is not None:
            self.check(slides)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device; the copy to a GPU does not wait for what is computed there."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def on_device(data: FoldData, device: torch.device) -> FoldData:
    """Return the data with its features on the GPU where they leave room for the model."""
    if device.type != "cuda":
        return data
    return data.hold(device, memory=SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0])


def read_fold(files: FoldFiles, *, task: TaskOutcome, fold: int, modalities: str, partial: bool = False) -> FoldData:
    """Read what a run needs and join it.

    Parameters
    ----------
    files
        Files of the stages before.
    task
        Task whose truth is read.
    fold
        Number of the fold.
    modalities
        Modalities that the method reads: ``p``, ``g`` or ``pg``.
    partial
        Whether one of them may be missing; else samples that lack one are left out.

    Raises
    ------
    UserError
        If files do not fit together: a sample in use without features, expression or split, a task without its columns;
        or if a file that the method reads is not given.
    """
    for modality, path, option in (("p", files.store, "--store"), ("g", files.selected, "--selected and --expression")):
        if modality in modalities and path is None:
            raise UserError(f"{option}: the method reads this; name it")
    samples = read_samples(files.samples, "" if partial else modalities)
    samples["split"] = samples["case_id"].map(splits_of_fold(files.splits, fold))
    in_fold = samples["split"].isin(ALL_SPLITS).to_numpy()
    require(samples, in_fold, f"case is not in fold {fold} of {files.splits}; split the cases again")
    samples = samples.join(read_truth(files.cases, task), on="case_id")

    found: Genes = ({}, {}, {})
    if files.expression is not None and files.selected is not None:
        found = read_genes(files.expression, files.selected, samples)
    genes, niches, groups = found
    data = FoldData(
        samples=samples.drop(columns="slide_id"),
        features=np.empty((0, 0), dtype=np.float16),
        rows=np.empty((0, 0), dtype=np.int64),
        slides=np.zeros(len(samples), dtype=np.int64),
        genes=genes,
        niches=niches,
        groups=groups,
        modalities=modalities,
        partial=partial,
    )
    return data if files.store is None else _with_patches(data, samples, files.store)


def _with_patches(data: FoldData, samples: pd.DataFrame, path: Path) -> FoldData:
    """Return data with the patches of its samples, whose slides ``samples`` names."""
    store = open_store(path)
    slides = pd.Index(store.slide_ids).get_indexer(samples["slide_id"])
    require(samples, (slides >= 0) | ~data.present["p"], f"slide is not in {path}; build the store again")
    rows = store.offsets[:, None] + store.index
    return dataclasses.replace(data, features=store.features, rows=rows, slides=slides, check=store.check)
