"""The data of a fold: samples with their patches, genes and labels; a batch is a gather from a memory map."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.core.errors import UserError
from ksfusion.core.feature_store import open_store
from ksfusion.core.storage import read_parquet, read_tsv
from ksfusion.terms.gene_categories import gene_groups
from ksfusion.terms.niches import NICHES
from ksfusion.terms.split_table import sides_of_fold
from ksfusion.terms.splits import SIDES
from ksfusion.terms.tasks import TaskOutcome

ROWS_AT_ONCE = 2**16
# Of a GPU's free memory, what the features of all slides may take.
SHARE_OF_GPU = 0.6
# The values of each niche, and the symbols of niches and of groups.
_Genes: TypeAlias = tuple[dict[str, Tensor], dict[str, list[str]], dict[str, list[str]]]


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
    """All samples in use of a fold, in order of sample_id.

    Attributes
    ----------
    samples : pandas.DataFrame
        sample_id, case_id, cohort, split, and the truth of the task: ``y`` (Int64, or float for regression), or
        ``days`` (float) and ``event`` (Int64); missing where unknown.
    features : numpy.memmap (unique patches of all slides, n_features), float16
    rows : numpy.ndarray (slides, n_patches), int64
        Rows of ``features`` that make the map of a slide.
    slides : numpy.ndarray (samples,)
        Row of ``rows`` of each sample.
    genes : mapping of niche to Tensor (samples, genes), float32
    niches, groups
        Niche, and group (see `ksfusion.terms.gene_categories`), to symbols.
    modalities
        What the method reads: patches are not gathered where it lacks ``p``.
    resident : Tensor (unique patches of all slides, n_features), float16
        ``features`` on the device of the model, where `hold` has put them there.
    check
        Raises where the features of slides, given by their rows of ``rows``, are damaged.
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
        truth = [name for name in ("y", "days", "event") if name in self.samples]
        known = self.samples[truth].notna().all(axis=1)
        return np.flatnonzero(known & (self.samples["split"] == split))

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
        genes = {niche: to_device(values[positions], device) for niche, values in self.genes.items()}
        if "p" not in self.modalities:
            return None, genes
        rows = self.rows[self.slides[positions]]
        if self.resident is None:
            self._check(self.slides[positions].tolist())
            patches = to_device(torch.from_numpy(np.take(self.features, rows, axis=0)), device)
        else:
            patches = self.resident[to_device(torch.from_numpy(rows), device)]
        return patches.to(torch.bfloat16 if bf16 else torch.float32), genes

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


def read_fold(files: FoldFiles, *, task: TaskOutcome, fold: int, modalities: str) -> FoldData:
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

    Raises
    ------
    UserError
        If files do not fit together: a sample in use without features, expression or split, a task without its columns;
        or if a file that the method reads is not given.
    """
    for modality, path, option in (("p", files.store, "--store"), ("g", files.selected, "--selected and --expression")):
        if modality in modalities and path is None:
            raise UserError(f"{option}: the method reads this; name it")
    samples = read_tsv(files.samples, dtype={name: str for name in ("sample_id", "case_id", "cohort", "slide_id")})
    samples = samples.loc[samples["status"] == "ok", ["sample_id", "case_id", "cohort", "slide_id"]]
    samples = samples.sort_values("sample_id", ignore_index=True)

    samples["split"] = samples["case_id"].map(sides_of_fold(files.splits, fold))
    in_fold = samples["split"].isin(SIDES).to_numpy()
    _require(samples, in_fold, f"case is not in fold {fold} of {files.splits}; split the cases again")
    samples = samples.join(_truth(files.cases, task), on="case_id")

    found: _Genes = ({}, {}, {})
    if files.expression is not None and files.selected is not None:
        found = _read_genes(files.expression, files.selected, samples)
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
    )
    return data if files.store is None else _with_patches(data, samples, files.store)


def _with_patches(data: FoldData, samples: pd.DataFrame, path: Path) -> FoldData:
    """Return data with the patches of its samples, whose slides ``samples`` names."""
    store = open_store(path)
    slides = pd.Index(store.slide_ids).get_indexer(samples["slide_id"])
    _require(samples, slides >= 0, f"slide is not in {path}; build the store again")
    rows = store.offsets[:, None] + store.index
    return dataclasses.replace(data, features=store.features, rows=rows, slides=slides, check=store.check)


def _require(samples: pd.DataFrame, good: np.ndarray, remedy: str) -> None:
    """Raise the error of the first sample that is not good, where there is one."""
    if not good.all():
        row = samples[~good].iloc[0]
        raise UserError(f"sample {row['sample_id']} (case {row['case_id']}, slide {row['slide_id']}): its {remedy}")


def _truth(cases: Path, task: TaskOutcome) -> pd.DataFrame:
    """Return the truth of a task by case_id."""
    if task.kind == "survival":
        columns = {f"days_{task.name}": "days", f"event_{task.name}": "event"}
    elif task.kind == "regression":
        columns = {f"value_{task.name}": "y"}
    else:
        columns = {f"label_{task.name}": "y"}
    table = read_parquet(cases)
    if missing := [column for column in columns if column not in table]:
        raise UserError(f"{cases}: lacks {', '.join(missing)} of task {task.name}; check the cohort again")
    return table.astype({"case_id": str}).set_index("case_id")[list(columns)].rename(columns=columns)


def _read_genes(expression: Path, selected: Path, samples: pd.DataFrame) -> _Genes:
    """Return the values of each niche, and the symbols of niches and of groups."""
    table, chosen = read_parquet(expression), read_tsv(selected)
    if missing := sorted(set(chosen["symbol"]) - set(table.columns)):
        raise UserError(f"{expression}: lacks gene {missing[0]} of {selected}; select the genes again")
    rows = table.index.astype(str).get_indexer(samples["sample_id"])
    _require(samples, rows >= 0, f"expression is not in {expression}; select the genes again")
    niches = {niche: chosen.loc[chosen["niche"] == niche, "symbol"].tolist() for niche in NICHES}
    values = table.iloc[rows]
    genes = {niche: values[symbols].to_numpy(np.float32) for niche, symbols in niches.items()}
    for array in genes.values():
        _require(samples, np.isfinite(array).all(axis=1), f"expression in {expression} has a missing value")
    return {niche: torch.from_numpy(array) for niche, array in genes.items()}, niches, gene_groups(chosen)
