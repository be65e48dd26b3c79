"""With what methods are compared, and what is refused."""

import json

import pytest

from ksfusion.cohort.samples import CohortTables
from ksfusion.core.errors import UserError
from ksfusion.core.study import Study
from ksfusion.plan import Plan
from ksfusion.preflight.parsing import parse_config

COHORT = {
    "samples": "samples.tsv",
    "cases": "cases.tsv",
    "expression": [{"cohort": "A", "format": "matrix", "unit": "log", "path": "expression.tsv"}],
}


def plan_of(**blocks) -> Plan:
    study = Study(None, frozenset(["case1"]), (), batches=4)
    return Plan(parse_config({"cohort": COHORT, **blocks}), tables=CohortTables([], [], ()), study=study)


def test_each_stage_that_shows_a_comparison_is_told_how_it_is_made():
    plan = plan_of()
    for stage in ("make_comparisons", "make_tables", "draw_figures", "write_report"):
        settings = json.loads(plan.settings(stage))
        assert (settings["reference"], settings["correction"], settings["resamples"]) == ("ksfusion", "holm", 2000), (
            stage
        )
    own = plan_of(results={"reference": "snn", "correction": "bh", "resamples": 10_000})
    settings = json.loads(own.settings("make_comparisons"))
    assert (settings["reference"], settings["correction"], settings["resamples"]) == ("snn", "bh", 10_000)
    # Draws are of every interval.
    for stage in ("make_alpha_table", "draw_alpha", "score_oracles"):
        assert json.loads(own.settings(stage))["resamples"] == 10_000


def test_times_are_of_all_that_looks_at_survival_then():
    plan = plan_of(results={"times": [100, 200]})
    for stage in ("make_comparisons", "make_tables", "draw_figures", "write_report"):
        assert json.loads(plan.settings(stage))["times"] == [100, 200], stage


def test_a_variant_that_is_the_reference_is_known_as_that():
    plan = plan_of(methods=["snn", "ksfusion", "ksfusion-alpha050"])
    settings = json.loads(plan.settings("make_comparisons"))
    assert settings["methods"] == ["snn", "ksfusion", "ksfusion-alpha050"]
    assert settings["shared"] == {"ksfusion-alpha050": "ksfusion"}


def test_titles_change_no_comparison():
    assert plan_of().settings("make_comparisons") == plan_of(title="Our study").settings("make_comparisons")


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ({"reference": "ks-fusion"}, "results.reference: unknown method 'ks-fusion'; known: "),
        ({"reference": "transmil"}, "results.reference: transmil is not one of methods; add it there"),
        ({"correction": "bonferroni"}, "results.correction: "),
        ({"resamples": 50}, "results.resamples: "),
        ({"resamples": "many"}, "results.resamples: "),
    ],
)
def test_mistakes_are_told(results, said):
    with pytest.raises(UserError, match=said.partition(";")[0]):
        plan_of(methods=["snn", "ksfusion"], results=results)


def test_without_the_reference_a_warning_says_that_nothing_is_compared():
    said = "results.reference: ksfusion is not one of methods, so that nothing is compared; name one of them"
    assert plan_of(methods=["snn", "attmil"])._reference_warnings() == [said]
    assert plan_of(methods=["snn"])._reference_warnings() == plan_of()._reference_warnings() == []
