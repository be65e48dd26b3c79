"""How what a baseline reads becomes numbers, against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ksfusion.training.covariates import Coding, ColumnRule, Covariates

TRAIN = pd.DataFrame(
    {
        "age": ["54", "61.5", "", "40", "71"],
        "sex": ["male", "female", "male", "", "male"],
        "stage": ["2", "3", "3", "x", "2"],
    }
)
NEW = pd.DataFrame({"age": ["", "30", "old"], "sex": ["", "female", "other"], "stage": ["3", "", "1"]})


def covariates(texts, **numbers):
    return Covariates(texts, pd.DataFrame(numbers, index=texts.index, dtype=float))


def test_numbers_are_imputed_and_scaled_and_texts_one_hot_as_by_scikit_learn():
    genes, new_genes = [1.0, 2, 3, 4, 9], [0.0, 5, 1]
    coding = Coding.fit(covariates(TRAIN, EGFR=genes))
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(
        SimpleImputer(strategy="most_frequent", missing_values=""),
        OneHotEncoder(sparse_output=False, handle_unknown="ignore"),
    )
    other = make_column_transformer((numeric, ["age"]), (texts, ["sex", "stage"]), (StandardScaler(), ["EGFR"]))

    def as_numbers(table, egfr):
        return table.assign(age=pd.to_numeric(table["age"], errors="coerce"), EGFR=egfr)

    other.fit(as_numbers(TRAIN, genes))
    for table, egfr in ((TRAIN, genes), (NEW, new_genes)):
        np.testing.assert_allclose(
            coding.matrix(covariates(table, EGFR=egfr)), other.transform(as_numbers(table, egfr)).astype(float)
        )
    assert coding.labels() == ["age", "sex=female", "sex=male", "stage=2", "stage=3", "stage=x", "EGFR"]
    assert coding.penalties(50.0, 1.0).tolist() == [1.0] * 6 + [50.0]


def test_what_was_described_codes_alike():
    coding = Coding.fit(covariates(TRAIN, EGFR=[1, 2, 3, 4, 9]))
    again = Coding.of(coding.describe(), coding.mean, coding.scale)
    new = covariates(NEW, EGFR=[0, 5, 1])
    np.testing.assert_array_equal(again.matrix(new), coding.matrix(new))
    assert again.labels() == coding.labels()


def test_a_column_that_training_cases_do_not_know_says_nothing():
    texts = pd.DataFrame({"age": ["50", "60"], "smoker": ["", ""], "same": ["7", "7"]})
    coding = Coding.fit(covariates(texts))
    assert coding.labels() == ["age", "same"]
    new = covariates(pd.DataFrame({"age": ["55"], "smoker": ["yes"], "same": ["7"]}))
    np.testing.assert_array_equal(coding.matrix(new), [[0, 0]])


@pytest.mark.parametrize(
    ("texts", "rule"),
    [
        (["1", "0", "", "1"], ("x", 1.0, None)),
        (["12,5", "13.5"], ("x", 13.0, None)),
        (["1e3", "inf"], ("x", "1e3", ("1e3", "inf"))),
        (["b", "a"], ("x", "a", ("a", "b"))),
        (["WT", "Mutant", "WT", ""], ("x", "WT", ("Mutant", "WT"))),
    ],
)
def test_what_a_column_is(texts, rule):
    assert ColumnRule.of("x", texts) == rule


def test_a_case_is_its_texts_and_the_mean_of_its_samples():
    texts = pd.DataFrame({"cohort": ["A", "B", "A", "A"]})
    cases = covariates(texts, TP53=[1, 2, 3, 5]).by_case(pd.Series(["z", "a", "z", "z"]))
    assert cases.texts["cohort"].tolist() == ["A", "B"] and cases.numbers["TP53"].tolist() == [3, 2]
    none = covariates(texts, TP53=[1, 2, 3, 5]).rows(np.array([], dtype=int)).by_case(pd.Series([], dtype=str))
    assert len(none.texts) == len(none.numbers) == 0
