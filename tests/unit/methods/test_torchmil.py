"""Networks of torchmil: as the package computes them, with an output for each class."""

import sys

import numpy as np
import pytest
import torch
from torchmil import models

from ksfusion.core.errors import UserError
from ksfusion.methods import METHODS, build
from ksfusion.methods.torchmil import map_graph
from ksfusion.preflight.packages import missing_packages
from ksfusion.preflight.parsing import parse_config

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [name for name in METHODS if name.startswith("torchmil:")]
WITH_WEIGHTS = [name for name in NAMES if name != "torchmil:DTFDMIL"]
NICHES = {"tumour": ["A"], "tme": ["B"]}


def make(name: str, n_outputs: int = 3):
    torch.manual_seed(0)
    return build(name, n_features=6, n_patches=16, niches=NICHES, n_outputs=n_outputs, dropout=0.0)


@pytest.fixture(scope="module")
def patches():
    return torch.randn(2, 16, 6, generator=torch.Generator().manual_seed(1))


def test_the_names_are_those_of_the_package():
    wanted = {"ABMIL", "CLAM_SB", "DSMIL", "DTFDMIL", "PatchGCN", "DeepGraphSurv", "TransMIL", "TransformerABMIL"}
    assert {name.removeprefix("torchmil:") for name in NAMES} == wanted
    assert all(hasattr(models, name.removeprefix("torchmil:")) for name in NAMES)


@pytest.mark.parametrize("n_outputs", [1, 2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_outputs_each_trained(name, n_outputs, patches):
    model = make(name, n_outputs)
    out = model(patches, {})
    assert out.logits.shape == (2, n_outputs)
    out.logits.square().sum().backward()
    idle = [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A layer of torchmil's that it does not use where TransMIL has no feed-forward part.
    assert [key for key in idle if "norm2" not in key] == []


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_weights_are_of_the_patches(name, patches):
    attention = make(name).eval()(patches, {}).attention
    assert attention.shape == (2, 16) and (attention >= 0).all()
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("name", ["torchmil:ABMIL", "torchmil:CLAM_SB", "torchmil:TransformerABMIL"])
def test_one_output_is_that_of_the_package(name, patches):
    """The package's own network, with the weights of ours."""
    model = make(name, 1).eval()
    embed = torch.nn.Sequential(torch.nn.Linear(6, 512), torch.nn.ReLU(), torch.nn.Dropout(0.0))
    options = {"gated": True} if name == "torchmil:CLAM_SB" else {}
    theirs = getattr(models, name.removeprefix("torchmil:"))(in_shape=(6,), feat_ext=embed, **options)
    ours = {
        key.replace("classifier.", "classifier.module."): value for key, value in model.network.state_dict().items()
    }
    known = theirs.state_dict()
    theirs.load_state_dict({key: ours.get(key, ours.get(key.replace(".module.", "."), known[key])) for key in known})
    torch.testing.assert_close(theirs.eval()(patches), model(patches, {}).logits[:, 0])


def test_the_graph_has_an_edge_between_neighbours():
    """A map of 3 x 3: a corner has 3 neighbours, the middle of a side 5, the centre 8."""
    (graph,) = map_graph(9)
    assert (graph > 0).sum(dim=1).tolist() == [3, 5, 3, 5, 8, 5, 3, 5, 3]
    assert graph[0, 4].item() == pytest.approx(1 / np.sqrt(3 * 8)) and graph[0, 2] == 0 and graph[2, 3] == 0
    assert torch.equal(graph, graph.T) and not graph.diagonal().any()
    assert map_graph(1).tolist() == [[[0.0]]]


@pytest.mark.parametrize("name", ["torchmil:PatchGCN", "torchmil:DeepGraphSurv"])
def test_what_is_a_neighbour_matters_to_graphs(name, patches):
    model, order = make(name).eval(), torch.randperm(16, generator=torch.Generator().manual_seed(2))
    assert (model(patches[:, order], {}).logits - model(patches, {}).logits).abs().max() > 1e-4


def test_patches_are_dealt_to_groups_by_the_seed_and_leave_numpy_alone(patches):
    model = make("torchmil:DTFDMIL").train()
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(model(patches, {}).logits)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    model.eval()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert torch.equal(model(patches, {}).logits, model(patches, {}).logits)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_the_package_a_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmil", None)
    with pytest.raises(UserError, match=r"method torchmil:DSMIL: needs the package torchmil, .*pip install torchmil"):
        make("torchmil:DSMIL")
    expression = [{"cohort": "a", "format": "matrix", "unit": "log", "path": "m.tsv"}]
    values = {"cohort": {"samples": "s.tsv", "cases": "c.tsv", "expression": expression}}
    config = parse_config({**values, "methods": ["snn", "torchmil:DSMIL"]})
    monkeypatch.setattr("ksfusion.core.packages.find_spec", lambda module: None)
    (line,) = missing_packages(config, {"train_model"})
    assert line.startswith("methods: torchmil:DSMIL: needs the package torchmil, which is not installed")
