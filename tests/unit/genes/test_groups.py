"""Groups of genes from a user's file: as many as it has, each gene where its sets have it."""

import pandas as pd
import pytest
import torch

from ksfusion.core.errors import UserError
from ksfusion.genes.config import Genes
from ksfusion.genes.sets.grouping import with_groups
from ksfusion.methods import build
from ksfusion.methods.gene_groups import columns_by_group
from ksfusion.methods.registry import Inputs
from ksfusion.terms.gene_categories import gene_groups
from ksfusion.terms.gene_sets import NEWEST

NICHES = {"tumour": ["EGFR", "MYC", "TP53"], "tme": ["CD4", "CD8A"]}
SELECTED = pd.DataFrame(
    [(symbol, "a category", niche) for niche, symbols in NICHES.items() for symbol in symbols],
    columns=["symbol", "category", "niche"],
)


@pytest.fixture
def gmt(tmp_path):
    def write(*sets: tuple[str, ...]) -> str:
        path = tmp_path / "own.gmt"
        path.write_text("".join("\t".join((name, "http://nowhere", *symbols)) + "\n" for name, *symbols in sets))
        return str(path)

    return write


def read_back(table: pd.DataFrame, path) -> pd.DataFrame:
    table.to_csv(path, sep="\t", index=False)
    return pd.read_csv(path, sep="\t")


def test_sets_of_the_file_are_the_groups(gmt, tmp_path):
    file = gmt(("GROWTH", "EGFR", "MYC", "KRAS"), ("T_CELLS", "CD4", "CD8A"), ("BOTH", "CD4", "MYC"), ("NONE", "KRAS"))
    table = read_back(with_groups(SELECTED, file, names=NEWEST), tmp_path / "selected.tsv")
    assert gene_groups(table) == {"BOTH": ["MYC", "CD4"], "GROWTH": ["EGFR", "MYC"], "T_CELLS": ["CD4", "CD8A"]}
    # A gene of no set is left to the methods, which give those a token of their own.
    inputs = Inputs(4, 4, NICHES, 2, gene_groups(table))
    assert columns_by_group(inputs) == [[1, 3], [0, 1], [3, 4], [2]]


@pytest.mark.parametrize("method", ["mcat", "cmta"])
def test_more_than_ten_groups_are_as_many_tokens(gmt, method):
    symbols = [f"G{number}" for number in range(60)]
    selected = pd.DataFrame({"symbol": symbols, "category": "one", "niche": ["tumour"] * 30 + ["tme"] * 30})
    file = gmt(*((f"SET_{number:02d}", *symbols[number : number + 3]) for number in range(50)))
    groups = gene_groups(with_groups(selected, file, names=NEWEST))
    assert len(groups) == 50 and all(len(genes) == 3 for genes in groups.values())
    niches = {"tumour": symbols[:30], "tme": symbols[30:]}
    torch.manual_seed(0)
    model = build(method, n_features=4, n_patches=9, niches=niches, n_outputs=2, groups=groups).eval()
    networks = [module for module in model.modules() if type(module).__name__ == "GroupedGenes"]
    tokens = networks[0]({niche: torch.randn(2, 30) for niche in niches})
    assert tokens.shape[:2] == (2, 51)  # 50 sets, and the genes of none: G52 to G59
    out = model(torch.randn(2, 9, 4), {niche: torch.randn(2, 30) for niche in niches})
    assert out.logits.shape == (2, 2) and out.logits.isfinite().all()


def test_a_previous_symbol_is_todays(gmt):
    """MLL2 is KMT2D since 2013 (HGNC)."""
    selected = pd.DataFrame({"symbol": ["KMT2D", "EGFR"], "category": "c", "niche": "tumour"})
    assert gene_groups(with_groups(selected, gmt(("SET", "MLL2")), names=NEWEST)) == {"SET": ["KMT2D"]}


def test_builtin_changes_nothing():
    assert with_groups(SELECTED, "builtin", names=NEWEST) is SELECTED
    assert "groups" not in Genes().record() and Genes(groups="my.gmt").record()["groups"] == "my.gmt"


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([("FAR", "KRAS")], r"genes.groups: none of the 5 selected genes is in .*own.gmt; name another file"),
        ([("A | B", "EGFR")], r"own.gmt: set 'A \| B' has '\|' in its name; rename it"),
        ([("ALONE",)], r"own.gmt, row 1: a gene set has a name, a description and symbols"),
        ([("IDS", "1956")], r"own.gmt, row 1: 1956 is a number; give gene symbols"),
    ],
)
def test_a_file_of_no_use_is_told(gmt, sets, said):
    with pytest.raises(UserError, match=said):
        with_groups(SELECTED, gmt(*sets), names=NEWEST)


def test_only_a_file_of_sets_makes_groups():
    with pytest.raises(ValueError, match=r"must be builtin, or a file of sets, \.gmt"):
        Genes(groups="groups.tsv")
