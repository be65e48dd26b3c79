"""Ge-Con, against hand-worked values and finite differences."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from ksfusion.methods.consistency import ge_con


def test_ge_con_by_hand():
    """Two samples, two groups. Genes at 60 degrees; points of group 1 at 90, of group 2 at 0 degrees."""
    genes = torch.tensor([[2.0, 0], [3 * math.cos(math.pi / 3), 3 * math.sin(math.pi / 3)]])
    points = torch.tensor([[[[0.5, 0.0]], [[0.1, 0.2]]], [[[0.0, -0.2]], [[0.3, 0.6]]]])  # (B 2, groups 2, 1, 2)
    # Off the diagonal: 0.5 - 0 and 0.5 - 1; each twice in the norm; halved for B; averaged over groups.
    assert ge_con(genes, points).item() == pytest.approx(math.sqrt(2) * 0.5 / 2)


def test_ge_con_is_zero_and_flat_where_the_similarities_agree():
    genes = torch.tensor([[1.0, 0], [0, 1.0], [1.0, 0]], requires_grad=True)
    points = torch.tensor([[1.0, 0], [0, 0.5], [0.25, 0]]).reshape(3, 1, 1, 2).repeat(1, 4, 1, 1).requires_grad_()
    loss = ge_con(genes, points)
    loss.backward()
    assert loss.item() == 0 and not genes.grad.any() and not points.grad.any()


def test_ge_con_of_one_sample_is_zero():
    torch.manual_seed(0)
    genes, points = torch.randn(1, 5, requires_grad=True), torch.randn(1, 2, 3, 2, requires_grad=True)
    loss = ge_con(genes, points)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert genes.grad.abs().max() < 1e-5 and points.grad.abs().max() < 1e-5


def test_ge_con_bears_a_row_of_zeros():
    genes = torch.tensor([[0.0, 0], [1.0, 0]], requires_grad=True)
    points = torch.tensor([[1.0, 0], [0, 1.0]]).reshape(2, 1, 1, 2).requires_grad_()
    ge_con(genes, points).backward()
    assert genes.grad.isfinite().all() and points.grad.isfinite().all()


def test_ge_con_gradient_by_finite_differences():
    torch.manual_seed(0)
    genes = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    points = torch.randn(4, 3, 5, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(ge_con, (genes, points))
