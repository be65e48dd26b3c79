"""Each rival as its paper writes it, one sample, one patch and one group of genes at a time, in evaluation mode."""

import pytest
import torch
from method_formulas import (
    check,
    coattention,
    draw,
    elu,
    encode_slide,
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
)

from ksfusion.methods.layers import self_normalising_network

pytestmark = pytest.mark.usefixtures("one_thread")


def test_attmil():
    model = make("attmil")
    results = [encode_slide(model.encoder, patches) for patches, _ in samples(*draw())]
    check(model, [linear(model.classifier, slide) for slide, _ in results], [weights for _, weights in results])


def test_snn():
    model = make("snn")
    embedded = [self_normalising(model.encoder.layers, profile) for _, profile in samples(*draw())]
    check(model, [linear(model.classifier, profile) for profile in embedded])


def kronecker_fusion(model, slide, profile):
    """Pathomic Fusion, equations 5 and 6: each modality gated by both, all products of the two with a 1, and a skip."""
    gated = []
    for gate, own in ((model.gate_slide, slide), (model.gate_profile, profile)):
        passing = torch.stack([slide @ weight @ profile for weight in gate.weight]) + gate.bias
        gated.append(relu(linear(gate.out[0], sigmoid(passing) * relu(linear(gate.reduce[0], own)))))
    first, second = ([*vector, 1.0] for vector in gated)
    products = torch.stack([torch.as_tensor(a * b, dtype=torch.float64) for a in first for b in second])
    (mix,), (skip,) = linears(model.mix), linears(model.skip)
    return relu(linear(skip, torch.cat([relu(linear(mix, products)), *gated])))


@pytest.mark.parametrize(
    ("name", "fuse"),
    [
        ("concat", lambda model, slide, profile: torch.cat([slide, profile])),
        ("add", lambda model, slide, profile: slide + profile),
        ("bilinear", kronecker_fusion),
    ],
    ids=["concat", "add", "bilinear"],
)
def test_fusions_of_a_slide_and_a_profile(name, fuse):
    model = make(name)
    expected, attention = [], []
    for patches, profile in samples(*draw()):
        pooled, weights = encode_slide(model.slide, patches)
        slide = relu(linear(model.project[0], pooled))
        fused = fuse(model, slide, self_normalising(model.profile.layers, profile))
        expected.append(linear(model.classifier, fused))
        attention.append(weights)
    check(model, expected, attention)


def test_mcat():
    model = make("mcat")
    expected, attention = [], []
    for patches, profile in samples(*draw()):
        genes = gene_tokens(model.genes, profile)
        bag = [relu(linear(model.embed[0], patch)) for patch in patches]
        seen, coweights = coattention(model.coattend, genes, bag)
        slide, weights = set_transformer(model.patch_set, seen)
        expected.append(mixed(model, slide, set_transformer(model.gene_set, genes)[0]))
        attention.append(sum(weight * row for weight, row in zip(weights, coweights, strict=True)))
    check(model, expected, attention)


def test_cmta():
    """Where encoders, decoders and co-attention stand; the transformers themselves are tested with Nystrom attention.

    The translation of a modality comes from what its tokens gather among those of the other; half of the sum of its
    class token and its translation stands for it.
    """
    model = make("cmta")
    expected, attention, losses = [], [], {"patches": [], "genes": []}
    for patches, profile in samples(*draw()):
        first, second = linears(model.embed)
        bag = torch.stack([relu(linear(second, relu(linear(first, patch)))) for patch in patches])
        slide, of_patches, *_ = model.slide.encode(bag[None])
        genes, of_genes, *_ = model.profile.encode(gene_tokens(model.genes, profile)[None])
        slide_in_genes, _ = coattention(model.slide.attend, of_patches[0], of_genes[0])
        genes_in_slide, weights = coattention(model.profile.attend, of_genes[0], of_patches[0])
        slide_translated, profile_translated = (
            translator.decode(gathered[None])[0]
            for translator, gathered in ((model.slide, slide_in_genes), (model.profile, genes_in_slide))
        )
        expected.append(mixed(model, (slide + slide_translated)[0] / 2, (genes + profile_translated)[0] / 2))
        attention.append(weights.mean(dim=0))
        losses["patches"].append((slide_translated - slide).abs().mean())
        losses["genes"].append((profile_translated - genes).abs().mean())
    check(model, expected, attention)
    auxiliary = model.auxiliary_losses(model(*draw()))
    for name, values in losses.items():
        torch.testing.assert_close(auxiliary[f"translation_{name}"].value, torch.stack(values).mean())


@pytest.mark.parametrize("dropout", [0.1, 0.4])
def test_alpha_dropout_keeps_mean_and_variance(dropout):
    """Klambauer et al., section on dropout: a dropped unit is set to alpha', then all are scaled and shifted."""
    torch.manual_seed(0)
    network = self_normalising_network((3, 200_000), dropout=dropout).train()
    profile = torch.randn(1, 3)
    kept = elu(linear(network[0], profile[0]))
    saturated = -1.0507009873554805 * 1.6732632423543772  # alpha'
    scale = (1 - dropout + saturated**2 * dropout * (1 - dropout)) ** -0.5
    shift = -scale * dropout * saturated
    given = network(profile)[0]
    dropped = (given - (scale * saturated + shift)).abs() < 1e-5
    torch.testing.assert_close(given[~dropped], (scale * kept + shift)[~dropped])
    assert dropped.float().mean().item() == pytest.approx(dropout, abs=0.005)
    # Of units of mean 0 and variance 1, as those of a self-normalising network are to be.
    units = network[-1](torch.randn(200_000))
    assert units.mean().item() == pytest.approx(0, abs=0.01)
    assert units.var().item() == pytest.approx(1, abs=0.02)
