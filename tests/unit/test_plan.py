"""What a plan trains, and what the settings of each stage hold."""

import json

import pytest

from ksfusion.core.errors import UserError
from ksfusion.core.study import Study
from ksfusion.plan import Plan
from ksfusion.preflight.packages import missing_packages
from ksfusion.preflight.parsing import parse_config

HUB = "huggingface_hub"
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


@pytest.mark.parametrize(
    ("blocks", "package", "stage", "key"),
    [
        ({}, "timm", "extract_features", "features.encoder: resnet50"),
        ({"genes": {"rank": "seurat"}}, "scanpy", "select_genes", "genes.rank: seurat"),
        ({"training": {"search": {"trials": 2}}}, "optuna", "search_settings", "training.search"),
        ({"training": {"tensorboard": True}}, "tensorboard", "train_model", "training.tensorboard: true"),
    ],
)
def test_a_package_is_looked_for_where_a_job_needs_it(blocks, package, stage, key, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    plan = plan_of(**blocks)
    monkeypatch.setattr("ksfusion.core.packages.find_spec", lambda name: None if name in (package, HUB) else object())
    with pytest.raises(UserError) as refused:
        plan.begin([stage])
    assert str(refused.value).startswith(f"{key}: needs the package {package}, which is not installed; install it")
    assert list(tmp_path.iterdir()) == []
    # Elsewhere are other packages; and a job that is not due needs none.
    assert missing_packages(plan.config, {"split_cases"}) == []
    assert missing_packages(plan_of(features={"encoder": "seeded-conv"}).config, {"extract_features"}) == []
