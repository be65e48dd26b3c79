"""Whether methods use both modalities: told of stand-ins that are known to, or not to."""

import math

import numpy as np
import pytest
from modalities import StandIn, audited, fold_data, of_product, of_slide, of_sum, planted, row_of, run_of, table_of
from run_files import GRADING, SURVIVAL
from sklearn.metrics import accuracy_score, roc_auc_score

from ksfusion.results.config import ShownTask
from ksfusion.results.modalities.changes import ADDITIVE, GENES, OWN, PATCHES, PERMUTATIONS
from ksfusion.results.modalities.partners import draw_partners
from ksfusion.results.modalities.projection import additive_projection, choose_samples
from ksfusion.results.statistics import sample_weights
from ksfusion.results.tables.modalities import (
    as_it_is,
    shown_metric,
)

pytestmark = pytest.mark.usefixtures("one_thread")

# Each of four signs of slide and profile three times; the label is that of their product.
SLIDE, PROFILE = np.tile([1.0, 1.0, -1.0, -1.0], 3), np.tile([1.0, -1.0, 1.0, -1.0], 3)
PRODUCT = (SLIDE * PROFILE > 0).astype(int)
AGE = ShownTask(name="age", kind="regression")


def test_a_sum_needs_no_interaction():
    """Of three classes too, and whatever the values: the projection of a sum is the sum."""
    random = np.random.default_rng(0)
    data = fold_data(random.normal(size=20), random.normal(size=20), y=np.arange(20) % 2)
    found = audited(StandIn(of_sum), data, GRADING)
    own, additive = (found[found["changed"] == change] for change in (OWN, ADDITIVE))
    assert additive["prob_G3"].to_numpy() == pytest.approx(own["prob_G3"].to_numpy(), abs=1e-6)
    table = table_of(found)
    for metric in ("auc", "accuracy", "f1"):
        assert row_of(table, metric, ADDITIVE).drop == pytest.approx(0, abs=1e-9)
    assert row_of(table, "auc", GENES).drop != 0


def test_a_product_needs_an_interaction():
    """Every slide meets both signs equally often: the projection is 0 throughout, and says the first class of all."""
    found = audited(StandIn(of_product), fold_data(SLIDE, PROFILE, y=PRODUCT), GRADING)
    assert found.loc[found["changed"] == ADDITIVE, "prob_G3"].to_numpy() == pytest.approx(0.5, abs=1e-7)
    table = table_of(found)
    for metric in ("auc", "accuracy"):
        row = row_of(table, metric, ADDITIVE)
        assert (row.value, row.drop, row.n) == (50, 50, 12)
    assert row_of(table, "auc", ADDITIVE).ci_low == row_of(table, "auc", ADDITIVE).ci_high == 50


def test_the_risk_is_projected():
    """Six die on days 1 to 6, six on 7 to 12: 36 pairs of 66 apart, 30 even; of the projection all are even."""
    order = np.argsort(-PRODUCT, kind="stable")
    days = np.empty(12)
    days[order] = np.arange(1, 13)
    data = fold_data(SLIDE, PROFILE, days=days, event=1)
    row = row_of(table_of(audited(StandIn(of_product, 4), data, SURVIVAL), task=SURVIVAL), "c_index", ADDITIVE)
    assert (row.value, row.drop) == (50, pytest.approx(100 * 18 / 66))
    # A risk that is a sum loses nothing: of Cox's model the one logit is the risk.
    random = np.random.default_rng(1)
    data = fold_data(random.normal(size=12), random.normal(size=12), days=days, event=1)
    row = row_of(table_of(audited(StandIn(of_sum, 1), data, SURVIVAL), task=SURVIVAL), "c_index", ADDITIVE)
    assert row.drop == 0


def test_a_number_is_audited_on_its_own_scale():
    """An error is in the unit of what is predicted, and grows where something is lost."""
    random = np.random.default_rng(4)
    slide, profile = random.normal(size=(2, 16)).astype(np.float16).astype(float)
    y = 50 + 20 * (slide + profile) + random.normal(size=16)
    data = fold_data(slide, profile, y=y)
    table = table_of(audited(StandIn(of_sum, 1), data, AGE, mean=50.0, sd=20.0), task=AGE)
    error = np.abs(20 * (slide + profile) + 50 - y).mean()
    given = draw_partners(data.samples["case_id"], data.samples["cohort"]).genes
    permuted = np.mean([np.abs(20 * (slide + profile[places]) + 50 - y).mean() for places in given])
    row = row_of(table, "mae", GENES)
    assert (row.value, row.drop) == (pytest.approx(permuted), pytest.approx(permuted - error))
    assert as_it_is("mae", row.value, row.drop) == pytest.approx(error)
    assert row_of(table, "r2", ADDITIVE).drop == pytest.approx(0, abs=1e-6) and row_of(table, "r2", GENES).drop > 0
    assert shown_metric(table["metric"]) == "r2"


def test_who_ignores_genes_loses_nothing_by_those_of_others():
    random = np.random.default_rng(2)
    data = fold_data(random.normal(size=15), random.normal(size=15), y=np.arange(15) % 2, cases=np.arange(15) // 2)
    table = table_of(audited(StandIn(of_slide), data, GRADING))
    genes = table[table["permuted"] == GENES]
    assert (genes[["drop", "ci_low", "ci_high"]].dropna() == 0).all(axis=None) and genes["drop"].notna().all()
    assert (table.loc[table["permuted"] == ADDITIVE, "drop"] == 0).all()
    assert row_of(table, "auc", PATCHES).drop != 0


def test_the_drop_is_what_another_library_says():
    data, model = planted(), StandIn(of_sum)
    y, cases = data.samples["y"].to_numpy(), data.samples["case_id"].to_numpy()
    slide, profile = data.features[:, 0].astype(float), data.genes["tumour"][:, 0].numpy().astype(float)
    partners = draw_partners(cases, data.samples["cohort"])
    expected = {
        GENES: [slide + profile[given] for given in partners.genes],
        PATCHES: [slide[given] + profile for given in partners.patches],
    }
    table = table_of(audited(model, data, GRADING), resamples=100)
    weights = sample_weights(cases, resamples=100)
    for change, logits in expected.items():
        row, accuracy = (row_of(table, metric, change) for metric in ("auc", "accuracy"))
        value = 100 * np.mean([roc_auc_score(y, logit) for logit in logits])
        assert row.value == pytest.approx(value)
        assert row.drop == pytest.approx(100 * roc_auc_score(y, slide + profile) - value)
        assert accuracy.value == pytest.approx(100 * np.mean([accuracy_score(y, logit > 0) for logit in logits]))
        drawn = [
            roc_auc_score(y, slide + profile, sample_weight=weight)
            - np.mean([roc_auc_score(y, logit, sample_weight=weight) for logit in logits])
            for weight in weights
        ]
        assert (row.ci_low, row.ci_high) == pytest.approx(100 * np.percentile(drawn, [2.5, 97.5]), abs=1e-3)
        assert row.n == len(y)


def test_seeds_and_folds_are_averaged():
    """Two folds of other cases; one seed sees the sum, the other the slide alone."""
    data = planted()
    alone = [table_of(audited(StandIn(made), data, GRADING, seed=0)) for made in (of_sum, of_slide)]
    both = [
        audited(StandIn(of_sum), data, GRADING, seed=0),
        audited(StandIn(of_slide), data, GRADING, seed=7, projected=0),
    ]
    other = planted(10)
    folds = [audited(StandIn(of_sum), other, GRADING, fold=1), audited(StandIn(of_sum), other, GRADING, fold=1, seed=7)]
    of_other = table_of(*folds)
    table, apart = table_of(*both), table_of(*both, *folds)
    for change in (GENES, PATCHES):
        mean = np.mean([row_of(found, "auc", change).drop for found in alone])
        assert row_of(table, "auc", change).drop == pytest.approx(mean)
        assert row_of(apart, "auc", change).drop == pytest.approx(np.mean([mean, row_of(of_other, "auc", change).drop]))
    assert row_of(table, "auc", ADDITIVE).drop == row_of(alone[0], "auc", ADDITIVE).drop  # of the first seed


def test_whole_cases_change_places_within_their_cohort():
    cases = np.array(["A", "A", "A", "B", "B", "C", "D", "D"])
    cohorts = np.array(["x"] * 5 + ["y"] * 3)
    partners = draw_partners(cases, cohorts, permutations=200)
    assert partners.genes.shape == (200, 8)
    seen = set()
    for given in (*partners.genes, *partners.patches):
        assert (cohorts[given] == cohorts).all()
        assert all(len(set(cases[given[cases == case]])) == 1 for case in "ABCD")
        seen.add(tuple(given[:5]))
    # A and B stay, or change places: A begins again with B's first, and A's last is given to none.
    assert seen == {(0, 1, 2, 3, 4), (3, 4, 3, 0, 1)}
    alone = draw_partners(cases[:5], cohorts[:5], permutations=200)
    assert (alone.genes == partners.genes[:, :5]).all()


def test_every_place_is_as_likely_and_patches_go_the_other_way():
    cases = [f"C{number}" for number in range(4)]
    partners = draw_partners(cases, ["x"] * 4, permutations=4000)
    counts = np.array([np.bincount(partners.genes[:, number], minlength=4) for number in range(4)])
    assert np.abs(counts / 4000 - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 4000)
    there_and_back = np.take_along_axis(partners.patches, partners.genes, axis=1)
    assert (there_and_back == np.arange(4)).all()
    assert (draw_partners(cases, ["x"] * 4).genes == partners.genes[:PERMUTATIONS]).all()


def test_the_projection_by_hand():
    """Rows' means 1 and 5, columns' 2 and 4, of all 3: 1 + 2 - 3 and 5 + 4 - 3; a second score is a sum already."""
    scores = np.stack([[[1.0, 1.0], [3.0, 7.0]], [[0.0, 1.0], [2.0, 3.0]]], axis=-1)
    assert additive_projection(scores).tolist() == [[0.0, 0.0], [6.0, 3.0]]


def test_a_sample_that_comes_in_addition_moves_one_at_most():
    ids = [f"sample-{number}" for number in range(60)]
    chosen = {ids[number] for number in choose_samples(ids, 20)}
    assert len(chosen) == 20
    for more in range(60, 80):
        longer = [*ids, f"sample-{more}"]
        assert len(chosen - {longer[number] for number in choose_samples(longer, 20)}) <= 1
    assert choose_samples(ids[::-1], 20) == sorted(59 - number for number in choose_samples(ids, 20))
    assert choose_samples(ids, 100) == list(range(60)) and choose_samples(ids, 0) == []


def test_a_cohort_of_one_case_says_so():
    data = planted()
    cases = data.samples["case_id"].where(data.samples["cohort"] == "a", "only")
    data.samples["case_id"] = cases
    table = table_of(audited(StandIn(of_sum), data, GRADING))
    said = "b: one test case, so that there is none to change places with"
    alone = row_of(table, "accuracy", GENES, "b")
    assert math.isnan(alone.drop) and math.isnan(alone.value) and said in alone.reason
    assert alone.n == (data.samples["cohort"] == "b").sum()
    assert said in row_of(table, "accuracy", PATCHES).reason and not math.isnan(row_of(table, "accuracy", PATCHES).drop)
    assert said not in row_of(table, "accuracy", ADDITIVE).reason
    assert row_of(table, "accuracy", GENES, "a").reason == "too few test cases for an interval"


def test_what_was_not_audited_says_why():
    found = audited(StandIn(of_sum), planted(), GRADING)
    runs = [run_of(GRADING), run_of(GRADING, seed=1, reason="diverged"), run_of(GRADING, method="add", reason="x")]
    twin = "ksfusion-alpha050"
    table = table_of(found, runs=runs, methods=["concat", "add", "mcat", twin], shared={twin: "concat"})
    reasons = table[(table["cohort"] == "all") & (table["metric"] == "auc")].groupby("method")["reason"].unique()
    assert list(reasons["concat"]) == ["1 of 2 runs skipped: diverged"]
    assert (list(reasons["add"]), list(reasons["mcat"])) == (["x"], ["no run"])
    missing = table[table["method"].isin(["add", "mcat"])]
    assert missing[["value", "drop", "ci_low", "ci_high"]].isna().all(axis=None) and (missing["n"] == 0).all()
    same = table[table["method"] == twin]["drop"].to_numpy()
    assert same == pytest.approx(table[table["method"] == "concat"]["drop"].to_numpy(), nan_ok=True)
    found.loc[found["changed"] == GENES, "prob_G3"] = np.inf
    assert set(table_of(found)["reason"]) == {"predictions are not finite"}
    none = audited(StandIn(of_sum), planted(), GRADING).iloc[:0]
    said = "no labelled test sample"
    assert set(table_of(none, runs=[run_of(GRADING, reason=said)])["reason"]) == {said}


def test_no_sample_without_a_label_is_scored():
    data = planted()
    data.samples["y"] = data.samples["y"].where(np.arange(len(data.samples)) > 3)
    assert set(audited(StandIn(of_sum), data, GRADING)["sample_id"]) == set(data.samples["sample_id"][4:])
    data.samples["y"] = np.nan
    assert audited(StandIn(of_sum), data, GRADING).empty
