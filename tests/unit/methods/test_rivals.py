"""PORPOISE, SurvPath and MOTCat as their papers write them, and the transport against what a solution must be."""

import math

import numpy as np
import pytest
import torch
from method_formulas import (
    check,
    draw,
    gated_attention,
    gene_tokens,
    linear,
    linears,
    make,
    mixed,
    relu,
    samples,
    self_normalising,
    set_transformer,
    sigmoid,
    softmax,
)
from scipy.optimize import linear_sum_assignment
from torch.nn import functional

from ksfusion.methods import build
from ksfusion.methods.motcat import OptimalTransport, transport_plan
from ksfusion.methods.porpoise import ATTENTION_WIDTH

pytestmark = pytest.mark.usefixtures("one_thread")


def test_porpoise():
    """Each embedding, reduced, times the sigmoid of a layer on both; all products with a 1; both embeddings beside."""
    model = make("porpoise")
    expected, attention = [], []
    for patches, profile in samples(*draw()):
        (embed,) = linears(model.slide.embed)
        pooled, weights = gated_attention(model.slide.pool, [relu(linear(embed, patch)) for patch in patches])
        slide = relu(linear(model.project[0], pooled))
        genes = self_normalising(model.profile.layers, profile)
        both, gated = torch.cat([slide, genes]), []
        for gate, own in ((model.gate_slide, slide), (model.gate_profile, genes)):
            passed = sigmoid(linear(gate.passing, both)) * relu(linear(gate.reduce[0], own))
            gated.append(torch.cat([relu(linear(gate.out[0], passed)), torch.ones(1)]))
        (mix,), (skip,) = linears(model.mix), linears(model.skip)
        products = relu(linear(mix, torch.outer(*gated).flatten()))
        expected.append(linear(model.classifier, relu(linear(skip, torch.cat([products, both])))))
        attention.append(weights)
    check(model, expected, attention)


def test_sizes_of_porpoise_are_those_of_the_source():
    """Of its released network: 512 and 256 for patches, 256 and 256 for genes, an eighth of it gated, 256 fused."""
    model = make("porpoise")
    assert model.slide.embed[0].p == 0.1 and model.slide.pool.dropout.p == 0.25
    sizes = [tuple(layer.weight.shape) for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    slide = [(512, 5), (ATTENTION_WIDTH, 512), (ATTENTION_WIDTH, 512), (1, ATTENTION_WIDTH), (256, 512)]
    gate = [(32, 256), (32, 512), (32, 32)]
    rest = [(256, 7), (256, 256), *gate, *gate, (256, 33 * 33), (256, 768), (3, 256)]
    assert sorted(sizes) == sorted(slide + rest)


def norm(layer, x):
    return functional.layer_norm(x, x.shape[-1:], layer.weight, layer.bias)


def survpath_tokens(model, patches, profile):
    groups = gene_tokens(model.genes, profile)
    return groups, torch.stack([linear(model.embed, patch) for patch in patches])


def test_survpath():
    """All tokens side by side; a mask lets no patch attend to a patch. The attention is a share of what groups give."""
    model = make("survpath")
    expected, attention = [], []
    for patches, profile in samples(*draw()):
        groups, slide = survpath_tokens(model, patches, profile)
        n = len(groups)
        tokens = norm(model.attend.norm, torch.cat([groups, slide]))
        q, k, v = (tokens @ layer.weight.T for layer in (model.attend.q, model.attend.k, model.attend.v))
        weights = []
        for number, query in enumerate(q):
            seen = len(k) if number < n else n
            weights.append(torch.zeros(len(k), dtype=torch.float64))
            weights[-1][:seen] = softmax(torch.stack([query @ key for key in k[:seen]]) / math.sqrt(128))
        weights = torch.stack(weights)
        first_norm, first, _, _, second, second_norm = model.feed.layers
        fed = weights @ v
        fed = functional.gelu(norm(first_norm, fed) @ first.weight.T + first.bias)
        fed = norm(second_norm, fed @ second.weight.T + second.bias)
        hidden = relu(linear(model.mix[0], torch.cat([fed[:n].mean(dim=0), fed[n:].mean(dim=0)])))
        expected.append(linear(model.classifier, hidden))
        given = weights[:n, n:].sum(dim=0)
        attention.append(given / given.sum())
    check(model, expected, attention)


def test_attention_of_survpath_is_there_where_groups_hardly_look_at_patches():
    """Of groups that give patches 1e-100 of their attention, where a float32 has nothing left."""
    model = build("survpath", n_features=5, n_patches=9, niches={"tumour": ["A"], "tme": ["B"]}, n_outputs=2).eval()
    attend = model.attend
    for layer in (attend.q, attend.k):
        torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        attend.q.weight[0, 0] = attend.k.weight[0, 0] = 10.0
    groups, patches = torch.zeros(1, 2, 256), torch.zeros(1, 3, 256)
    groups[..., 0], patches[..., 0] = 1.0, -1.0
    _, _, attention = attend(groups, patches)
    torch.testing.assert_close(attention, torch.full((1, 3), 1 / 3))


def test_a_patch_that_stands_twice_changes_the_mean_of_the_patches_alone():
    """SurvPath: patches do not attend to each other, so that each patch's token is what it is alone."""
    model = make("survpath")
    patches, genes = draw(1)
    groups = model.of_genes(genes)
    _, together, _ = model.attend(groups, model.of_patches(patches))
    for number in range(patches.shape[1]):
        _, alone, _ = model.attend(groups, model.of_patches(patches[:, [number]]))
        torch.testing.assert_close(together[:, [number]], alone)


def draw_cost(n_groups: int, n_patches: int) -> torch.Tensor:
    cost = torch.rand(2, n_groups, n_patches, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return cost / cost.amax(dim=(1, 2), keepdim=True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (4, 1), (3, 11), (9, 5)])
def test_the_gradient_of_what_the_plan_minimises_is_zero(shape):
    """Of sum P cost + 0.1 sum P (log P - 1) + 0.5 (KL(P 1, a) + KL(P^T 1, b)), with a and b even: it is convex.

    KL(x, y) of two masses is sum x log(x / y) - x + y.
    """
    cost = draw_cost(*shape)
    plan = transport_plan(cost).requires_grad_()
    value = (plan * cost).sum() + 0.1 * (plan * (plan.log() - 1)).sum()
    for axis, size in ((2, shape[0]), (1, shape[1])):
        mass = plan.sum(dim=axis)
        value = value + 0.5 * (mass * (mass * size).log() - mass + 1 / size).sum()
    (gradient,) = torch.autograd.grad(value, plan)
    assert gradient.abs().max() < 1e-6


def test_the_plan_of_one_group_and_one_patch_by_hand():
    """cost + 0.1 log p + 2 x 0.5 log p = 0: log p = -1 / 1.1."""
    plan = transport_plan(torch.ones(1, 1, 1, dtype=torch.float64))
    assert plan.item() == pytest.approx(math.exp(-1 / 1.1), rel=1e-6)


def test_with_strict_marginals_and_no_entropy_the_plan_is_the_cheapest_assignment():
    cost = draw_cost(6, 6)
    plan = transport_plan(cost, entropy=0.003, marginals=1e4, iterations=3000)
    for costs, masses in zip(cost.numpy(), plan.numpy(), strict=True):
        rows, columns = linear_sum_assignment(costs)
        expected = np.zeros((6, 6))
        expected[rows, columns] = 1 / 6
        np.testing.assert_allclose(masses, expected, atol=1e-3)


def test_patches_at_one_place_are_gathered_evenly():
    attend, patch = OptimalTransport(4), torch.randn(1, 1, 4)
    gathered, weights = attend(patch.expand(1, 3, 4), patch.expand(1, 5, 4))
    torch.testing.assert_close(weights, torch.full((1, 3, 5), 0.2))
    # Of a mass m, m / 15 for each pair: 0.1 log(m / 15) + 2 x 0.5 log m = 0, so that m = 15^(1 / 11), a third a group.
    torch.testing.assert_close(gathered, patch.expand(1, 3, 4) * 15 ** (1 / 11) / 3, rtol=1e-4, atol=1e-5)


def test_motcat():
    """MCAT, whose groups gather by a plan from squared distances of tokens that begin at zero, over the largest."""
    model = make("motcat")
    expected, attention = [], []
    for patches, profile in samples(*draw()):
        genes = gene_tokens(model.genes, profile)
        bag = torch.stack([relu(linear(model.embed[0], patch)) for patch in patches])
        cost = torch.stack([torch.stack([((g - g.min() - b + b.min()) ** 2).sum() for b in bag]) for g in genes])
        plan = transport_plan((cost / cost.max())[None])[0]
        slide, weights = set_transformer(model.patch_set, plan @ bag)
        expected.append(mixed(model, slide, set_transformer(model.gene_set, genes)[0]))
        rows = [row / row.sum() for row in plan]
        attention.append(sum(weight * row for weight, row in zip(weights, rows, strict=True)))
    check(model, expected, attention)


def test_no_gradient_goes_through_the_plan():
    """The gradient of what a group gathers is the plan itself, as where it is a table of numbers."""
    attend, patches = OptimalTransport(4), torch.randn(1, 6, 4).requires_grad_()
    groups = torch.randn(1, 2, 4).requires_grad_()
    gathered, _ = attend(groups, patches)
    gathered.sum().backward()
    plan = attend.plan(groups, patches)
    torch.testing.assert_close(patches.grad, plan.sum(dim=1).unsqueeze(2).expand(1, 6, 4))
    assert groups.grad is None
