"""The tables that a run reads: which samples it has, their truth, and the scaled genes of a fold."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.terms.gene_categories import gene_groups
from ksfusion.terms.modalities import MODALITIES, SLIDES_ONLY, serves
from ksfusion.terms.niches import NICHES
from ksfusion.terms.tasks import TaskOutcome

# The values of each niche, and the symbols of niches and of groups.
Genes: TypeAlias = tuple[dict[str, Tensor], dict[str, list[str]], dict[str, list[str]]]


def read_samples(path: Path, read: str) -> pd.DataFrame:
    """Return the samples in use that have what a method reads.

    Parameters
    ----------
    path
        Ledger of the samples, of `write-ledger`.
    read
        Letters of the modalities that each must have.

    Returns
    -------
    pandas.DataFrame
        sample_id, case_id, cohort, slide_id, in order of sample_id; ``modalities`` where samples in use differ in it.
    """
    columns = ["sample_id", "case_id", "cohort", "slide_id"]
    samples = read_tsv(path, dtype=dict.fromkeys(columns, str))
    samples = samples[samples["status"] == "ok"].sort_values("sample_id", ignore_index=True)
    if samples.get(MODALITIES, pd.Series(dtype=str)).nunique() < 2:
        return samples[columns]
    suits = samples[MODALITIES].map(lambda found: serves(found, read)).astype(bool)
    return samples.loc[suits, [*columns, MODALITIES]].reset_index(drop=True)


def require(samples: pd.DataFrame, good: np.ndarray, remedy: str) -> None:
    """Raise the error of the first sample that is not good, where there is one."""
    if not good.all():
        row = samples[~good].iloc[0]
        raise UserError(f"sample {row['sample_id']} (case {row['case_id']}, slide {row['slide_id']}): its {remedy}")


def truth_columns(task: TaskOutcome) -> dict[str, str]:
    """Return the columns of a table of labelled cases that hold the truth of a task, to their names in training."""
    if task.kind == "survival":
        return {f"days_{task.name}": "days", f"event_{task.name}": "event"}
    return {f"{'value' if task.kind == 'regression' else 'label'}_{task.name}": "y"}


def truth_in(samples: pd.DataFrame) -> list[str]:
    """Return the columns of a table of samples that hold their truth."""
    return [name for name in ("y", "days", "event") if name in samples]


def labelled(samples: pd.DataFrame, split: str) -> np.ndarray:
    """Return the positions of the samples of a split whose truth is known."""
    return np.flatnonzero(samples[truth_in(samples)].notna().all(axis=1) & (samples["split"] == split))


def read_truth(cases: Path, task: TaskOutcome) -> pd.DataFrame:
    """Return the truth of a task by case_id, from the table of cases of `check-cohort`."""
    columns, table = truth_columns(task), read_parquet(cases)
    if missing := [column for column in columns if column not in table]:
        raise UserError(f"{cases}: lacks {', '.join(missing)} of task {task.name}; check the cohort again")
    return table.astype({"case_id": str}).set_index("case_id")[list(columns)].rename(columns=columns)


def read_genes(expression: Path, selected: Path, samples: pd.DataFrame) -> Genes:
    """Return the values of each niche, and the symbols of niches and of groups.

    Parameters
    ----------
    expression, selected
        Scaled expression and the genes of a fold, of `select-genes`.
    samples
        The samples, as `read_samples` returns them; those with slides only get NaN.
    """
    table, chosen = read_parquet(expression), read_tsv(selected)
    if missing := sorted(set(chosen["symbol"]) - set(table.columns)):
        raise UserError(f"{expression}: lacks gene {missing[0]} of {selected}; select the genes again")
    rows = table.index.astype(str).get_indexer(samples["sample_id"])
    without = np.zeros(len(samples), dtype=bool)
    if MODALITIES in samples:
        without = (samples[MODALITIES] == SLIDES_ONLY).to_numpy()
    require(samples, (rows >= 0) | without, f"expression is not in {expression}; select the genes again")
    niches = {niche: chosen.loc[chosen["niche"] == niche, "symbol"].tolist() for niche in NICHES}
    values = table.iloc[rows]
    genes = {niche: values[symbols].to_numpy(np.float32) for niche, symbols in niches.items()}
    for array in genes.values():
        finite = np.isfinite(array).all(axis=1)
        require(samples, finite | without, f"expression in {expression} has a missing value")
    if without.any():
        genes = {niche: np.where(without[:, None], np.float32("nan"), array) for niche, array in genes.items()}
    return {niche: torch.from_numpy(array) for niche, array in genes.items()}, niches, gene_groups(chosen)
