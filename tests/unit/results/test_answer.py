"""The answer on the report: its sentences are held against tables written by hand."""

import pandas as pd
import pytest

from ksfusion.results.report.answer import answer, question
from ksfusion.results.tables.differences import COLUMNS, Comparisons

MEANS = {
    ("snn", "diagnosis", "auc"): (70.0, 60.0, 80.0),
    ("ksfusion", "diagnosis", "auc"): (75.25, 65.0, 84.0),
    ("attmil", "diagnosis", "auc"): (74.0, 64.0, 83.0),
    ("attmil", "diagnosis", "accuracy"): (99.0, 98.0, 99.9),
    ("snn", "survival", "c_index"): (61.0, 50.0, 72.0),
    ("ksfusion", "survival", "c_index"): (60.0, 49.0, 70.0),
    ("attmil", "survival", "c_index"): (float("nan"),) * 3,
}


def table_of(means=MEANS):
    rows = [
        {"method": method, "task": task, "metric": metric, "mean": mean, "ci_low": low, "ci_high": high}
        for (method, task, metric), (mean, low, high) in means.items()
    ]
    return pd.DataFrame(rows).assign(level="sample", cohort="all", fold="all", n=32)


def compared(*rows):
    """Rows of method, task, metric, difference, p and corrected p."""
    frame = pd.DataFrame(rows, columns=["method", "task", "metric", "difference", "p", "p_corrected"])
    frame = frame.assign(reference="ksfusion", level="sample", cohort="all", fold="all", reason="")
    return Comparisons(frame.reindex(columns=COLUMNS), "ksfusion", "holm")


def test_what_was_asked():
    text = question(table_of(), 98, {"survival": "Overall survival"})
    assert text.startswith("How well are diagnosis and Overall survival predicted for cases that a model has not seen?")
    assert "3 methods are compared" in text and "on the same splits of 98 cases" in text


def test_three_sentences_without_a_difference_that_survives():
    rows = [("snn", "diagnosis", "auc", -5.25, 0.04, 0.08), ("attmil", "diagnosis", "auc", -1.25, 0.6, 0.6)]
    rows += [("snn", "survival", "c_index", 1.0, 0.8, 0.8), ("attmil", "diagnosis", "accuracy", 20.0, 0.001, 0.001)]
    assert answer(table_of(), compared(*rows), {}) == [
        "On the test samples for diagnosis KS-Fusion has the highest AUC (75.2 on 32 test samples, 95 % interval 65.0 "
        "to 84.0) and for survival SNN has the highest C-index (61.0 on 32 test samples, 95 % interval 50.0 to 72.0).",
        "The distance to the next method is 1.2 for diagnosis (AttMIL) and 1.0 for survival (KS-Fusion).",
        "Of the 3 differences from KS-Fusion in these metrics none is shown by a test (p < 0.05, after Holm's "
        "correction for the number of methods compared), so that none of the methods stands out.",
    ]


@pytest.mark.parametrize(("p", "count"), [(0.03, "2 are"), (0.3, "1 is")])
def test_differences_that_survive_are_named(p, count):
    rows = [("snn", "diagnosis", "auc", -5.25, 0.01, 0.02), ("snn", "survival", "c_index", 1.0, p, p)]
    last = answer(table_of(), compared(*rows), {})[-1]
    assert last.startswith(f"Of the 2 differences from KS-Fusion in these metrics {count} shown by a test (p < 0.05")
    assert "diagnosis, SNN 5.2 below" in last
    assert ("survival, SNN 1.0 above" in last) == (p < 0.05)


def test_nothing_tested_nothing_claimed():
    assert answer(table_of(), None, {})[-1] == "No difference between methods was tested."
    untested = compared(("snn", "diagnosis", "auc", -5.25, float("nan"), float("nan")))
    assert answer(table_of(), untested, {})[-1] == "No difference from KS-Fusion could be tested."


def test_one_method_or_none():
    alone = {key: value for key, value in MEANS.items() if key[0] == "snn"}
    assert len(answer(table_of(alone), None, {})) == 2
    nothing = {key: (float("nan"),) * 3 for key in alone}
    assert answer(table_of(nothing), None, {}) == ["No method has a result."]


def test_few_cases_and_worse_than_guessing_are_said():
    table = table_of({("snn", "survival", "c_index"): (47.3, float("nan"), float("nan"))}).assign(n=4)
    assert answer(table, None, {})[0] == (
        "On the test samples for survival SNN has the highest C-index (47.3 on 4 test samples, too few for an interval"
        ", below chance)."
    )
    assert "below chance" not in answer(table_of(), None, {})[0]
