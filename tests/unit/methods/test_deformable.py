"""Deformable attention, against a plain cross-attention written with loops over heads."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from ksfusion.core.errors import UserError
from ksfusion.methods import build
from ksfusion.methods.deformable import CMDeform, drop, sample_bilinear

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {
    "width": 128,
    "heads": 8,
    "head_width": 64,
    "grid": 12,
    "offset_cells": 4.0,
    "dropout": 0.1,
}


def make_attention(side: int) -> CMDeform:
    torch.manual_seed(0)
    return CMDeform(side, **SIZES).eval()


def plain_cross_attention(attend: CMDeform, teacher, patches, points) -> torch.Tensor:
    """Equations 1 to 3, one sample and one head at a time, sampling by `grid_sample`."""
    n_samples, n_patches, width = teacher.shape
    side, group_width = int(n_patches**0.5), width // 8
    results = []
    for sample in range(n_samples):
        heads = []
        for head in range(8):
            channels = slice(head * group_width, (head + 1) * group_width)
            q = teacher[sample, :, channels] @ attend.w_q[head]
            image = patches[sample, :, channels].T.reshape(1, group_width, side, side)
            grid = points[sample, head][None, :, None]
            sampled = functional.grid_sample(image, grid, padding_mode="border", align_corners=True)[0, :, :, 0].T
            k, v = sampled @ attend.w_k[head], sampled @ attend.w_v[head]
            heads.append(torch.softmax(q @ k.T / 64**0.5, dim=1) @ v)
        results.append(attend.w_o(torch.cat(heads, dim=1)))
    return torch.stack(results)


def test_a_point_that_is_no_number_samples_none_and_leaves_the_others_alone():
    maps = torch.randn(2, 4, 4, 1, 3)
    points = torch.rand(1, 2, 5, 2) * 2 - 1
    wanted = sample_bilinear(maps, points)
    points[0, 1, 2, 0] = torch.nan
    sampled = sample_bilinear(maps, points)
    lost = torch.zeros(1, 2, 5, 3, dtype=torch.bool)
    lost[0, 1, 2] = True
    assert torch.equal(sampled.isnan(), lost) and torch.equal(sampled[~lost], wanted[~lost])
    # Infinitely far is beyond the border, whose value holds.
    points[0, 1, 2] = torch.tensor([-torch.inf, torch.inf])
    assert torch.equal(sample_bilinear(maps, points)[0, 1, 2], maps[1, 3, 0, 0])


def test_the_map_of_the_paper_has_the_convolution_of_the_paper():
    gather = make_attention(50).gather
    assert (gather.kernel_size, gather.stride, gather.padding) == ((6, 6), (4, 4), (1, 1))


@pytest.mark.parametrize(("side", "line"), [(50, 12), (100, 12), (52, 10), (25, 12), (16, 8), (12, 12), (4, 4), (2, 2)])
def test_reference_grid_is_uniform_from_corner_to_corner(side, line):
    grid = make_attention(side).reference.numpy()
    assert len(grid) == line**2
    assert grid[0].tolist() == [-1, -1] and grid[-1].tolist() == [1, 1]
    assert grid[line - 1].tolist() == [1, -1]  # along x first, as the map's rows
    np.testing.assert_allclose(np.diff(grid[:line, 0]), 2 / (line - 1), atol=1e-6)


def test_zero_offsets_are_plain_cross_attention_on_the_grid():
    attend = make_attention(12)
    torch.nn.init.zeros_(attend.to_offset.weight)
    teacher, patches = torch.randn(2, 144, 128), torch.randn(2, 144, 128)
    result, points, attention = attend(teacher, patches)
    assert torch.equal(points, attend.reference.expand(2, 8, 144, 2))
    torch.testing.assert_close(result, plain_cross_attention(attend, teacher, patches, points), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(2, 8))


def test_moved_points_are_plain_cross_attention_where_they_point():
    attend = make_attention(14)
    torch.nn.init.normal_(attend.to_offset.weight)
    teacher, patches = torch.randn(2, 196, 128), torch.randn(2, 196, 128)
    result, points, _ = attend(teacher, patches)
    assert points.abs().max() > 1  # some beyond the border
    torch.testing.assert_close(result, plain_cross_attention(attend, teacher, patches, points), rtol=1e-4, atol=1e-5)


def test_offsets_by_hand():
    """Offset of one group at one reference point: window of 6 x 6 queries from (4 i - 1, 4 j - 1), zeros outside."""
    attend = make_attention(50)
    teacher, patches = torch.randn(1, 2500, 128), torch.randn(1, 2500, 128)
    _, points, _ = attend(teacher, patches)
    group, row, column = 5, 0, 11
    q = (teacher[0, :, 80:96] @ attend.w_q[group]).reshape(50, 50, 64)
    total = attend.gather.bias.clone()
    for dy in range(6):
        for dx in range(6):
            y, x = 4 * row - 1 + dy, 4 * column - 1 + dx
            if 0 <= y < 50 and 0 <= x < 50:
                total = total + attend.gather.weight[:, 0, dy, dx] * q[y, x]
    cell = 2 / (12 - 1)
    expected = 4 * cell * torch.tanh(attend.to_offset.weight @ functional.gelu(total))
    shift = points[0, group, row * 12 + column] - torch.tensor([1.0, -1.0])
    torch.testing.assert_close(shift, expected, rtol=1e-4, atol=1e-5)


def test_offsets_stay_within_four_cells_of_the_grid():
    attend = make_attention(50)
    torch.nn.init.normal_(attend.to_offset.weight, std=100)
    _, points, _ = attend(torch.randn(1, 2500, 128), torch.randn(1, 2500, 128))
    shift = (points - attend.reference).abs().max().item()
    assert shift == pytest.approx(4 * 2 / 11, rel=1e-3)


def test_bilinear_sampling_at_a_known_fraction():
    maps = torch.tensor([[0.0, 1, 2], [10, 11, 12], [20, 21, 22]]).reshape(1, 3, 3, 1, 1)
    # 0.25 of a step right of the map's second column, 0.5 of a step below its first row.
    points = torch.tensor([[0.25, -0.5], [-1, -1], [1, 1], [1, -1], [5, -9]]).reshape(1, 1, 5, 2)
    assert sample_bilinear(maps, points).flatten().tolist() == [6.25, 0, 22, 2, 2]


def test_bilinear_sampling_and_its_gradients_are_those_of_grid_sample():
    random = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 7, 7, 2, 4, generator=random, dtype=torch.float64, requires_grad=True)
    points = 1.2 * (2 * torch.rand(2, 3, 20, 2, generator=random, dtype=torch.float64) - 1)
    points.requires_grad_()
    ours = sample_bilinear(maps, points)  # (groups, B, P, C)
    images = maps.permute(3, 0, 4, 1, 2).flatten(0, 1)
    theirs = functional.grid_sample(images, points.flatten(0, 1)[:, :, None], padding_mode="border", align_corners=True)
    theirs = theirs[..., 0].mT.unflatten(0, (2, 3))
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(ours.shape, generator=random, dtype=torch.float64)
    for ours_grad, theirs_grad in zip(
        torch.autograd.grad((ours * weight).sum(), [maps, points]),
        torch.autograd.grad((theirs * weight).sum(), [maps, points]),
        strict=True,
    ):
        torch.testing.assert_close(ours_grad, theirs_grad)


def test_dropped_share():
    torch.manual_seed(0)
    weights = torch.ones(1000, 1000)
    assert (drop(weights, 0.1) == 0).float().mean().item() == pytest.approx(0.1, abs=0.001)
    assert torch.equal(drop(weights, 0.0), weights)


def test_dropout_keeps_the_mean():
    attend = make_attention(12)
    teacher, patches = torch.randn(1, 144, 128), torch.randn(1, 144, 128)
    expected = attend(teacher, patches)[0]
    attend.train()
    with torch.no_grad():
        mean = torch.stack([attend(teacher, patches)[0] for _ in range(300)]).mean(dim=0)
    assert (mean - expected).std() < 0.1 * expected.std()


def test_points_and_attention_find_the_planted_patch():
    """One patch of a map is marked; its second feature, drawn anew for each patch, is to be read from the attention.

    Without knowledge of the mark, points and attention have a share of 1/16 on that patch.
    """
    torch.manual_seed(0)
    attend = CMDeform(4, **{**SIZES, "width": 16, "heads": 1, "head_width": 16, "dropout": 0.0})
    read = torch.nn.Linear(16, 1)
    random = torch.Generator().manual_seed(1)

    def draw_maps(n: int):
        patches, marked = 0.3 * torch.randn(n, 16, 16, generator=random), torch.randint(16, (n,), generator=random)
        patches[..., 1] = torch.randn(n, 16, generator=random)
        patches[torch.arange(n), marked, 0] += 3
        return patches, marked, patches[torch.arange(n), marked, 1]

    optimiser = torch.optim.Adam([*attend.parameters(), *read.parameters()], lr=1e-2)
    for _ in range(300):
        patches, _, value = draw_maps(64)
        attended, _, _ = attend(patches, patches)
        loss = functional.mse_loss(read(attended.mean(dim=1)).squeeze(1), value)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    patches, marked, _ = draw_maps(500)
    with torch.inference_mode():
        _, points, attention = attend.eval()(patches, patches)
    place = torch.stack([marked % 4, marked // 4], dim=1) * 2 / 3 - 1  # (x, y) with the map's corners at -1 and 1
    away = (points[:, 0] - place[:, None]).abs() * 3 / 2  # (n, P, 2), in patches
    on_patch = (1 - away).clamp(min=0).prod(dim=2)  # (n, P), its share in what a point samples
    of_points, of_attention = on_patch.mean(), (on_patch * attention[:, 0]).sum(dim=1).mean()
    assert of_points > 2 / 16
    assert of_attention > 4 / 16 and of_attention > 1.25 * of_points


@pytest.mark.parametrize(("n_patches", "problem"), [(1, "4 or more"), (140, "square")])
def test_maps_that_do_not_fit(n_patches, problem):
    with pytest.raises(UserError, match=problem):
        build("ksfusion", n_features=4, n_patches=n_patches, niches={"tumour": ["A"], "tme": ["B"]}, n_outputs=2)


def test_teacher_is_the_layer_on_patch_and_gene():
    """The whole stream, against its written definition with the gene embedding repeated over the patches."""
    torch.manual_seed(0)
    niches = {"tumour": ["A", "B", "C"], "tme": ["D", "E"]}
    model = build("ksfusion", n_features=10, n_patches=144, niches=niches, n_outputs=3).eval()
    patches, genes = torch.randn(2, 144, 10), {"tumour": torch.randn(2, 3), "tme": torch.randn(2, 2)}
    out = model(patches, genes)
    expected = []
    for niche, stream in model.streams.items():
        gene = torch.relu(stream.encode_genes(genes[niche]))
        patch = torch.relu(stream.project(patches))
        teacher = stream.teach(torch.cat([patch, gene[:, None].expand(2, 144, 128)], dim=2))
        attended = plain_cross_attention(stream.attend, stream.norm(teacher), stream.norm(patch), out.points[niche])
        expected.append(stream.pool(stream.norm_out(teacher + attended).mean(dim=1)))
        torch.testing.assert_close(out.embeddings[niche], expected[-1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.logits, model.classifier(torch.cat(expected, dim=1)), rtol=1e-4, atol=1e-5)
