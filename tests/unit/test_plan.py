"""What a plan trains, and what the settings of each stage hold."""

import json

import pytest

from ksfusion.config import parse_config
from ksfusion.core.study import Study
from ksfusion.plan import Plan

A_STUDY = Study(None, frozenset(["case1"]), (), batches=4)

COHORT = {
    "samples": "samples.tsv",
    "cases": "cases.tsv",
    "expression": [{"cohort": "A", "format": "matrix", "unit": "log", "path": "expression.tsv"}],
}


def plan_of(**blocks) -> Plan:
    return Plan(parse_config({"cohort": COHORT, **blocks}), tables=None, study=A_STUDY)


SWEEP = ["ksfusion-alpha000", "ksfusion-alpha025", "ksfusion-alpha050", "ksfusion-alpha075", "ksfusion-alpha100"]


@pytest.mark.parametrize(("alpha", "twin"), [(0.5, SWEEP[2]), (0, SWEEP[0]), (1.0, SWEEP[4]), (0.3, None)])
def test_the_sweep_trains_each_alpha_once(alpha, twin):
    plan = plan_of(methods=["snn", "ksfusion"], training={"alpha": alpha})
    assert plan.alphas == SWEEP
    assert plan.trained(plan.alphas) == ["ksfusion" if name == twin else name for name in SWEEP]


def test_a_variant_that_is_named_is_trained_unless_ksfusion_is_and_has_its_alpha():
    methods = ["ksfusion", "ksfusion-no-gecon", "ksfusion-no-cgcoord", "ksfusion-alpha050"]
    plan = plan_of(methods=[*methods, "ksfusion-alpha075", "snn"])
    assert plan.trained(plan.config.methods) == [*methods[:3], "ksfusion-alpha075", "snn"]
    assert plan.alphas == ["ksfusion", "ksfusion-alpha050", "ksfusion-alpha075"]
    alone = plan_of(methods=["snn", "ksfusion-alpha050"])
    assert alone.trained(alone.config.methods) == ["snn", "ksfusion-alpha050"]


def test_with_a_search_an_alpha_of_its_own_is_trained():
    """For ksfusion alpha is chosen then; for the variant it is not."""
    plan = plan_of(methods=["ksfusion", "ksfusion-alpha050"], training={"search": {"trials": 2}})
    assert plan.trained(plan.config.methods) == ["ksfusion", "ksfusion-alpha050"]
    assert "alpha" in json.loads(plan.search_settings("grading", "ksfusion"))["space"]
    assert "alpha" not in json.loads(plan.search_settings("grading", "ksfusion-alpha050"))["space"]
