"""A method to begin with, and the test beside it: what `ksfusion new method` writes."""

from __future__ import annotations

import re
from string import Template

_METHOD = Template('''"""$label: the mean of the patches, weighted by a score for each, beside the genes."""

import torch
from torch import nn

from ksfusion.methods.output import Method, MethodOutput
from ksfusion.methods.registry import register


@register("$name", label="$label", modalities="pg")
class $class_name(Method):
    """What it does, and the paper it is from."""

    def __init__(self, inputs, dropout=0.1):
        super().__init__()
        n_genes = sum(len(symbols) for symbols in inputs.niches.values())
        self.embed = nn.Sequential(nn.Linear(inputs.n_features, 128), nn.ReLU(), nn.Dropout(dropout))
        self.score = nn.Linear(128, 1)
        self.classifier = nn.Linear(128 + n_genes, inputs.n_outputs)

    def forward(self, patches, genes):
        """Classify samples from their patches (B, N, n_features) and the genes of each niche, (B, genes)."""
        embedded = self.embed(patches)  # (B, N, 128)
        attention = self.score(embedded).softmax(dim=1)  # (B, N, 1)
        slide = (attention * embedded).sum(dim=1)  # (B, 128)
        logits = self.classifier(torch.cat([slide, *genes.values()], dim=1))
        return MethodOutput(logits, attention=attention.squeeze(2))
''')

_TEST = Template('''"""What $name must keep to, whatever it computes."""

from pathlib import Path

import pytest
import torch

from ksfusion.methods import METHODS, use_methods
from ksfusion.methods.trial import OUTPUTS, PATCHES, SAMPLES, attention_shapes, built, output_of, without_gradient

NAME = "$name"


@pytest.fixture(autouse=True)
def _known():
    use_methods([Path(__file__).with_name("$file")])
    yield
    use_methods()


@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_kind_of_task_gets_its_outputs(kind):
    if not METHODS[NAME].serves(kind):
        pytest.skip("it is for other tasks")
    out = output_of(built(NAME, OUTPUTS[kind]), NAME, OUTPUTS[kind])
    assert out.logits.shape == (SAMPLES, OUTPUTS[kind]) and out.logits.isfinite().all()


def test_weights_of_patches_are_one_for_each():
    out = output_of(built(NAME).eval(), NAME, OUTPUTS["classification"])
    assert set(attention_shapes(out).values()) <= {(SAMPLES, PATCHES)}


def test_every_weight_gets_a_gradient():
    assert without_gradient(NAME) == []


def test_equal_seeds_give_equal_outputs():
    first, second = (output_of(built(NAME).eval(), NAME, OUTPUTS["classification"]).logits for _ in range(2))
    assert torch.equal(first, second)


def test_settings_may_be_missing():
    built(NAME)
    built(NAME, dropout=0.5)
''')


def class_name_of(name: str) -> str:
    """Return a name of a class for that of a method: ``MyMil`` for ``my_mil``."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    joined = "".join(word[0].upper() + word[1:] for word in words)
    return joined if joined[:1].isalpha() else f"Method{joined}"


def method_text(name: str) -> str:
    """Return the text of a file with a method of a name."""
    return _METHOD.substitute(name=name, label=name, class_name=class_name_of(name))


def text_of_test(name: str) -> str:
    """Return the text of the test beside the file ``{name}.py``."""
    return _TEST.substitute(name=name, file=f"{name}.py")
