"""KS-Fusion with a focused attention, against the same written out sample by sample and head by head."""

import math

import pytest
import torch
from torch.nn import functional

from ksfusion.methods import build

pytestmark = pytest.mark.usefixtures("one_thread")

NICHES = {"tumour": ["A", "B", "C"], "tme": ["D", "E"]}
SIDE, HEADS = 14, 8
CHANGES = ("dense", "mixed", "gene_queries", "genes_residual", "unit_values", "gate")
OFF = {**dict.fromkeys(CHANGES, False), "offset_cells": 4.0}


def make(name: str, **options):
    torch.manual_seed(0)
    return build(name, n_features=5, n_patches=SIDE**2, niches=NICHES, n_outputs=3, **options).eval()


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    genes = {niche: torch.randn(2, len(symbols)) for niche, symbols in NICHES.items()}
    return torch.randn(2, SIDE**2, 5), genes


def test_without_its_changes_it_is_ksfusion(inputs):
    plain, focused = make("ksfusion"), make("ksfusion-focus", **OFF)
    focused.load_state_dict(plain.state_dict())
    expected, found = plain(*inputs), focused(*inputs)
    torch.testing.assert_close(found.logits, expected.logits)
    for niche in NICHES:
        torch.testing.assert_close(found.attention[niche], expected.attention[niche])
        torch.testing.assert_close(found.points[niche], expected.points[niche])


def written_out(attend, teacher, patch, asking, points, *, gate):
    """Return what is attended (Q, width) and the attention of the points (heads, P) of one sample."""
    heads, shares = [], []
    keyed, asked = attend.key(patch), attend.ask(asking)
    for head in range(HEADS):
        channels = slice(head * 16, (head + 1) * 16)
        grid = points[head][None, :, None]
        value, key = (
            functional.grid_sample(
                rows[:, channels].T.reshape(1, 16, SIDE, SIDE), grid, padding_mode="border", align_corners=True
            )[0, :, :, 0].T
            for rows in (patch, keyed)
        )
        logits = asked[:, channels] @ key.T / math.sqrt(16)
        if gate:
            opened = torch.sigmoid(logits + attend.threshold[head, 0])
            weights, share = 2 * opened / len(key), opened / opened.sum(dim=1, keepdim=True)
        else:
            weights = share = logits.softmax(dim=1)
        heads.append(weights @ value @ attend.w_v[head])
        shares.append(share.mean(dim=0))
    return attend.w_o(torch.cat(heads, dim=1)), torch.stack(shares)


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("gene_queries", [True, False])
@pytest.mark.parametrize(("dense", "genes_residual"), [(True, True), (False, False)])
def test_streams_as_written_out(inputs, gate, gene_queries, dense, genes_residual):
    model = make("ksfusion-focus", gate=gate, gene_queries=gene_queries, dense=dense, genes_residual=genes_residual)
    patches, genes = inputs
    if gate:
        for stream in model.streams.values():
            torch.nn.init.normal_(stream.attend.threshold)
    out = model(patches, genes)
    for niche, stream in model.streams.items():
        assert out.points[niche].shape == (2, HEADS, SIDE**2 if dense else 7**2, 2)
        for sample in range(2):
            patch = functional.relu(stream.project(patches[sample]))
            gene = functional.relu(stream.encode_genes(genes[niche][[sample]]))
            teacher = stream.teach(torch.cat([patch, gene.expand(len(patch), -1)], dim=1))
            guidance = gene @ stream.teach.weight[:, 128:].T + stream.teach.bias
            asking = stream.norm(guidance if gene_queries else teacher)
            attended, attention = written_out(
                stream.attend, teacher, stream.norm(patch), asking, out.points[niche][sample], gate=gate
            )
            residual = guidance if genes_residual else teacher
            z = stream.pool(stream.norm_out(residual + attended).mean(dim=0))
            torch.testing.assert_close(out.embeddings[niche][sample], z, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(out.attention[niche][sample], attention, rtol=1e-4, atol=1e-7)


def test_genes_ask_once():
    """One query a head: dense points cost as many products as there are patches, not their square."""
    model = make("ksfusion-focus")
    asked = []
    model.streams["tme"].attend.ask.register_forward_hook(lambda layer, given, out: asked.append(out.shape[1]))
    model(torch.randn(1, SIDE**2, 5), {niche: torch.randn(1, len(symbols)) for niche, symbols in NICHES.items()})
    assert asked == [1]
