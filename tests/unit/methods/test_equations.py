"""KS-Fusion by its equations alone, against the equations written out sample by sample and head by head."""

import math

import pytest
import torch
from torch.nn import functional

from ksfusion.methods import build
from ksfusion.methods.equations import plain_ge_con

pytestmark = pytest.mark.usefixtures("one_thread")

NICHES = {"tumour": ["A", "B", "C"], "tme": ["D", "E"]}
SIDE, HEADS = 6, 8


def written_out(stream, patches, genes):
    """Return z and the sampling points (heads, P, 2) of one sample, from equations 1 to 3."""
    gene = functional.relu(stream.encode_genes(genes[None]))[0]
    patch = functional.relu(stream.project(patches))
    x_pg = stream.teach(torch.cat([patch, gene.expand(len(patch), -1)], dim=1))
    attend, heads, moved = stream.attend, [], []
    for head in range(HEADS):
        channels = slice(head * 16, (head + 1) * 16)
        image = patch[:, channels].T.reshape(1, 16, SIDE, SIDE)
        gathered = functional.gelu(attend.gather(x_pg[:, channels].T.reshape(1, 16, SIDE, SIDE)))[0].flatten(1).T
        # Four cells of a grid of six points from -1 to 1.
        points = attend.reference + 4 * 2 / 5 * torch.tanh(gathered @ attend.to_offset.weight.T)
        sampled = functional.grid_sample(image, points[None, :, None], padding_mode="border", align_corners=True)
        sampled = sampled[0, :, :, 0].T
        q, k, v = x_pg[:, channels] @ attend.w_q[head], sampled @ attend.w_k[head], sampled @ attend.w_v[head]
        heads.append(torch.softmax(q @ k.T / math.sqrt(64), dim=1) @ v)
        moved.append(points)
    attended = attend.w_o(torch.cat(heads, dim=1))
    return stream.pool(stream.norm_out(attended).mean(dim=0)), torch.stack(moved)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build("ksfusion-equations", n_features=5, n_patches=SIDE**2, niches=NICHES, n_outputs=3).double().eval()


def test_streams_are_the_equations(model):
    patches = torch.randn(2, SIDE**2, 5, dtype=torch.double)
    genes = {niche: torch.randn(2, len(symbols), dtype=torch.double) for niche, symbols in NICHES.items()}
    out = model(patches, genes)
    for niche, stream in model.streams.items():
        for sample in range(2):
            z, points = written_out(stream, patches[sample], genes[niche][sample])
            # The shift is computed in single precision.
            torch.testing.assert_close(out.points[niche][sample], points, rtol=0, atol=1e-6)
            torch.testing.assert_close(out.embeddings[niche][sample], z, rtol=0, atol=1e-5)


def test_gram_matrices_are_not_scaled():
    """By hand: genes' [[1, 0], [0, 1]], points' [[2, 2], [2, 4]]; half the length of [[-1, -2], [-2, -3]]."""
    points = torch.tensor([[[[1.0, 1.0]]], [[[0.0, 2.0]]]])  # (B, groups, 1, 2)
    assert float(plain_ge_con(torch.eye(2), points)) == pytest.approx(math.sqrt(18) / 2)


def test_the_method_uses_that_loss(model):
    genes = {niche: torch.randn(3, len(symbols), dtype=torch.double) for niche, symbols in NICHES.items()}
    out = model(torch.randn(3, SIDE**2, 5, dtype=torch.double), genes)
    found = model.auxiliary_losses(out)["alignment_tumour"].value
    torch.testing.assert_close(found, plain_ge_con(out.gene_embeddings["tumour"].float(), out.points["tumour"]))
