"""A step and a training, against the update written out from the paper's equations and torch's own optimisers."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_cohort import CLASSES, DIAGNOSIS, SETTINGS, Cohort, epochs

from ksfusion.methods import build
from ksfusion.methods.registry import NETWORKS
from ksfusion.training.data import FoldData, read_fold
from ksfusion.training.fit import fit
from ksfusion.training.fit_method import STRATEGIES, fit_method
from ksfusion.training.objective import Classification
from ksfusion.training.step import training_step

pytestmark = pytest.mark.usefixtures("one_thread")

NICHES = {"tumour": ["A", "B", "C"], "tme": ["D", "E", "F", "G"]}
Y = torch.tensor([0, 2, 1, 0, 2, 0])
CLASS_WEIGHTS, WEIGHTS = [0.5, 2.0, 1.5], torch.tensor([1.0, 0.5, 0.5, 1.0, 0.25, 1.0])
ALPHA, RATE = 0.3, 0.05
SEED = 2  # of weights whose streams' gradients conflict on the drawn cohort


def plain_cross_entropy(logits, y, class_weights, weights):
    """Mean of minus the log of the true class's probability, each sample counting as its weight and its class's."""
    total = share = 0
    for row, label, weight in zip(logits, y, weights, strict=True):
        total = total - weight * class_weights[label] * torch.log(torch.exp(row[label]) / torch.exp(row).sum())
        share = share + weight * class_weights[label]
    return total / share


def plain_consistency(genes, points):
    """Equation 4, one group and one pair of samples at a time."""
    n_samples, n_groups = points.shape[:2]
    total = 0
    for group in range(n_groups):
        square = 0
        for one in range(n_samples):
            for other in range(n_samples):
                of_genes = functional.cosine_similarity(genes[one], genes[other], dim=0)
                of_points = functional.cosine_similarity(*points[[one, other], group].flatten(1), dim=0)
                square = square + (of_genes - of_points) ** 2
        total = total + square.sqrt() / n_samples
    return total / n_groups


def plain_coordination(classifier, gradient, embeddings, y, *, by_row):
    """Equation 5 on the gradient of a classifier's weight; by row, as the released code has it."""
    halves, confidences = list(gradient.clone().chunk(2, dim=1)), []
    for z, weight in zip(embeddings.values(), classifier.weight.chunk(2, dim=1), strict=True):
        probabilities = torch.softmax(z @ weight.T + classifier.bias / 2, dim=1)
        confidences.append(sum(probabilities[sample, label].item() for sample, label in enumerate(y)))
    less, more = np.argsort(confidences)
    for row in range(len(gradient)) if by_row else [slice(None)]:
        own, other = halves[less][row], halves[more][row]
        projection = (own * other).sum() / (other * other).sum() * other
        if (own * other).sum() < 0:
            once, twice = own - projection, own - 2 * projection
            halves[less][row] = twice / twice.norm() * once.norm() if by_row else once
    return torch.cat(halves, dim=1)


def draw_samples() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    genes = {niche: torch.randn(len(Y), len(symbols), generator=random) for niche, symbols in NICHES.items()}
    return torch.randn(len(Y), 16, 5, generator=random), genes


def build_in_conflict() -> torch.nn.Module:
    """Build a model whose streams have large constant parts of opposite signs, so that their gradients conflict."""
    torch.manual_seed(0)
    sizes = {"n_features": 5, "n_patches": 16, "niches": NICHES, "n_outputs": len(CLASSES)}
    model = build("ksfusion", **sizes, alpha=ALPHA, dropout=0.0)
    for stream, part in zip(model.streams.values(), (0.5, -0.5), strict=True):
        torch.nn.init.constant_(stream.pool[-1].bias, part)
    torch.nn.init.normal_(model.classifier.bias)
    return model


@pytest.mark.parametrize("by_row", [False, True])
def test_a_step_follows_the_coordinated_gradient_of_the_papers_loss(by_row):
    model = build_in_conflict()
    patches, genes = draw_samples()
    plain = copy.deepcopy(model)

    objective = Classification(CLASSES, CLASS_WEIGHTS)
    step = torch.optim.SGD(model.parameters(), lr=RATE)
    strategy = STRATEGIES["released" if by_row else "paper"]
    record = training_step(model, step, patches, genes, {"y": Y}, WEIGHTS, objective=objective, strategy=strategy)

    out = plain(patches, genes)
    task = plain_cross_entropy(out.logits, Y, CLASS_WEIGHTS, WEIGHTS)
    of_tumour, of_tme = (plain_consistency(out.gene_embeddings[niche], out.points[niche]) for niche in NICHES)
    loss = task + ALPHA * of_tumour + (1 - ALPHA) * of_tme
    torch.testing.assert_close(record["train_loss"], loss.detach())
    names, parameters = zip(*plain.named_parameters(), strict=True)
    gradients = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    before = gradients["classifier.weight"]
    with torch.no_grad():
        after = plain_coordination(plain.classifier, before, out.embeddings, Y, by_row=by_row)
    assert (after - before).norm() > 0.1 * before.norm()
    gradients["classifier.weight"] = after
    expected = {name: parameter - RATE * gradients[name] for name, parameter in plain.named_parameters()}
    torch.testing.assert_close(dict(model.named_parameters()), expected, rtol=1e-4, atol=1e-6)


def read_drawn(cohort: Cohort, *, modalities: str) -> FoldData:
    return read_fold(cohort.files, task=DIAGNOSIS, fold=0, modalities=modalities)


def train_snn(data: FoldData, *, epochs: int, seed: int = 0, **settings) -> tuple:
    """Train without dropout; return the model before and after, and the genes of the tumour in each batch."""
    torch.manual_seed(0)
    sizes = {"n_features": data.n_features, "n_patches": data.n_patches, "niches": data.niches, "n_outputs": 3}
    model = build("snn", **sizes, dropout=0.0)
    before, batches = copy.deepcopy(model), []

    def note(module, given):
        if module.training:
            batches.append(given[1]["tumour"])

    model.register_forward_pre_hook(note)
    fit(
        model,
        data,
        Classification(CLASSES, CLASS_WEIGHTS),
        epochs=epochs,
        seed=seed,
        settings=SETTINGS.model_copy(update=settings),
        strategy=STRATEGIES["paper"],
        name="snn",
    )
    return before, model, batches


def positions_of(batch: torch.Tensor, data: FoldData) -> np.ndarray:
    """Find samples by their genes."""
    return (batch[:, None] == data.genes["tumour"]).all(dim=2).int().argmax(dim=1).numpy()


def test_a_training_is_adam_on_a_cosine(drawn):
    """Three epochs, against torch's optimiser and schedule on the batches that the training took."""
    data = read_drawn(drawn, modalities="g")
    settings = {"lr": 3e-3, "weight_decay": 0.1, "weight_by": "case"}
    plain, model, batches = train_snn(data, epochs=3, **settings)
    samples_of_case = data.samples["case_id"].value_counts()
    assert set(samples_of_case) == {1, 2}
    adam = torch.optim.Adam(plain.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=len(batches))
    for batch in batches:
        positions = positions_of(batch, data)
        samples = data.samples.iloc[positions]
        y = samples["y"].to_numpy(int)
        weights = 1 / samples_of_case[samples["case_id"]].to_numpy()
        genes = {niche: values[positions] for niche, values in data.genes.items()}
        adam.zero_grad()
        plain_cross_entropy(plain(None, genes).logits, y, CLASS_WEIGHTS, weights).backward()
        adam.step()
        schedule.step()
    for own, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-5)


def test_each_epoch_has_every_training_sample_once_and_an_order_of_its_own(drawn):
    data = read_drawn(drawn, modalities="g")
    in_training = np.flatnonzero((data.samples["split"] == "train") & data.samples["y"].notna())
    orders = []
    for seed in (0, 1):
        _, _, batches = train_snn(data, epochs=2, seed=seed)
        seen = positions_of(torch.cat(batches), data)
        orders += list(seen.reshape(2, -1))
    assert all(sorted(order) == in_training.tolist() for order in orders)
    assert len({tuple(order) for order in [*orders, in_training]}) == 5


def train_method(data: FoldData, method: str, **settings) -> torch.nn.Module:
    """Train for one step, on all samples."""
    torch.manual_seed(SEED)
    model, _, _ = fit_method(
        data,
        task=epochs(DIAGNOSIS, 1),
        method=method,
        seed=0,
        settings=SETTINGS.model_copy(update={"batch_size": len(data.samples), **settings}),
        device=torch.device("cpu"),
        name=method,
    )
    return model


@pytest.mark.parametrize("method", [name for name, info in NETWORKS.items() if name == info.base])
def test_dropout_is_that_of_the_settings(drawn, method):
    data = read_drawn(drawn, modalities=NETWORKS[method].modalities)
    patches, genes = data.gather(np.arange(4), torch.device("cpu"))
    for dropout in (0.0, 0.45):
        model = train_method(data, method, dropout=dropout)
        probabilities = {module.p for module in model.modules() if hasattr(module, "p")}
        assert max(probabilities) == dropout
        predicted, trained = (model.train(mode)(patches, genes).logits for mode in (False, True))
        assert torch.allclose(predicted, trained, rtol=1e-4, atol=1e-5) == (dropout == 0)


@pytest.mark.parametrize(
    ("method", "by_row"), [("ksfusion", False), ("ksfusion-released", True), ("ksfusion-no-cgcoord", None)]
)
def test_a_method_has_the_coordination_it_says(drawn, method, by_row):
    """The classifier's weight after one step of Adam on all training samples, each class counting the same."""
    data = read_drawn(drawn, modalities="pg")
    after = train_method(data, method, dropout=0.0)
    torch.manual_seed(SEED)
    sizes = {"n_features": data.n_features, "n_patches": data.n_patches, "niches": data.niches, "n_outputs": 3}
    plain = build(method, **sizes, dropout=0.0)
    positions = np.flatnonzero((data.samples["split"] == "train") & data.samples["y"].notna())
    y = data.samples["y"].iloc[positions].to_numpy(int)
    class_weights = len(y) / (3 * np.bincount(y))
    out = plain(*data.gather(positions, torch.device("cpu")))
    loss = plain_cross_entropy(out.logits, y, class_weights, np.ones(len(y)))
    (gradient,) = torch.autograd.grad(loss, [plain.classifier.weight])
    coordinated = gradient
    if by_row is not None:
        with torch.no_grad():
            coordinated = plain_coordination(plain.classifier, gradient, out.embeddings, y, by_row=by_row)
    steps = []
    for given in (gradient, coordinated):
        weight = plain.classifier.weight.detach().clone()
        weight.grad = given
        torch.optim.Adam([weight], lr=SETTINGS.lr, weight_decay=SETTINGS.weight_decay).step()
        steps.append(weight)
    without, expected = steps
    assert torch.allclose(without, expected, atol=1e-4) == (by_row is None)
    torch.testing.assert_close(after.classifier.weight, expected, rtol=1e-4, atol=1e-6)
