"""Attention over patches."""

import pytest
import torch

from ksfusion.methods import build

NICHES = {"tumour": ["A"], "tme": ["B"]}
GENES = {"tumour": torch.zeros(1, 1), "tme": torch.zeros(1, 1)}


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread: small products are quicker so, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build("attmil", n_features=6, n_patches=20, niches=NICHES, n_outputs=2).eval()


def test_weights_sum_to_one_and_order_does_not_matter(model):
    patches = torch.randn(3, 20, 6)
    order = torch.randperm(20)
    out, mixed = model(patches, GENES), model(patches[:, order], GENES)
    torch.testing.assert_close(out.attention.sum(dim=1), torch.ones(3))
    torch.testing.assert_close(mixed.logits, out.logits)
    torch.testing.assert_close(mixed.attention, out.attention[:, order])


def test_genes_are_ignored(model):
    patches = torch.randn(1, 20, 6)
    other = {"tumour": torch.ones(1, 1), "tme": torch.ones(1, 1)}
    assert torch.equal(model(patches, GENES).logits, model(patches, other).logits)


def test_attention_finds_the_planted_patch(model):
    """Bags are positive where one patch has a high first feature: after training that patch has most of the weight."""
    random = torch.Generator().manual_seed(1)
    patches = 0.3 * torch.randn(64, 20, 6, generator=random)
    where = torch.randint(20, (64,), generator=random)
    positive = torch.arange(64) % 2
    patches[torch.arange(64), where, 0] += 3.0 * positive
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(patches, GENES).logits, positive)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    attention = model(patches, GENES).attention
    assert (attention.argmax(dim=1) == where)[positive == 1].float().mean() > 0.9
