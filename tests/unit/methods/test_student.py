"""The student: an attention and an embedding for each niche, from patches alone."""

import numpy as np
import pytest
import torch

from ksfusion.methods import build
from ksfusion.results.attention.maps import attention_maps

pytestmark = pytest.mark.usefixtures("one_thread")

NICHES = {"tumour": ["A", "B"], "tme": ["C"]}


@pytest.fixture
def student() -> torch.nn.Module:
    torch.manual_seed(0)
    return build("ksfusion-student", n_features=5, n_patches=9, niches=NICHES, n_outputs=3).eval()


def test_each_niche_weighs_the_patches_and_the_classifier_reads_both_embeddings(student):
    patches = torch.randn(4, 9, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out = student(patches, {})
        embedded = torch.relu(patches @ student.embed[0].weight.T + student.embed[0].bias)
        for niche in NICHES:
            weights = out.attention[niche]
            torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
            mean = (weights[..., None] * embedded).sum(dim=1)
            expected = mean @ student.project[niche].weight.T + student.project[niche].bias
            torch.testing.assert_close(out.embeddings[niche], expected)
        both = torch.cat([out.embeddings["tumour"], out.embeddings["tme"]], dim=1)
        torch.testing.assert_close(out.logits, student.classifier(both))
    assert out.embeddings["tumour"].shape == (4, 128)


def test_pictures_of_attention_have_both_niches(student):
    with torch.no_grad():
        maps = attention_maps(student, student(torch.randn(2, 9, 5), {}))
    assert list(maps) == ["tumour", "tme"]
    for cells in maps.values():
        assert cells.shape == (2, 9) and cells.dtype == np.float64
        np.testing.assert_allclose(cells.sum(axis=1), 1, rtol=1e-6)
