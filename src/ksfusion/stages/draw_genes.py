"""The figure of a fold's genes, drawn from their ranking."""

from __future__ import annotations

from pathlib import Path

from ksfusion.core.provenance import as_json, provenance
from ksfusion.core.storage import read_tsv
from ksfusion.genes.config import Ranking
from ksfusion.results.plots.genes import draw_gene_ranks
from ksfusion.results.plots.panels import save_figure
from ksfusion.results.plots.style import drawing_style


def draw_genes(ranking: Path, output: Path, *, settings: Ranking) -> None:
    """Draw the ranks of a fold's genes as SVG and PNG.

    Parameters
    ----------
    ranking
        ``genes/fold{fold}/ranking.tsv``.
    output
        The files to write, without their suffix.
    settings
        The ranking of the genes, and the share that was kept.
    """
    table = read_tsv(ranking, dtype={"symbol": str})
    made_by = provenance(__name__, settings.record())
    fold = ranking.parent.name.removeprefix("fold")
    with drawing_style():
        figure = draw_gene_ranks(table, title=f"Genes chosen, fold {fold}", rank=settings.rank)
        save_figure(figure, output, as_json(made_by))
