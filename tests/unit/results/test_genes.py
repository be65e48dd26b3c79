"""The figure of the genes: every gene at its rank and variance, the used ones of each niche marked."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ksfusion.core.storage import write_tsv
from ksfusion.genes.config import Ranking
from ksfusion.results.plots.genes import draw_gene_ranks
from ksfusion.stages import draw_genes as stage
from ksfusion.stages.draw_genes import draw_genes
from ksfusion.terms.rankings import RANKINGS


@pytest.fixture
def ranking():
    """Ten genes, the first five chosen: two of the tumour's three genes and one of the TME's two are used."""
    niche = ["tumour", "tme", None, "tumour", None, "tme", "tumour", None, None, None]
    return pd.DataFrame(
        {
            "symbol": [f"G{number}" for number in range(1, 11)],
            "rank": range(1, 11),
            "variance": [512.0, 256, 128, 64, 32, 16, 8, 4, 2, 0],
            "chosen": [True] * 5 + [False] * 5,
            "category": "a",
            "niche": niche,
            "source": "b",
        }
    )


def test_genes_stand_at_their_rank_and_variance(ranking):
    figure = draw_gene_ranks(ranking, title="Genes", rank="pooled")
    curve, tumour, tme = figure.axes
    everything, used_tumour, used_tme, cut = curve.lines
    # The gene that does not vary has no place on a logarithmic scale.
    assert everything.get_xdata().tolist() == list(range(1, 10))
    assert used_tumour.get_xydata().tolist() == [[1, 512], [4, 64]]
    assert used_tme.get_xydata().tolist() == [[2, 256]]
    assert set(cut.get_xdata()) == {5.5}
    labels = [text.get_text() for text in curve.get_legend().get_texts()]
    assert labels == ["Tumour: 2 of 3 used, the first G1, G4", "Tumour microenvironment: 1 of 2 used, the first G2"]
    faint, dark = tumour.collections
    assert [segment[0][0] for segment in faint.get_segments()] == [7]
    assert [segment[0][0] for segment in dark.get_segments()] == [1, 4]
    assert tme.get_xlabel().startswith("Rank among 10 genes (variance over all cohorts); 5 chosen")


def test_figure_is_drawn_the_same_each_time(ranking, tmp_path):
    path = tmp_path / "fold3" / "ranking.tsv"
    write_tsv(ranking, path)
    for name in ("first", "second"):
        draw_genes(path, tmp_path / name / "genes_fold3", settings=Ranking(rank="within_cohort", top_fraction=0.5))
    for ending in ("png", "svg"):
        first, second = (tmp_path / name / f"genes_fold3.{ending}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    pixels = np.asarray(Image.open(tmp_path / "first" / "genes_fold3.png").convert("L"))
    assert 0.005 < (pixels < 200).mean() < 0.5


def test_every_ranking_has_its_words_in_the_figure(ranking, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(stage, "save_figure", lambda figure, stem, made_by: drawn.update({stem.name: figure}))
    write_tsv(ranking, tmp_path / "fold0" / "ranking.tsv")
    for rank in RANKINGS:
        settings = Ranking(rank=rank, top_fraction=0.5)
        draw_genes(tmp_path / "fold0" / "ranking.tsv", tmp_path / rank, settings=settings)
    of_counts = {name for name, figure in drawn.items() if figure.axes[0].get_ylabel() == "Variance of counts"}
    assert of_counts == {"seurat_v3", "seurat_v3_paper"}
    labels = {name: figure.axes[-1].get_xlabel() for name, figure in drawn.items()}
    assert "(scanpy's variance of counts, seurat_v3_paper); 5 chosen" in labels["seurat_v3_paper"]
    assert len(set(labels.values())) == len(RANKINGS)


def test_genes_that_do_not_vary_have_a_figure_too(ranking, tmp_path):
    write_tsv(ranking.assign(variance=0.0), tmp_path / "fold0" / "ranking.tsv")
    settings = Ranking(rank="pooled", top_fraction=0.5)
    draw_genes(tmp_path / "fold0" / "ranking.tsv", tmp_path / "genes_fold0", settings=settings)
    assert (tmp_path / "genes_fold0.png").is_file()
