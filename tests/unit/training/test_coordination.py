"""Coordination of gradients, on vectors worked out by hand; ranking measures, against their packages."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sksurv.metrics import concordance_index_censored
from torch import nn

from ksfusion.training.concordance import concordance_index, macro_auc
from ksfusion.training.coordination import (
    class_confidence,
    coordinate,
    coordinate_classifier,
    survival_confidence,
)
from ksfusion.training.released import coordinate_rows

A, B = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])  # at 135 degrees
NAN = math.nan


def run(first, second, first_confidence, second_confidence):
    return coordinate(
        first,
        second,
        first_confidence=torch.tensor(first_confidence),
        second_confidence=torch.tensor(second_confidence),
    )


def of_class(logits, truth):
    return class_confidence(logits, truth["y"])


def of_survival(logits, truth):
    return survival_confidence(logits, truth["days"], truth["event"])


def test_the_less_confident_half_is_projected():
    first, second, record = run(A, B, 0.2, 0.9)
    # A - (A.B / |B|^2) B = (1, 0) + (-1, 1) / 2
    assert first.tolist() == [0.5, 0.5] and torch.equal(second, B)
    assert (first @ second).item() == 0
    assert record.cosine.item() == pytest.approx(-math.sqrt(0.5)) and record.conflict == 1 and record.projected == 1
    first, second, _ = run(A, B, 0.9, 0.2)
    # B - (A.B / |A|^2) A = (-1, 1) + (1, 0)
    assert torch.equal(first, A) and second.tolist() == [0, 1]


@pytest.mark.parametrize("confidences", [(0.5, 0.5), (NAN, 0.5), (0.5, NAN), (NAN, NAN)])
def test_ties_and_undefined_confidences_change_nothing(confidences):
    first, second, record = run(A, B, *confidences)
    assert torch.equal(first, A) and torch.equal(second, B)
    assert record.conflict == 1 and record.projected == 0


@pytest.mark.parametrize("other", [torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0]), torch.zeros(2)])
def test_without_a_conflict_nothing_changes(other):
    first, second, record = run(A, other, 0.1, 0.9)
    assert torch.equal(first, A) and torch.equal(second, other)
    assert record.conflict == 0 and record.projected == 0 and record.cosine.isfinite()


def test_halves_are_taken_as_one_vector():
    """By class row there is a conflict in the first row only; as one vector there is none."""
    first, second = torch.tensor([[1.0, 0], [3.0, 0]]), torch.tensor([[-1.0, 0], [1.0, 0]])
    new_first, new_second, record = run(first, second, 0.1, 0.9)
    assert torch.equal(new_first, first) and torch.equal(new_second, second) and record.conflict == 0


def test_by_rows_only_the_row_in_conflict_changes():
    """First row: A and B at 135 degrees. A mirrored at B's perpendicular is (0, 1); projected once it is (1/2, 1/2)."""
    first, second = torch.stack([A, B]), torch.stack([B, B])
    confidence = {"first_confidence": torch.tensor(0.2), "second_confidence": torch.tensor(0.9)}
    new_first, new_second, record = coordinate_rows(first, second, **confidence)
    torch.testing.assert_close(new_first, torch.tensor([[0.0, math.sqrt(0.5)], [-1.0, 1.0]]))
    assert torch.equal(new_second, second)
    # Cosines of the rows are -sqrt(1/2) and 1.
    torch.testing.assert_close(torch.stack(record), torch.tensor([(1 - math.sqrt(0.5)) / 2, 0.5, 0.5]))
    confidence = {"first_confidence": torch.tensor(0.9), "second_confidence": torch.tensor(0.2)}
    new_first, new_second, _ = coordinate_rows(first, second, **confidence)
    # B mirrored at A's perpendicular is (1, 1); projected once it is (0, 1).
    assert torch.equal(new_first, first)
    torch.testing.assert_close(new_second, torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)], [-1.0, 1.0]]))


@pytest.mark.parametrize("confidence", [0.5, NAN])
def test_by_rows_ties_and_rows_of_zeros_change_nothing(confidence):
    first, second = torch.stack([A, A]), torch.stack([B, torch.zeros(2)])
    equal = torch.tensor(confidence)
    new_first, new_second, record = coordinate_rows(first, second, first_confidence=equal, second_confidence=equal)
    assert torch.equal(new_first, first) and torch.equal(new_second, second)
    assert record.conflict == 0.5 and record.projected == 0 and record.cosine.isfinite()


def test_confidence_by_hand():
    logits = torch.log(torch.tensor([[0.2, 0.8], [0.5, 0.5]]))
    assert class_confidence(logits, torch.tensor([1, 0])).item() == pytest.approx(1.3)


def test_classifier_gradient_is_changed_in_the_right_half():
    """One sample of class 0, two classes. The first stream is sure of it, so the second gives way."""
    classifier = nn.Linear(2, 2)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
        classifier.bias.copy_(torch.tensor([2.0, 0.0]))
    classifier.weight.grad = torch.tensor([[1.0, -1.0], [0.0, 1.0]])
    classifier.bias.grad = torch.tensor([5.0, 6.0])
    embeddings = {"tumour": torch.tensor([[1.0]]), "tme": torch.tensor([[1.0]])}
    record = coordinate_classifier(classifier, embeddings, {"y": torch.tensor([0])}, confidence=of_class)
    # Halves are (1, 0) and (-1, 1): the second becomes (0, 1).
    assert classifier.weight.grad.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert classifier.bias.grad.tolist() == [5.0, 6.0]
    assert record.projected == 1


@pytest.mark.parametrize(("bias", "gives"), [(0.0, 0), (-0.2, 0), (-0.4, 1), (0.4, 0)])
def test_the_bias_is_shared_by_halves_in_the_confidence(bias, gives):
    """Samples of classes 0 and 1, whose true class leads by 2.6 and 0 in the first stream, by 1 and 1 in the second.

    With b the bias of class 0, h its half and s the sigmoid, they are s(2.6 + h) + s(-h) and s(1 + h) + s(1 - h) sure:
    1.431 and 1.462 at b = 0, 1.449 and 1.461 at b = -0.2, 1.467 and 1.458 at b = -0.4, 1.393 and 1.458 at b = 0.4.
    """
    classifier = nn.Linear(2, 2)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
        classifier.bias.copy_(torch.tensor([bias, 0.0]))
    gradient = torch.tensor([[1.0, -1.0], [0.0, 1.0]])
    classifier.weight.grad = gradient.clone()
    embeddings = {"tumour": torch.tensor([[2.6], [0.0]]), "tme": torch.tensor([[1.0], [-1.0]])}
    coordinate_classifier(classifier, embeddings, {"y": torch.tensor([0, 1])}, confidence=of_class)
    changed = (classifier.weight.grad != gradient).any(dim=0)
    assert changed.tolist() == [gives == 0, gives == 1]


def test_survival_without_a_comparable_pair_changes_nothing():
    torch.manual_seed(0)
    classifier = nn.Linear(4, 4)
    classifier.weight.grad = torch.cat([torch.ones(4, 2), -torch.ones(4, 2)], dim=1)
    before = classifier.weight.grad.clone()
    embeddings = {"tumour": torch.randn(3, 2), "tme": torch.randn(3, 2)}
    truth = {"days": torch.tensor([5.0, 6.0, 7.0]), "event": torch.zeros(3)}
    record = coordinate_classifier(classifier, embeddings, truth, confidence=of_survival)
    assert torch.equal(classifier.weight.grad, before) and record.conflict == 1 and record.projected == 0


def test_survival_projects_the_stream_that_ranks_worse():
    classifier = nn.Linear(2, 4)
    with torch.no_grad():
        classifier.weight.fill_(1.0)
        classifier.bias.zero_()
    classifier.weight.grad = torch.tensor([[1.0, -1.0], [0.0, 1.0], [0, 0], [0, 0]])
    # Higher hazards die earlier: the first stream ranks all pairs wrongly, the second rightly.
    embeddings = {"tumour": torch.tensor([[-1.0], [0.0], [1.0]]), "tme": torch.tensor([[1.0], [0.0], [-1.0]])}
    truth = {"days": torch.tensor([1.0, 2.0, 3.0]), "event": torch.ones(3)}
    coordinate_classifier(classifier, embeddings, truth, confidence=of_survival)
    assert classifier.weight.grad[:2].tolist() == [[0.5, -1.0], [0.5, 1.0]]


def test_survival_confidence_is_the_c_index():
    logits = torch.tensor([[2.0] * 4, [1.0] * 4, [3.0] * 4])
    # Deaths at 1, 2, 3 with risks 2nd, 3rd, 1st: of the pairs (1,2), (1,3), (2,3) only the first is in order.
    confidence = survival_confidence(logits, torch.tensor([1.0, 2.0, 3.0]), torch.ones(3))
    assert confidence.item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_c_index_is_that_of_scikit_survival(seed):
    random = np.random.default_rng(seed)
    days, risk = random.integers(1, 15, size=40).astype(float), random.integers(0, 12, size=40).astype(float)
    event = random.random(40) < 0.6
    ours = concordance_index(torch.from_numpy(days), torch.from_numpy(event).float(), torch.from_numpy(risk))
    assert ours.item() == pytest.approx(concordance_index_censored(event, days, risk)[0])


def test_c_index_is_undefined_without_a_pair():
    days = torch.tensor([1.0, 2.0])
    assert concordance_index(days, torch.tensor([0.0, 1.0]), days).isnan()


def test_macro_auc_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    y, probabilities = random.integers(0, 4, size=50), random.integers(1, 6, size=(50, 4)).astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert macro_auc(y, probabilities) == pytest.approx(roc_auc_score(y, probabilities, multi_class="ovr"))


def test_macro_auc_is_undefined_without_a_class():
    assert math.isnan(macro_auc(np.array([0, 1]), np.full((2, 3), 1 / 3)))


def test_whether_halves_conflict_is_a_matter_of_signs():
    """Turning a stream's embedding and its half around leaves the model as it is, and the cosine negated.

    Both starts are equally likely, so that no data make the halves conflict, or agree, more often than not.
    """
    torch.manual_seed(0)
    first, second = torch.randn(8, 4), torch.randn(8, 4)
    truth = {"y": torch.arange(8) % 3}
    classifier = nn.Linear(8, 3)
    turned = nn.Linear(8, 3)
    turned.load_state_dict(classifier.state_dict())
    with torch.no_grad():
        turned.weight[:, 4:].neg_()
    cosines, logits = [], []
    for layer, other in ((classifier, second), (turned, -second)):
        logits.append(layer(torch.cat([first, other], dim=1)))
        nn.functional.cross_entropy(logits[-1], truth["y"]).backward()
        embeddings = {"tumour": first, "tme": other}
        cosines.append(coordinate_classifier(layer, embeddings, truth, confidence=of_class).cosine)
    torch.testing.assert_close(logits[0], logits[1])
    assert abs(cosines[0]) > 0.01
    torch.testing.assert_close(cosines[0], -cosines[1])
