"""Which name is meant by a misspelt one."""

import pytest

from ksfusion.core.errors import UserError
from ksfusion.core.near_names import did_you_mean
from ksfusion.preflight.parsing import parse_config
from ksfusion.slides.encoders.names import check_encoder

SOURCE = {"cohort": "TCGA", "format": "matrix", "unit": "log", "path": "expression.tsv"}
COHORT = {"samples": "samples.tsv", "cases": "cases.tsv", "expression": [SOURCE]}


def test_the_nearest_name_or_none():
    assert did_you_mean("gradng", ["survival", "grading"]) == "; did you mean grading?"
    assert did_you_mean("xyz", ["survival", "grading"]) == ""


@pytest.mark.parametrize(
    ("key", "given", "meant"), [("methods", "ksfuson", "ksfusion"), ("tasks", "survval", "survival")]
)
def test_names_in_a_configuration(key, given, meant):
    with pytest.raises(UserError, match=rf"did you mean {meant}\?"):
        parse_config({"cohort": COHORT, key: [given]})


def test_an_encoder():
    with pytest.raises(UserError, match=r"unknown encoder 'resnet5'; known: .*; did you mean resnet50\?"):
        check_encoder("resnet5")
