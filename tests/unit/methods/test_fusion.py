"""What multi-modal methods are built of: fusions, co-attention, groups of genes, translation."""

import numpy as np
import pandas as pd
import pytest
import torch

from ksfusion.genes import gene_sets
from ksfusion.methods import build
from ksfusion.methods.bilinear import kronecker
from ksfusion.methods.gene_groups import columns_by_group
from ksfusion.methods.layers import CoAttention
from ksfusion.methods.output import MethodOutput
from ksfusion.methods.registry import Inputs
from ksfusion.terms.gene_categories import MOST_GROUPS, gene_groups

NICHES = {"tumour": ["A", "B"], "tme": ["C", "D", "E"]}
SIZES = {"n_features": 5, "n_patches": 9, "niches": NICHES, "n_outputs": 3}


@pytest.mark.parametrize("name", ["concat", "add"])
def test_simple_fusions_are_linear_in_both_embeddings(name):
    torch.manual_seed(0)
    model = build(name, **SIZES).eval()
    out = model(torch.randn(2, 9, 5), {"tumour": torch.randn(2, 2), "tme": torch.randn(2, 3)})
    slide, profile = out.embeddings["patches"], out.embeddings["genes"]
    weight, bias = model.classifier.weight, model.classifier.bias
    of_slide, of_profile = weight.split(256, dim=1) if name == "concat" else (weight, weight)
    torch.testing.assert_close(out.logits, slide @ of_slide.T + profile @ of_profile.T + bias)


def test_kronecker_by_hand():
    product = kronecker(torch.tensor([[2.0, 3]]), torch.tensor([[5.0, 7]]))
    # (2, 3, 1) with (5, 7, 1): the products, and each vector as it is.
    assert product.tolist() == [[10, 14, 2, 15, 21, 3, 5, 7, 1]]


def test_bilinear_gates_are_bilinear_and_not_saturated():
    torch.manual_seed(0)
    gate = build("bilinear", **SIZES).eval().gate_slide
    slide, profile = torch.randn(50, 256), torch.randn(50, 256)
    log_odds = gate.passing(slide, profile)
    expected = torch.nn.functional.bilinear(slide, profile, gate.weight, gate.bias)
    torch.testing.assert_close(log_odds, expected, rtol=1e-4, atol=1e-4)
    gates = torch.sigmoid(log_odds)
    assert 0.15 < gates.std() < 0.25  # of the sigmoid of a standard normal: 0.21


@pytest.mark.parametrize(("n_queries", "n_context"), [(3, 20), (20, 3)])
def test_coattention_is_attention_with_one_head(n_queries, n_context):
    torch.manual_seed(0)
    ours, theirs = CoAttention(16), torch.nn.MultiheadAttention(16, 1, batch_first=True)
    torch.nn.init.normal_(ours.q.bias)
    torch.nn.init.normal_(ours.out.bias)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q.bias, torch.randn(16), torch.zeros(16)]))  # keys' changes nothing
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    queries, context = torch.randn(2, n_queries, 16), torch.randn(2, n_context, 16)
    for part, expected in zip(ours(queries, context), theirs(queries, context, context), strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (None, [[0, 1], [2, 3, 4]]),
        ({"x": ["C", "A"], "y": ["B", "D", "E"]}, [[2, 0], [1, 3, 4]]),
        ({"x": ["C", "Q"], "empty": [], "strange": ["Q"]}, [[2], [0, 1, 3, 4]]),
        ({"x": ["A", "B"], "y": ["B", "C", "D", "E"]}, [[0, 1], [1, 2, 3, 4]]),
    ],
)
def test_columns_of_groups(groups, expected):
    assert columns_by_group(Inputs(5, 9, NICHES, 3, groups)) == expected


def test_categories_of_the_shipped_sets_are_merged():
    table = [
        ("A", "oncogene", "tumour"),
        ("B", "cell cycle", "tumour"),
        ("C", "interferons", "tme"),
        ("D", "chemokines", "tme"),
        ("E", "my own", "tme"),
        ("F", None, "tme"),
        ("G", "", "tumour"),
    ]
    assert gene_groups(pd.DataFrame(table, columns=["symbol", "category", "niche"])) == {
        "oncogenes and cell cycle": ["A", "B"],
        "cytokines": ["C", "D"],
        "my own": ["E"],
        "other tme": ["F"],
        "other tumour": ["G"],
    }


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_shipped_sets_make_a_few_groups_of_many_genes(share):
    """All genes, and as many as the paper's selection keeps of those that it ranks; each in one group of its niche."""
    placed = gene_sets().drop_duplicates("symbol").sample(frac=share, random_state=0)
    groups = gene_groups(placed)
    assert 2 <= len(groups) <= 10 and min(map(len, groups.values())) >= 10
    assert sorted(symbol for symbols in groups.values() for symbol in symbols) == sorted(placed["symbol"])
    niche = placed.set_index("symbol")["niche"]
    assert all(niche[symbols].nunique() == 1 for symbols in groups.values())
    assert set(niche[[symbols[0] for symbols in groups.values()]]) == {"tumour", "tme"}


def test_many_categories_are_merged_within_their_niche():
    sizes = np.arange(1, 31)  # categories of 1 to 30 genes, in turn of either niche
    table = pd.DataFrame({"category": [f"c{size:02d}" for size in sizes for _ in range(size)]})
    table["symbol"] = [f"G{number}" for number in range(len(table))]
    table["niche"] = np.where(table["category"].str[1:].astype(int) % 2, "tumour", "tme")
    groups = gene_groups(table)
    assert len(groups) == MOST_GROUPS and sorted(s for part in groups.values() for s in part) == sorted(table["symbol"])
    assert {"c30", "c28", "c26", "c24", "other tme", "c29", "c27", "c25", "c23", "other tumour"} == set(groups)


def test_translations_are_drawn_to_embeddings_that_stay():
    model = build("cmta", **SIZES)
    translations = {name: torch.randn(2, 256, requires_grad=True) for name in ("patches", "genes")}
    embeddings = {name: torch.randn(2, 256, requires_grad=True) for name in ("patches", "genes")}
    out = MethodOutput(torch.zeros(2, 3), embeddings=embeddings, translations=translations)
    losses = model.auxiliary_losses(out)
    assert set(losses) == {"translation_patches", "translation_genes"}
    sum(loss.weight * loss.value for loss in losses.values()).backward()
    for name in translations:
        difference = (translations[name] - embeddings[name]).detach()
        assert losses[f"translation_{name}"].value.item() == pytest.approx(difference.abs().mean().item())
        torch.testing.assert_close(translations[name].grad, 0.5 * difference.sign() / difference.numel())
        assert embeddings[name].grad is None
