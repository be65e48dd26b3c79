"""The released code's departures, each against its plain definition."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional

from ksfusion.methods import build, position_bias
from ksfusion.methods.position_bias import PositionBias
from ksfusion.methods.released import ReleasedDeform, released_ge_con, row_similarity


def draw_points(n_heads: int = 2, n_samples: int = 3, n_points: int = 4) -> torch.Tensor:
    torch.manual_seed(1)
    return (2.4 * torch.rand(n_heads, n_samples, n_points, 2, dtype=torch.float64) - 1.2).requires_grad_()


def make_bias(side: int = 5, width: int = 6) -> PositionBias:
    torch.manual_seed(0)
    bias = PositionBias(side, width).double()
    torch.nn.init.normal_(bias.first.bias)
    torch.nn.init.normal_(bias.second.bias)
    return bias


def plain_bias(bias: PositionBias, points: torch.Tensor) -> torch.Tensor:
    """Every pair through the layers, all at once."""
    y, x = torch.meshgrid(bias.line, bias.line, indexing="ij")
    queries = torch.stack([x, y], dim=-1).reshape(-1, 1, 2)
    away = queries - points.unsqueeze(2)  # (heads, B, N, P, 2)
    hidden = torch.relu(bias.first(torch.sign(away) * torch.log(away.abs() + 1)))
    return torch.relu(bias.second(hidden)) @ bias.last


@pytest.mark.parametrize("pairs", [1, 45, 250, 10**6])  # of 6 x 25 x 4: one row, two rows, two maps, all at a time
def test_position_bias_and_its_gradients(monkeypatch, pairs):
    monkeypatch.setattr(position_bias, "PAIRS_ON_CPU", pairs)
    bias, points = make_bias(), draw_points()
    ours, plain = bias(points), plain_bias(bias, points)
    torch.testing.assert_close(ours, plain)
    inputs = [points, *bias.parameters()]
    weight = torch.randn(ours.shape, dtype=torch.float64)
    for own, expected in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((plain * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(own, expected)


def test_position_bias_gradient_by_finite_differences():
    assert gradcheck(make_bias(), draw_points(1, 2, 2))


def test_hidden_layers_of_all_pairs_are_never_kept():
    bias, points = make_bias(side=20, width=16), draw_points(2, 2, 9)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda part: sizes.append(part.numel()) or part, lambda part: part):
        bias(points)
    n_pairs = 2 * 2 * 400 * 9
    assert sizes and sum(sizes) < n_pairs * 16 / 2  # one hidden layer would be n_pairs x 16


@pytest.fixture
def attend() -> ReleasedDeform:
    torch.manual_seed(0)
    sizes = {"width": 16, "heads": 2, "head_width": 4, "grid": 12, "offset_cells": 4.0}
    return ReleasedDeform(12, **sizes, dropout=0.1).eval()


def test_sampling_is_that_of_grid_sample_with_zeros_outside_and_edges_at_one(attend):
    maps, points = torch.randn(3, 12, 12, 2, 8), draw_points(2, 3, 50).float().detach()
    images = maps.permute(3, 0, 4, 1, 2).flatten(0, 1)
    theirs = functional.grid_sample(images, points.flatten(0, 1)[:, :, None], padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(
        attend.sample(maps, points), theirs[..., 0].mT.unflatten(0, (2, 3)), rtol=1e-4, atol=1e-5
    )
    assert not attend.sample(maps, torch.full((2, 3, 1, 2), 1.5)).any()


def test_position_bias_is_added_to_the_logits(attend):
    """With keys of zero the weights of a query are the softmax of its position bias."""
    torch.nn.init.zeros_(attend.w_k)
    teacher, patches = torch.randn(2, 144, 16), torch.randn(2, 144, 16)
    _, points, attention = attend(teacher, patches)
    expected = plain_bias(attend.position_bias, points.transpose(0, 1)).softmax(dim=-1).mean(dim=2)
    torch.testing.assert_close(attention, expected.transpose(0, 1))


def test_rows_of_the_gram_matrix_have_unit_length():
    # Gram matrix ((25, 3), (3, 1)) of (3, 4) and (1, 0).
    expected = torch.tensor([[25, 3], [3, 1]]) / torch.tensor([[math.sqrt(634)], [math.sqrt(10)]])
    torch.testing.assert_close(row_similarity(torch.tensor([[3.0, 4], [1, 0]])), expected)
    assert not row_similarity(torch.zeros(2, 3)).any()


def test_released_consistency_by_hand():
    """Two samples, two groups, one point each; a slice holds the two groups of one sample.

    In cells of a grid of three points the first sample's are (1, 0) and (0, 1), the second's (1, 0) and (2, 0). Rows
    of the slices' Gram matrices are (1, 0), (0, 1) and twice (1, 2) / sqrt(5), that of the genes is the unit matrix.
    """
    cells = torch.tensor([[[[1.0, 0]], [[0, 1]]], [[[1, 0]], [[2, 0]]]])  # (B, groups, 1, 2)
    s = 1 / math.sqrt(5)
    mean = torch.tensor([[(1 + s) / 2, s], [s / 2, (1 + 2 * s) / 2]])
    expected = (torch.eye(2) - mean).square().sum() / 2
    loss = released_ge_con(torch.tensor([[2.0, 0], [0, 3]]), cells - 1, line=3)
    torch.testing.assert_close(loss, expected)


def test_the_method_uses_the_released_loss():
    torch.manual_seed(0)
    model = build("ksfusion-released", n_features=4, n_patches=144, niches={"tumour": ["A"], "tme": ["B"]}, n_outputs=2)
    out = model(torch.randn(3, 144, 4), {"tumour": torch.randn(3, 1), "tme": torch.randn(3, 1)})
    losses = model.auxiliary_losses(out)
    assert {name: loss.weight for name, loss in losses.items()} == {"alignment_tumour": 0.5, "alignment_tme": 0.5}
    expected = released_ge_con(out.gene_embeddings["tme"], out.points["tme"], line=12)
    torch.testing.assert_close(losses["alignment_tme"].value, expected)


def first_weights(name: str) -> dict[str, torch.Tensor]:
    """Return the weights of a method as it is drawn, at the paper's sizes."""
    torch.manual_seed(0)
    niches = {"tumour": [f"t{n}" for n in range(59)], "tme": [f"e{n}" for n in range(361)]}
    return build(name, n_features=1024, n_patches=2500, niches=niches, n_outputs=4).state_dict()


# Fan-in of each layer that torch's scheme draws; biases have that of their layer.
FAN_IN = {
    "classifier": 256,
    "project": 1024,
    "teach": 256,
    "pool.0": 128,
    "pool.2": 128,
    "attend.w_q": 16,
    "attend.w_k": 16,
    "attend.w_v": 16,
    "attend.gather": 36,
    "attend.to_offset": 64,
    "attend.w_o": 512,
    "attend.position_bias.first": 2,
    "attend.position_bias.second": 32,
    "attend.position_bias.last": 32,
}
# Of the gene encoders, in order.
GENE_FAN_IN = {"tumour": (59, 64, 48, 32), "tme": (361, 64, 48, 32)}


def test_first_weights_are_those_of_the_released_scheme():
    """Even between the two ends: a standard deviation of 1 / sqrt(3 fan-in); the gene encoders' is 1 / sqrt(fan-in)."""
    weights = first_weights("ksfusion-released")
    expected = {}
    for layer, fan_in in FAN_IN.items():
        for prefix in [""] if layer == "classifier" else ["streams.tumour.", "streams.tme."]:
            for name in ("", ".weight", ".bias"):
                expected[f"{prefix}{layer}{name}"] = fan_in
    seen = set()
    for name, fan_in in expected.items():
        if name in weights:
            seen.add(name)
            values = weights[name].double()
            assert float(values.abs().max()) <= fan_in**-0.5
            # The spread of an even distribution's own standard deviation is 0.45 / sqrt(n) of it.
            assert float(values.square().mean().sqrt()) == pytest.approx(
                (3 * fan_in) ** -0.5, rel=2 * values.numel() ** -0.5
            )
    for niche, sizes in GENE_FAN_IN.items():
        for number, fan_in in enumerate(sizes):
            name = f"streams.{niche}.encode_genes.{3 * number}"
            values = weights[f"{name}.weight"]
            assert float(values.std()) == pytest.approx(fan_in**-0.5, rel=3 * values.numel() ** -0.5)
            assert float(values.abs().max()) > 1.5 * fan_in**-0.5
            assert not weights[f"{name}.bias"].any()
            seen |= {f"{name}.weight", f"{name}.bias"}
    assert {name for name in weights if "norm" not in name} == seen


@pytest.mark.parametrize(
    ("layer", "ratio"),
    [("classifier", 3**0.5), ("streams.tme.project", 6**0.5), ("streams.tme.pool.0", 5 / 3 * 3**0.5)],
)
def test_first_weights_of_the_method_are_wider(layer, ratio):
    """A variance of 1 / fan-in, of 2 before ReLU and of 25 / 9 before tanh, where the released code has a third."""
    own, released = (first_weights(name)[f"{layer}.weight"] for name in ("ksfusion", "ksfusion-released"))
    assert float(own.std() / released.std()) == pytest.approx(ratio, rel=4 * own.numel() ** -0.5)
