"""MMP as its paper writes it, and the mixture against the formulas of expectation and maximisation."""

import math

import numpy as np
import pytest
import torch
from method_formulas import check, draw, gene_tokens, linear, make, samples, softmax
from scipy.stats import multivariate_normal
from torch.nn import functional

from ksfusion.methods.mmp import Mixture

pytestmark = pytest.mark.usefixtures("one_thread")


def em_step(patches: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step from even shares, unit variances, and a prior of one patch for each component."""
    densities = np.array([multivariate_normal(centre).pdf(patches) for centre in centres]).T.reshape(len(patches), -1)
    shares = densities / densities.sum(axis=1, keepdims=True)
    tokens = []
    for share, centre in zip(shares.T, centres, strict=True):
        mass = share.sum() + 1
        mean = (share @ patches + centre) / mass
        variance = (share @ patches**2 + 1 + centre**2) / mass - mean**2
        tokens.append(np.concatenate([[mass / (len(patches) + len(centres))], mean, variance]))
    return np.array(tokens), shares


@pytest.mark.parametrize("n_patches", [1, 2, 30])
def test_the_mixture_is_one_step_of_expectation_and_maximisation(n_patches):
    torch.manual_seed(0)
    mixture = Mixture(3, 4).double()
    patches = torch.randn(2, n_patches, 3, dtype=torch.float64)
    tokens, shares = mixture(patches)
    for number in range(2):
        expected = em_step(patches[number].numpy(), mixture.centres.numpy())
        np.testing.assert_allclose(tokens[number], expected[0], rtol=1e-9)
        np.testing.assert_allclose(shares[number], expected[1], rtol=1e-9)
    torch.testing.assert_close(tokens[:, :, 0].sum(dim=1), torch.ones(2, dtype=torch.float64))
    assert (tokens[:, :, 4:] > 0).all()


def test_far_prototypes_take_their_own_patches():
    """Ten and thirty patches at two places, prototypes near: the first component has 11 of 42, and its place."""
    mixture = Mixture(2, 2)
    mixture.centres.copy_(torch.tensor([[0.0, 0], [100, 100]]))
    patches = torch.cat([torch.full((10, 2), 1.0), torch.full((30, 2), 99.0)])[None]
    tokens, shares = mixture(patches)
    assert shares[0, :10, 0].min() == 1 and shares[0, 10:, 1].min() == 1
    torch.testing.assert_close(tokens[0, 0, :3], torch.tensor([11 / 42, 10 / 11, 10 / 11]))


def test_prototypes_are_found_where_patches_were_drawn():
    random = np.random.default_rng(0)
    places = 20 * random.standard_normal((5, 8))
    patches = (places[random.integers(5, size=2000)] + random.standard_normal((2000, 8))).astype(np.float32)
    mixture, again = Mixture(8, 5), Mixture(8, 5)
    mixture.fit(patches)
    again.fit(patches)
    assert torch.equal(mixture.centres, again.centres)
    away = np.linalg.norm(places[:, None] - mixture.centres.numpy(), axis=2)
    assert sorted(away.argmin(axis=1)) == list(range(5)) and away.min(axis=1).max() < 0.5


def test_of_few_patches_some_prototypes_are_twins():
    mixture = Mixture(2, 4)
    mixture.fit(np.array([[1, 1], [2, 2], [1, 1]], dtype=np.float32))
    assert mixture.centres.tolist() == [[1, 1], [2, 2], [1, 1], [2, 2]]
    tokens, _ = mixture(torch.randn(1, 3, 2))
    assert tokens.isfinite().all()


def norm(tokens, scale, shift):
    return functional.layer_norm(tokens, tokens.shape[-1:]) * scale + shift


def test_mmp():
    """Each token with numbers of its own; one attention among all; each token's network; the means of both kinds."""
    model = make("mmp", prototypes=4)
    expected, attention = [], []
    for patches, profile in samples(*draw()):
        groups = gene_tokens(model.genes, profile)
        tokens, shares = (torch.from_numpy(part) for part in em_step(patches.numpy(), model.mixture.centres.numpy()))
        prototypes = torch.stack([linear(model.embed, token) for token in tokens])
        n, joined = len(groups), torch.cat([torch.cat([groups, prototypes]), model.identity], dim=1)
        joined = norm(joined, model.norm.weight, model.norm.bias)
        q, k, v = (joined @ layer.weight.T for layer in (model.q, model.k, model.v))
        weights = torch.stack([softmax(k @ query / math.sqrt(144)) for query in q])
        fed, feed = [], model.feed
        for number, token in enumerate(weights @ v):
            token = norm(token, feed.scale[number], feed.shift[number])
            token = functional.gelu(token @ feed.first[number] + feed.first_bias[number])
            token = token @ feed.second[number] + feed.second_bias[number]
            fed.append(norm(token, feed.norm.weight, feed.norm.bias))
        fed = torch.stack(fed)
        expected.append(model.classifier.weight @ torch.cat([fed[:n].mean(dim=0), fed[n:].mean(dim=0)]))
        given = weights[:n, n:].sum(dim=0)
        attention.append((shares / shares.sum(dim=0)) @ (given / given.sum()))
    check(model, expected, attention)


def test_sizes_are_those_of_the_source():
    """16 prototypes; 256 for a token and 32 of its own; a head of half of that."""
    shapes = {name: tuple(part.shape) for name, part in make("mmp").state_dict().items()}
    assert shapes["mixture.centres"] == (16, 5) and shapes["embed.weight"] == (256, 11)
    assert shapes["identity"] == (3 + 16, 32) and shapes["q.weight"] == (144, 288)
    assert shapes["feed.first"] == (19, 144, 144) and shapes["classifier.weight"] == (3, 288)
