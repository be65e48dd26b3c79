"""The figure of a fold's genes: how all shared genes rank, and where those of each niche stand."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation

from ksfusion.results.plots.panels import panel_figure
from ksfusion.results.plots.style import INK, MUTED
from ksfusion.terms.rankings import COUNT_FLAVOURS, Rank

NICHE_NAMES = {"tumour": "Tumour", "tme": "Tumour microenvironment"}
NICHE_COLOURS = {"tumour": "#d55e00", "tme": "#0072b2"}
RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
# Genes of a niche that its label names.
NAMED = 4
ORDERS: dict[Rank, str] = {
    "within_cohort": "variance rank, averaged over cohorts",
    "pooled": "variance over all cohorts",
    "seurat": "scanpy's dispersion, seurat",
    "cell_ranger": "scanpy's dispersion, cell_ranger",
    "seurat_v3": "scanpy's variance of counts, seurat_v3",
    "seurat_v3_paper": "scanpy's variance of counts, seurat_v3_paper",
}
CAPTION = (
    "Grey: the variance of every gene that all cohorts share, in order of rank. Left of the dashed line: the genes "
    "chosen by rank; coloured: those of them that a gene set places, which are used. The strips show the genes of each "
    "set, dark where used."
)


class PowersInPlainText(LogFormatterSciNotation):
    """Powers of ten with raised digits, for figures in which no text is a formula."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of a tick."""
        formula: str = super().__call__(x, pos)
        text = formula.removeprefix(r"$\mathdefault{").removesuffix("}$").replace(r"\times", "\N{MULTIPLICATION SIGN}")
        return re.sub(r"\^\{(.*?)\}", lambda power: power[1].translate(RAISED), text)


def draw_gene_ranks(table: pd.DataFrame, *, title: str, rank: Rank) -> Figure:
    """Draw variance against rank, and a strip for the genes of each niche.

    Parameters
    ----------
    table
        symbol, rank, variance, chosen and niche of all shared genes, in order of rank.
    title
        The figure's title.
    rank
        Ranking of the genes.
    """
    heights = (2.6, *(0.28 for _ in NICHE_NAMES))
    figure, [(curve, *strips)] = panel_figure(1, title=title, width=7.2, heights=heights, left=0.9, gap=0.7)
    n_chosen = int(table["chosen"].sum())
    # A gene that does not vary has no place on a logarithmic scale.
    shown = table[table["variance"] > 0]
    curve.plot(shown["rank"], shown["variance"], ".", color=MUTED, markersize=2, alpha=0.5, rasterized=True)
    if len(shown):
        curve.set_yscale("log")
        curve.yaxis.set_major_formatter(PowersInPlainText())
        curve.yaxis.set_minor_formatter(PowersInPlainText())
    curve.set_ylabel("Variance of counts" if rank in COUNT_FLAVOURS else "Variance")
    for niche, strip in zip(NICHE_NAMES, strips, strict=True):
        _draw_niche(curve, strip, table[table["niche"] == niche], niche)
    for axes in (curve, *strips):
        axes.axvline(n_chosen + 0.5, color=INK, linewidth=0.8, linestyle="--")
        axes.set_xlim(0.5 - 0.01 * len(table), len(table) * 1.01 + 0.5)
        axes.tick_params(labelbottom=axes is strips[-1])
    curve.legend(loc="upper right", markerscale=3, frameon=True, facecolor="white", edgecolor="none")
    strips[-1].set_xlabel(f"Rank among {len(table):,} genes ({ORDERS[rank]}); {n_chosen:,} chosen")
    return figure


def _draw_niche(curve: Axes, strip: Axes, genes: pd.DataFrame, niche: str) -> None:
    """Mark the used genes of a niche on the curve, and all its genes in its strip."""
    used, name, colour = genes[genes["chosen"]], NICHE_NAMES[niche], NICHE_COLOURS[niche]
    first = f", the first {', '.join(used['symbol'].head(NAMED))}" if len(used) else ""
    label = f"{name}: {len(used)} of {len(genes)} used{first}"
    curve.plot(used["rank"], used["variance"], ".", color=colour, markersize=3.5, label=label, rasterized=True)
    for part, alpha in ((genes[~genes["chosen"]], 0.25), (used, 1.0)):
        strip.vlines(part["rank"], np.zeros(len(part)), np.ones(len(part)), color=colour, linewidth=0.5, alpha=alpha)
    strip.set_ylim(0, 1)
    strip.set_yticks([])
    strip.grid(visible=False)
    strip.set_ylabel("TME" if niche == "tme" else name, rotation=0, ha="right", va="center")
