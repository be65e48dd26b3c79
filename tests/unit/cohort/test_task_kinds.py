"""Tables with numbers to predict, and with competing events."""

import numpy as np
import pandas as pd
import pytest

from ksfusion.cohort.config import CohortFiles, Labelling, Splits
from ksfusion.cohort.labels import label_cases, label_column
from ksfusion.cohort.samples import is_competing, read_cohort
from ksfusion.cohort.splits import divide_cases
from ksfusion.core.errors import UserError

AGE = Labelling(kind="regression", column="age")
RELAPSE = Labelling(kind="survival", time="relapse_days", event="relapse")
SAMPLES = "sample_id\tcase_id\tcohort\tslide\texpression_id\nA-1\tA\tTCGA\tslides/A-1.svs\tP1\n"


def read(folder, cases, **tasks):
    (folder / "samples.tsv").write_text(SAMPLES)
    (folder / "cases.tsv").write_text(cases)
    files = CohortFiles(samples=str(folder / "samples.tsv"), cases=str(folder / "cases.tsv"))
    return read_cohort(files, tasks, ["TCGA"])


def test_numbers_are_labels_and_what_is_none_is_told(tmp_path):
    tables = read(tmp_path, "case_id\tage\nA\t-61.5\nB\t\n", age=AGE)
    labelled, findings = label_cases(pd.DataFrame(tables.cases), {"age": AGE})
    assert label_column("age", "regression") == "value_age"
    assert labelled["value_age"].tolist()[:1] == [-61.5] and np.isnan(labelled["value_age"][1])
    assert [(finding["check"], finding["subject"], finding["detail"]) for finding in findings] == [
        ("no_label_age", "B", "age unknown")
    ]
    with pytest.raises(UserError, match=r"cases\.tsv: row 2: age is 'old'; write a number, or leave it empty"):
        read(tmp_path, "case_id\tage\nA\told\n", age=AGE)
    with pytest.raises(UserError, match="column age is missing, task age needs it"):
        read(tmp_path, "case_id\tgrade\nA\tG2\n", age=AGE)


def test_a_competing_event_is_refused_by_name(tmp_path):
    cases = "case_id\trelapse_days\trelapse\nA\t20\t2\n"
    with pytest.raises(UserError) as caught:
        read(tmp_path, cases, relapse=RELAPSE)
    (line,) = str(caught.value).splitlines()
    assert "cases.tsv: row 2: relapse is '2'; competing events are not modelled; write 1 where" in line
    assert [is_competing(value) for value in ("0", "1", "", "2", "3.0", "2.5", "inf", "dead")] == [
        *[False] * 3,
        *[True] * 2,
        *[False] * 3,
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "regression"}, "a regression task needs column"),
        ({"kind": "regression", "column": "age", "classes": ["a", "b"]}, "classes are for classification"),
        ({"kind": "regression", "column": "age", "unit": "months"}, "unit is for survival"),
        ({"kind": "competing", "column": "age"}, "kind"),
    ],
)
def test_a_task_that_does_not_fit_its_kind_is_refused(given, told):
    with pytest.raises(ValueError, match=told):
        Labelling(**given)


def test_strata_of_a_number_are_its_quarters():
    n = 80
    cases = pd.DataFrame(
        {"case_id": [f"C{i:02d}" for i in range(n)], "value_age": np.r_[np.arange(72.0), [np.nan] * 8]}
    )
    samples = cases[["case_id"]].assign(cohort="a", slide_id=cases["case_id"], site="")
    sides = divide_cases(samples, cases, Splits(fractions=(0.5, 0.25, 0.25)), stratify="value_age").set_index("case_id")
    quarter = pd.Series(np.r_[np.repeat([0, 1, 2, 3], 18), [4] * 8], index=cases["case_id"])
    counts = pd.crosstab(quarter[sides.index], sides["split"])
    for group, size in quarter.value_counts().items():
        for side, share in (("train", 0.5), ("val", 0.25), ("test", 0.25)):
            assert abs(counts.loc[group, side] - share * size) < 1
