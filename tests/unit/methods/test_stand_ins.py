"""What stands for a missing slide or missing genes: used where one is missing and nowhere else, and learned."""

import math

import pytest
import torch

from ksfusion.methods import METHODS, build
from ksfusion.methods.stand_ins import Present, StandIn

pytestmark = pytest.mark.usefixtures("one_thread")

NICHES = {"tumour": ["A", "B", "C"], "tme": ["D", "E", "F", "G"]}
PARTIAL = [name for name, info in METHODS.items() if info.partial and name == info.base]
# Of four samples the first has both, the second lacks genes, the third a slide, the fourth has both.
PATCHES, GENES, BOTH = [0, 1, 3], [0, 2, 3], [0, 3]
PRESENT = Present(4, *(torch.tensor(numbers) for numbers in (PATCHES, GENES, BOTH)))


def built(name: str, *, stand_ins: bool = True) -> torch.nn.Module:
    torch.manual_seed(0)
    sizes = {"n_features": 5, "n_patches": 16, "niches": NICHES, "n_outputs": 3}
    model = build(name, **sizes, dropout=0.0, **({"stand_ins": True} if stand_ins else {}))
    for part in model.modules():
        if isinstance(part, StandIn):
            torch.nn.init.normal_(part.vector)
    return model.eval()


@pytest.fixture
def samples() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    genes = {niche: torch.randn(4, len(symbols), generator=random) for niche, symbols in NICHES.items()}
    return torch.randn(4, 16, 5, generator=random), genes


def called(model, patches, genes, present=PRESENT):
    return model(patches[present.patches], {niche: row[present.genes] for niche, row in genes.items()}, present)


def test_methods_that_can_have_stand_ins():
    assert {"ksfusion", "concat", "add"} <= set(PARTIAL)
    assert not {"bilinear", "mcat", "cmta", "ksfusion-released", "snn", "attmil", "ksfusion-student"} & set(PARTIAL)
    assert all(METHODS[info.base].partial == info.partial for info in METHODS.values())


def test_a_vector_takes_the_place_of_what_is_missing_and_of_nothing_else():
    part = StandIn(2)
    torch.nn.init.constant_(part.vector, 7)
    found = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    expected = [[[7.0, 7.0], [7.0, 7.0]], [[1.0, 2.0], [3.0, 4.0]], [[7.0, 7.0], [7.0, 7.0]]]
    assert part(found, torch.tensor([1]), 3).tolist() == expected


@pytest.mark.parametrize("name", PARTIAL)
def test_a_sample_that_has_both_is_classified_as_without_stand_ins(name, samples):
    model = built(name)
    together, alone = called(model, *samples).logits, model(*samples).logits
    torch.testing.assert_close(together[BOTH], alone[BOTH], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together[[1, 2]], alone[[1, 2]], atol=1e-3)


@pytest.mark.parametrize("name", PARTIAL)
def test_what_a_sample_lacks_is_not_looked_at(name, samples):
    """Whatever stood in its place: no number of it reaches the model."""
    model, (patches, genes) = built(name), samples
    before = called(model, patches, genes).logits
    patches, genes = patches.clone(), {niche: row.clone() for niche, row in genes.items()}
    patches[2] = math.nan
    for row in genes.values():
        row[1] = math.nan
    assert torch.equal(called(model, patches, genes).logits, before)


def test_late_fusion_with_a_stand_in_is_the_classifier_on_it(samples):
    model, (patches, genes) = built("concat"), samples
    weight, bias = model.classifier.weight, model.classifier.bias
    slide = model.of_patches(patches[1:2])[0]
    without_genes = torch.cat([slide, model.no_profile.vector[None]], dim=1) @ weight.T + bias
    profile = model.of_genes({niche: row[2:3] for niche, row in genes.items()})
    without_slide = torch.cat([model.no_slide.vector[None], profile], dim=1) @ weight.T + bias
    out = called(model, patches, genes)
    torch.testing.assert_close(out.logits[1:3], torch.cat([without_genes, without_slide]))
    assert out.attention[2].isnan().all() and out.attention[BOTH].isfinite().all()


def test_ksfusion_without_a_slide_has_a_map_of_one_learned_patch(samples):
    """The same as with a slide whose patches all project to that."""
    model, (patches, genes) = built("ksfusion"), samples
    one = Present(1, torch.empty(0, dtype=torch.int64), torch.tensor([0]), torch.empty(0, dtype=torch.int64))
    alone = model(patches[:0], {niche: row[2:3] for niche, row in genes.items()}, one).logits
    for stream in model.streams.values():
        # relu(0 x + b) is the learned patch, where that has no negative component.
        with torch.no_grad():
            stream.no_patches.vector.abs_()
            stream.project.weight.zero_()
            stream.project.bias.copy_(stream.no_patches.vector)
    expected = model(patches[2:3], {niche: row[2:3] for niche, row in genes.items()}).logits
    found = model(patches[:0], {niche: row[2:3] for niche, row in genes.items()}, one).logits
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, alone)


@pytest.mark.parametrize("name", PARTIAL)
def test_gradients_reach_the_stand_ins_and_nothing_is_nan(name, samples):
    model = built(name).train()
    out = called(model, *samples)
    loss = out.logits.square().sum() + sum(part.value for part in model.auxiliary_losses(out).values())
    loss.backward()
    vectors = {key: value for key, value in model.named_parameters() if key.endswith(".vector")}
    assert len(vectors) == (4 if name.startswith("ksfusion") else 2)
    assert all(vector.grad.abs().sum() > 0 for vector in vectors.values())
    assert all(part.grad.isfinite().all() for part in model.parameters() if part.grad is not None)
    # Samples that have both teach them nothing.
    model.zero_grad(set_to_none=True)
    everyone = Present(4, *(torch.arange(4),) * 3)
    called(model, *samples, everyone).logits.square().sum().backward()
    assert all(not vector.grad.any() for vector in vectors.values())


def test_consistency_is_that_of_the_samples_with_both(samples):
    model, (patches, genes) = built("ksfusion"), samples
    of_both = model(patches[BOTH], {niche: row[BOTH] for niche, row in genes.items()})
    expected, found = model.auxiliary_losses(of_both), model.auxiliary_losses(called(model, *samples))
    assert found.keys() == expected.keys() == {"alignment_tumour", "alignment_tme"}
    for name, part in expected.items():
        torch.testing.assert_close(found[name].value, part.value, rtol=1e-4, atol=1e-6)
    none = Present(2, torch.tensor([0]), torch.tensor([1]), torch.empty(0, dtype=torch.int64))
    out = model(patches[1:2], {niche: row[2:3] for niche, row in genes.items()}, none)
    assert model.auxiliary_losses(out) == {} and out.logits.isfinite().all()


@pytest.mark.parametrize("name", PARTIAL)
def test_without_stand_ins_there_is_no_parameter_for_them_and_the_draw_is_the_same(name):
    with_them, without = built(name).state_dict(), built(name, stand_ins=False).state_dict()
    assert {key for key in with_them if key not in without} == {key for key in with_them if key.endswith(".vector")}
    assert all(torch.equal(with_them[key], value) for key, value in without.items())
