"""Table S1, subgroups and figures within cohorts on the report: held against tables written by hand."""

import html
import re

import pandas as pd
import pytest
from report_files import report_of

from ksfusion.results.report.subgroups import subgroup_tables
from ksfusion.results.report.within import within_cohorts
from ksfusion.results.tables.subgroups import COLUMNS as SUBGROUP_COLUMNS

pytestmark = pytest.mark.slow

NAN = float("nan")
TABLE = pd.DataFrame(
    [
        ("snn", "grading", "auc", "all", 70.0),
        ("ksfusion", "grading", "auc", "all", 75.0),
        ("ksfusion", "grading", "auc", "a", 60.0),
        ("ksfusion", "grading", "auc", "b", NAN),
        ("snn", "survival", "c_index", "all", 66.0),
        ("snn", "survival", "c_index", "a", 66.0),
    ],
    columns=["method", "task", "metric", "cohort", "mean"],
).assign(ci_low=NAN, ci_high=NAN, level="sample", fold="all", n=9)
FOUND = ("cohort_confounded_with_label", "b", "grading: 100% of its 9 labelled cases are G4, of the others 41%")


def audit_of(*rows):
    return pd.DataFrame(rows, columns=["check", "subject", "detail"])


def supplement_of(*rows):
    columns = ["task", "method", "metric", "mean", "ci_low", "ci_high", "reason"]
    return pd.DataFrame(rows, columns=columns).assign(level="sample", cohort="all", fold="all")


def test_the_figure_within_cohorts_is_that_of_the_method_of_the_headline():
    supplement = supplement_of(
        ("grading", "snn", "auc_within", 90.0, 80.0, 99.0, ""),
        ("grading", "ksfusion", "auc_within", 58.25, 50.0, 66.0, ""),
        ("survival", "snn", "c_index_within", 66.0, 60.0, 70.0, ""),
    )
    # Survival has test samples of one cohort alone, so that within it is nothing else.
    first = "Compared within cohorts alone, for WHO grade the AUC of KS-Fusion is 58.2 (95 % interval 50.0 to 66.0)."
    assert within_cohorts(TABLE, supplement, audit_of(), {"grading": "WHO grade"}) == [first]
    told = within_cohorts(TABLE, supplement, audit_of(FOUND), {"grading": "WHO grade"})
    assert told[0] == first and len(told) == 2
    assert told[1].startswith("The cohort gives away much of WHO grade, so that the figure over all cohorts may come")
    # The finding of another task, whose name begins alike, is none of this one's.
    other = (*FOUND[:2], f"grading_2: {FOUND[2]}")
    assert within_cohorts(TABLE, supplement, audit_of(other), {}) == [first.replace("WHO grade", "grading")]


def test_a_figure_within_cohorts_that_is_not_known_has_a_reason():
    reason = "no two test samples of one cohort and different classes"
    supplement = supplement_of(("grading", "ksfusion", "auc_within", NAN, NAN, NAN, reason))
    (said,) = within_cohorts(TABLE, supplement, audit_of(), {})
    assert said == f"Compared within cohorts alone, for grading the AUC of KS-Fusion is not known ({reason})."
    alone = TABLE[TABLE["cohort"] != "b"]
    assert within_cohorts(alone, supplement, audit_of(FOUND), {}) == []


def subgroups_of(*rows):
    columns = ["method", "value", "mean", "ci_low", "ci_high", "n", "p", "reason"]
    table = pd.DataFrame(rows, columns=columns).assign(task="grading", metric="auc", level="sample", subgroup="site")
    return table.assign(sd=NAN, cases=table["n"])[SUBGROUP_COLUMNS]


def test_subgroups_stand_with_n_metric_interval_and_p():
    few = "too few test cases for an interval"
    table = subgroups_of(
        ("snn", "Rome", 71.04, 60.0, 80.0, 20, 0.0312, ""),
        ("snn", "Oslo", 55.0, 41.0, 70.0, 18, 0.0312, ""),
        ("snn", "unknown", 40.0, NAN, NAN, 3, NAN, few),
        ("add", "Rome", 50.0, 40.0, 60.0, 20, NAN, "no test: x"),
        ("add", "Oslo", 51.0, 41.0, 61.0, 18, NAN, "no test: x"),
        ("add", "unknown", NAN, NAN, NAN, 3, NAN, f"{few}; no test: x"),
    )
    others = table.assign(metric="accuracy", mean=1.0), table.assign(level="case", mean=2.0)
    (found,) = subgroup_tables(pd.concat([table, *others]), {"grading": "Grade"}, caveats=["Mind."])
    assert (found["heading"], found["metric"]) == ("Grade by site", "AUC")
    assert found["groups"] == [("Rome", 20), ("Oslo", 18), ("unknown", 3)]
    first, second = found["rows"]
    assert [(cell.value, cell.interval) for cell in first["cells"]] == [
        ("71.0", "60.0\N{EN DASH}80.0"),
        ("55.0", "41.0\N{EN DASH}70.0"),
        ("40.0", ""),
    ]
    assert first["cells"][0].about == "n = 20, 95 % interval 60.0 to 80.0"
    assert (first["label"], first["p"], second["p"]) == ("SNN", "0.031", "")
    assert found["notes"] == ["Mind.", f"unknown: {few}.", "no test: x."]
    assert subgroup_tables(None, {}) == []


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    # Of twenty-four cases two sites; of each class half.
    rows = [(f"S{i}", f"C{i}", "ab"[i % 4 // 2], i % 2, 0.9 - i % 5 / 6, 0.1 + i % 5 / 6) for i in range(24)]
    return report_of(tmp_path_factory.mktemp("report"), rows=rows, findings=[FOUND])


def section(page, name):
    return page.split(f'<h2 id="{name}">')[1].split("<h2")[0]


def test_table_s1_is_folded_in_parts(page):
    own = section(page, "table_s1")
    assert '<a href="#table_s1">Table S1</a>' in page and own.startswith(
        "Table S1. Further metrics of the test samples"
    )
    assert re.findall(r"<details><summary>(.*?)</summary>", own) == [
        "Grading",
        "Grading: G2 against the rest",
        "Grading: G3 against the rest",
    ]
    for label in ("AUPRC", "MCC", "Brier", "ECE", "AUC within cohorts"):
        assert f">{label}</th>" in own
    assert own.count('<table class="results">') == 3


def test_the_subgroups_have_their_figure_and_folded_tables(page):
    own = section(page, "figures-subgroups")
    assert (
        "<strong>Grading: subgroups.</strong>" in own and "<summary>Grading by cohort <span>AUC</span></summary>" in own
    )
    assert re.findall(r"<th>(\w)<small>n = (\d+)</small></th>", own) == [("a", "12"), ("b", "12")]
    assert "not corrected for the number of tests" in own


def test_within_cohorts_stands_right_under_the_answer(page):
    own = html.unescape(section(page, "answer"))
    answer, notices = own.split('<div class="answer">')[1].split("</div>")
    assert "<p>Compared within cohorts alone, for grading the AUC of SNN is " in answer
    assert "The cohort gives away much of grading" in answer
    assert "Cohort confounded with label (b)" in notices
