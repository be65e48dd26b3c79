"""Attribution of a method's outputs to each gene over the test samples, its stability, and what is found by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import torch

from ksfusion.methods.output import Method
from ksfusion.results.attribution.integrated import AT_ONCE, STEPS_OF_MEANS, Target, integrated_gradients_of
from ksfusion.results.attribution.tables import ALL, CHECKS, COLUMNS, PERMUTED, PLANTED, SEEDS
from ksfusion.results.modalities.projection import choose_samples
from ksfusion.training.data import FoldData
from ksfusion.training.predict import batched

# Of the genes, those that are taken for the planted ones.
PLANTED_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Attributed:
    """Attributions of the outputs of a model for test samples to genes.

    Attributes
    ----------
    genes
        Symbol and niche of each gene.
    distance : numpy.ndarray (n_samples, n_genes)
        The genes' values less those of the baseline.
    attributions : mapping of output to numpy.ndarray (n_samples, n_genes)
        Attribution of each output to each gene.
    """

    genes: Sequence[tuple[str, str]]
    distance: np.ndarray
    attributions: Mapping[str, np.ndarray]

    def importance(self, output: str) -> np.ndarray:
        """Return the mean absolute attribution of each gene, (n_genes,); NaN without samples."""
        parts = np.abs(self.attributions[output])
        return parts.mean(axis=0) if len(parts) else np.full(len(self.genes), np.nan)

    def direction(self, output: str) -> np.ndarray:
        """Return Pearson's correlation over samples of a gene's value and its attribution, (n_genes,).

        1 where more of the gene always raises the output, -1 where it lowers it; NaN where the gene does not vary.
        """
        if len(self.distance) < 2:
            return np.full(len(self.genes), np.nan)
        value, own = (part - part.mean(axis=0) for part in (self.distance, self.attributions[output]))
        scale = np.sqrt(np.square(value).sum(axis=0) * np.square(own).sum(axis=0))
        return np.divide((value * own).sum(axis=0), scale, out=np.full_like(scale, np.nan), where=scale > 0)


def attribute_samples(
    model: Method,
    data: FoldData,
    outputs: Mapping[str, Target],
    *,
    baseline: Mapping[str, torch.Tensor],
    samples: int,
) -> Attributed:
    """Return the attributions of the outputs of a model for test samples to each gene.

    Parameters
    ----------
    model
        A method that reads genes, in evaluation mode.
    data
        Samples of its fold.
    outputs
        What is explained, by name (`ksfusion.results.attribution.integrated.explained_outputs`).
    baseline
        Where the paths start, niche to (genes,).
    samples
        Number of test samples, at most.
    """
    device = next(model.parameters()).device
    test = np.flatnonzero(data.samples["split"] == "test")
    test = test[choose_samples(data.samples["sample_id"].iloc[test], samples)]
    symbols = [(symbol, niche) for niche in data.genes for symbol in data.niches[niche]]
    distances, found = [np.empty((0, len(symbols)))], {name: [np.empty((0, len(symbols)))] for name in outputs}
    targets = list(outputs.values())
    for positions in batched(test, AT_ONCE // STEPS_OF_MEANS):
        patches, genes = data.gather(positions, device)
        distances.append(torch.cat([genes[niche] - baseline[niche].to(device) for niche in genes], dim=1).cpu().numpy())
        of_targets = integrated_gradients_of(
            model, patches, genes, targets=targets, baseline=baseline, steps=STEPS_OF_MEANS
        )
        for parts, of_target in zip(found.values(), of_targets, strict=True):
            parts.append(torch.cat(list(of_target.values()), dim=1).cpu().numpy())
    attributions = {name: np.concatenate(parts) for name, parts in found.items()}
    return Attributed(symbols, np.concatenate(distances), attributions)


def attribution_table(by_seed: Sequence[Attributed], categories: Mapping[str, str]) -> pd.DataFrame:
    """Return the attributions of outputs to each gene, over the seeds of a method.

    Parameters
    ----------
    by_seed
        What `attribute_samples` returns of each seed.
    categories
        Category of each gene.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`, by class and rank: ``mean`` over seeds of the mean absolute attribution over test samples, its ``sd``
        over seeds (NaN of one), ``rank`` among all genes (1: the largest mean), and the mean ``direction``.
    """
    tables = []
    for name in by_seed[0].attributions if by_seed else ():
        table = pd.DataFrame(by_seed[0].genes, columns=["gene", "niche"])
        table["category"], table["class"] = table["gene"].map(dict(categories)), name
        importance = pd.DataFrame([model.importance(name) for model in by_seed])
        table["mean"], table["sd"] = importance.mean(), importance.std()
        table["direction"] = pd.DataFrame([model.direction(name) for model in by_seed]).mean()
        table = table.sort_values(["mean", "gene"], ascending=[False, True], ignore_index=True)
        tables.append(table.assign(rank=np.arange(1, len(table) + 1)))
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def check_rows(
    by_seed: Sequence[Attributed],
    permuted: Attributed | None,
    table: pd.DataFrame,
    planted: pd.DataFrame | None,
) -> pd.DataFrame:
    """Return how stable the ranks of genes are, and how many planted genes are found.

    Parameters
    ----------
    by_seed
        What `attribute_samples` returns of each seed.
    permuted
        The same of a model that was trained on permuted labels; None where there is none.
    table
        That of `attribution_table`.
    planted
        How far each gene (``symbol``) follows each ``class``, by its ``correlation``, where that is known.

    Returns
    -------
    pandas.DataFrame
        `CHECKS`. ``seeds``: Spearman's correlation of the mean absolute attribution of the genes, mean over pairs of
        seeds; ``permuted``: the same between each seed and the model of permuted labels; ``planted``: recall at k, the
        share, percent, that the first k genes by rank hold of the k genes that follow the class most; k is a tenth of
        the genes (of a niche, or of all), and a tenth is chance.
    """
    rows: list[tuple[str, str, str, float, float, int]] = []
    for name in by_seed[0].attributions if by_seed else ():
        found = [model.importance(name) for model in by_seed]
        pairs = {SEEDS: list(combinations(found, 2))}
        if permuted is not None:
            pairs[PERMUTED] = [(values, permuted.importance(name)) for values in found]
        rows += [
            (name, ALL, measure, float(np.mean([_spearman(*pair) for pair in of_measure])), 0.0, len(of_measure))
            for measure, of_measure in pairs.items()
            if of_measure
        ]
        if planted is not None:
            own = table[table["class"] == name]
            strength = planted[planted["class"] == name].set_index("symbol")["correlation"].abs()
            niches = [(ALL, own), *own.groupby("niche", sort=False)]
            rows += [(name, str(niche), PLANTED, *recall_at_k(genes["gene"], strength)) for niche, genes in niches]
    return pd.DataFrame(rows, columns=CHECKS)


def recall_at_k(ranked: pd.Series[str], strength: pd.Series[float]) -> tuple[float, float, int]:
    """Return the share that the first k genes hold of the k strongest, percent, that expected at random, and k.

    Parameters
    ----------
    ranked
        Genes, the first first; k is a tenth of them.
    strength
        How strong each gene, the index, is; one that is not there is the weakest, equal ones are taken by name.
    """
    k = max(1, round(len(ranked) * PLANTED_SHARE))
    known = strength.reindex(sorted(ranked), fill_value=0.0).sort_values(ascending=False, kind="stable")
    return 100 * float(ranked.head(k).isin(known.index[:k]).mean()), 100 * k / len(ranked), k


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)
